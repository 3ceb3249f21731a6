//! Child processes that end with the test that started them.

use crate::wait::{eventually_within, within};
use anyhow::{Context as _, Result};
use std::{
    process::{Child, Command, ExitStatus},
    time::Duration,
};

/// A running child, killed (SIGKILL, by its pid) and reaped when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `command`.
    ///
    /// # Errors
    /// The program can't be started.
    pub fn start(command: &mut Command) -> Result<Self> {
        let child = command
            .spawn()
            .with_context(|| format!("can't start {:?}", command.get_program()))?;
        Ok(Self { child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, once it has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// SIGKILL: no destructor runs in the child, nothing is flushed.
    pub fn kill(&mut self) {
        // Both fail only if the child has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal by name (`TERM`, `INT`, `STOP`, `CONT`).
    ///
    /// # Errors
    /// There is no `kill` program, or the child is gone.
    pub fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.pid().to_string())
            .status()?;
        anyhow::ensure!(status.success(), "can't send {name} to {}", self.pid());
        Ok(())
    }

    /// Waits for it to end by itself; panics after `limit`.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        eventually_within(limit, "the child ends", || self.ended())
    }

    /// Asks it to stop (SIGTERM) and does not wait, so that several can stop at the same time.
    pub fn ask_to_stop(&mut self) {
        // Its pid may belong to another process once it has ended.
        if self.ended().is_none() {
            let _ = self.signal("TERM");
        }
    }

    /// Asks it to stop (SIGTERM) and waits; kills it when it has not ended after `limit`.
    pub fn stop(&mut self, limit: Duration) {
        self.ask_to_stop();
        if within(limit, || self.ended()).is_none() {
            self.kill();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_child_is_gone() {
        let process = Process::start(Command::new("sleep").arg("600")).unwrap();
        let proc = format!("/proc/{}", process.pid());
        drop(process);
        assert!(!std::path::Path::new(&proc).exists());
    }

    #[test]
    fn a_child_that_does_not_stop_is_killed() {
        let script = "trap '' TERM; while :; do sleep 0.05; done";
        let mut process = Process::start(Command::new("sh").args(["-c", script])).unwrap();
        process.stop(Duration::from_millis(200));
        assert!(process.ended().is_some());
    }

    #[test]
    fn a_signal_arrives() {
        let mut process = Process::start(Command::new("sleep").arg("600")).unwrap();
        process.signal("TERM").unwrap();
        assert!(!process.wait(Duration::from_secs(10)).success());
    }
}
