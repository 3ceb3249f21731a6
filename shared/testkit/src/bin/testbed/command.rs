//! The command under test.

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use sightline_testkit::servers::Variables;
use std::{
    ffi::{OsStr, OsString},
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, ExitCode, ExitStatus},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// The variable with this program's path, so that `tests/testbed` within the command under test does not call cargo.
const TESTBED: &str = "SIGHTLINE_TEST_TESTBED";
const LOOKS_EVERY: Duration = Duration::from_millis(20);

#[derive(Args, Debug)]
pub(crate) struct Tested {
    /// What to run, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// A command, and the last signal that came.
///
/// From here on a signal ends the command first; then the servers are stopped.
#[derive(Debug)]
pub(crate) struct Prepared {
    command: Vec<OsString>,
    signal: Arc<AtomicUsize>,
}

impl Tested {
    /// # Errors
    /// Signals can't be caught.
    pub fn prepared(self) -> Result<Prepared> {
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [Signal::INT, Signal::TERM, Signal::HUP].map(Signal::as_raw) {
            signal_hook::flag::register_usize(number, signal.clone(), number as usize)?;
        }
        Ok(Prepared {
            command: self.command,
            signal,
        })
    }
}

impl Prepared {
    /// Runs the command to its end and returns its code.
    ///
    /// # Errors
    /// The command can't be started, or a signal came while the servers were.
    pub fn run(self, variables: Variables) -> Result<ExitCode> {
        let mut command = self.command()?;
        command.envs(variables);
        self.await_end(command)
    }

    /// As [`Self::run`], with a `PATH` of its own.
    ///
    /// # Errors
    /// The same.
    pub fn run_with_path(self, path: &OsStr, variables: Variables) -> Result<ExitCode> {
        let mut command = self.command()?;
        // The program itself is looked for in it, too.
        command.env("PATH", path).envs(variables);
        self.await_end(command)
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(&self.command[0]);
        command
            .args(&self.command[1..])
            .env(TESTBED, std::env::current_exe()?);
        Ok(command)
    }

    fn await_end(self, mut command: Command) -> Result<ExitCode> {
        ensure!(self.signal.load(Ordering::Relaxed) == 0, "interrupted");
        let mut child = command
            .spawn()
            .with_context(|| format!("can't start {}", self.command[0].display()))?;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(code(status));
            }
            pass_on(self.signal.swap(0, Ordering::Relaxed), &child);
            std::thread::sleep(LOOKS_EVERY);
        }
    }
}

/// An interrupt comes from the terminal, which has sent it to the command as well; all else the command has not seen.
fn pass_on(number: usize, child: &Child) {
    let signal = [Signal::TERM, Signal::HUP]
        .into_iter()
        .find(|signal| signal.as_raw() as usize == number);
    if let (Some(signal), Some(pid)) = (signal, Pid::from_raw(child.id().cast_signed())) {
        // It fails only where the command has just ended.
        let _ = kill_process(pid, signal);
    }
}

/// As a shell has it: 128 and the number of the signal that ended a command.
fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str) -> ExitCode {
        let command = ["sh", "-c", script].map(OsString::from).into();
        let tested = Tested { command }.prepared().unwrap();
        tested.run(vec![("IT", "7".into())]).unwrap()
    }

    #[test]
    fn the_code_is_the_commands() {
        assert_eq!(run("exit $IT"), ExitCode::from(7));
        assert_eq!(run("kill -9 $$"), ExitCode::from(137));
    }
}
