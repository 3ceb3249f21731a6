//! What a worker gives up before it takes the first byte.

mod rlimits;
mod rules;

use crate::system;
use std::{fs, io};

/// What is left of a process once it is confined.
#[derive(Debug)]
pub(crate) struct Confined {
    /// Address space that it takes before any request, in bytes.
    pub base: u64,
    /// What the kernel does not have, each a line.
    pub lacks: Vec<String>,
}

/// Closes what was inherited beyond the standard three. To be called before the process opens anything.
pub(crate) fn close_inherited() -> io::Result<()> {
    #[allow(unsafe_code)]
    // SAFETY: a worker's first call: nothing in this process owns a descriptor that it inherited.
    unsafe {
        system::close_from(3)
    }
}

/// Gives everything up that computing does not need. To be called by a process that has no threads yet, and no files
/// but what it needs to the end.
///
/// # Errors
/// Where something that every kernel has fails: then the process must not take a request.
pub(crate) fn confine(parent: u32) -> io::Result<Confined> {
    // The parent's death is a signal to the child of the thread that started it; if it died before this line, nobody
    // sends the signal.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let orphaned = rustix::process::getppid()
        .is_none_or(|pid| u32::try_from(pid.as_raw_nonzero().get()) != Ok(parent));
    if orphaned {
        return Err(io::Error::other("the process that started it is gone"));
    }
    system::ignore(&[libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM]);
    // No core dump, and no other process of the user reads its memory.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    let base = address_space()?;
    let mut lacks = Vec::new();
    lacks.extend(rules::close_file_system());
    rlimits::set()?;
    lacks.extend(rules::allow_computing_only());
    Ok(Confined { base, lacks })
}

/// What `RLIMIT_AS` counts: the first number of `/proc/self/statm`, in pages.
fn address_space() -> io::Result<u64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split_whitespace().next().and_then(|n| n.parse().ok());
    let pages: u64 = pages.ok_or_else(|| io::Error::other("can't read /proc/self/statm"))?;
    Ok(pages * rustix::param::page_size() as u64)
}
