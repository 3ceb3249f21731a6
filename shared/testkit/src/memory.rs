//! The memory that processes have used, as Linux counts it.

use procfs::process::Process;

/// The largest resident memory so far of a process, in bytes. None where there is no such process.
pub fn peak_memory(pid: u32) -> Option<u64> {
    let status = Process::new(pid.try_into().ok()?).ok()?.status().ok()?;
    Some(status.vmhwm? << 10)
}

/// The processes that a process has started and that have not ended.
pub fn children(pid: u32) -> Vec<u32> {
    let process = pid.try_into().ok().and_then(|pid| Process::new(pid).ok());
    let tasks = process.and_then(|process| process.tasks().ok());
    let tasks = tasks.into_iter().flatten().flatten();
    tasks
        .flat_map(|task| task.children().unwrap_or_default())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Process;
    use std::process::Command;

    #[test]
    fn a_child_is_among_the_children_and_has_a_peak() {
        let child = Process::start(Command::new("sleep").arg("600")).unwrap();
        assert!(children(std::process::id()).contains(&child.pid()));
        assert!(peak_memory(child.pid()).unwrap() > 0);
    }

    #[test]
    fn nothing_is_known_of_a_process_that_has_ended() {
        let mut child = Process::start(&mut Command::new("true")).unwrap();
        let pid = child.pid();
        child.wait(std::time::Duration::from_secs(10));
        assert_eq!(peak_memory(pid), None);
    }
}
