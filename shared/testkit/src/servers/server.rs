//! One server process.

use crate::{Process, wait::within};
use anyhow::{Result, bail};
use std::{
    fs::{self, OpenOptions},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// How long a server may take to stop before it is killed: longer than a service drains.
const STOPS_WITHIN: Duration = Duration::from_secs(30);
const LAST_LINES: usize = 30;

/// A running server. When dropped it is asked to stop (SIGTERM), and killed if it does not.
#[derive(Debug)]
pub struct Server {
    name: String,
    process: Process,
    log: Option<PathBuf>,
}

impl Server {
    /// Starts a server. What it prints is appended to the file `log`, or goes where this process prints.
    ///
    /// # Errors
    /// The program can't be started, or the log not be opened.
    pub fn start(name: &str, command: &mut Command, log: Option<&Path>) -> Result<Self> {
        // In a process group of its own, so that an interrupt at the terminal reaches only the command under test.
        command.stdin(Stdio::null()).process_group(0);
        if let Some(log) = log {
            let log = OpenOptions::new().create(true).append(true).open(log)?;
            command.stdout(log.try_clone()?).stderr(log);
        }
        Ok(Self {
            name: name.to_owned(),
            process: Process::start(command)?,
            log: log.map(Path::to_owned),
        })
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits until `ready` returns true.
    ///
    /// # Errors
    /// The server has ended, or is not ready within `limit`; the text has the last lines of its log.
    pub fn await_ready(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let outcome = within(limit, || match self.process.ended() {
            Some(status) => Some(Err(status)),
            None => ready().then_some(Ok(())),
        });
        match outcome {
            Some(Ok(())) => Ok(()),
            Some(Err(status)) => bail!("{} ended ({status}){}", self.name, self.last_lines()),
            None => bail!(
                "{} is not ready after {limit:?}{}",
                self.name,
                self.last_lines()
            ),
        }
    }

    /// Asks it to stop and does not wait, so that several can stop at the same time.
    pub fn ask_to_stop(&mut self) {
        self.process.ask_to_stop();
    }

    /// Leaves the server running when this process has ended.
    pub fn leave_running(self) {
        std::mem::forget(self);
    }

    fn last_lines(&self) -> String {
        let Some(text) = self
            .log
            .as_ref()
            .and_then(|log| fs::read_to_string(log).ok())
        else {
            return String::new();
        };
        let lines: Vec<_> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
        format!(":\n{}", last.join("\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.stop(STOPS_WITHIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, log: &Path) -> Server {
        Server::start("it", Command::new("sh").args(["-c", script]), Some(log)).unwrap()
    }

    #[test]
    fn a_dropped_server_can_still_clean_up() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let script = "trap 'echo stopped; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
        let mut server = shell(script, &log);
        let said = |what: &str| fs::read_to_string(&log).unwrap().contains(what);
        server
            .await_ready(Duration::from_secs(10), || said("ready"))
            .unwrap();
        drop(server);
        assert!(said("stopped"));
    }

    #[test]
    fn a_server_that_ends_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let mut server = shell("echo no such port; exit 3", &folder.path().join("log"));
        let error = server
            .await_ready(Duration::from_secs(10), || false)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no such port") && error.contains('3'),
            "{error}"
        );
    }
}
