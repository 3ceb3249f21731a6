//! The command line as a user runs it: a process, its output and its exit status, also after `kill -9`.
#![allow(clippy::unwrap_used)]

mod calibrate;
mod classify;
mod operator;
mod up;

use std::{path::PathBuf, process::Command};

/// The binary, without the caller's settings in its environment.
fn sightline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sightline-under-test"));
    for (name, _) in std::env::vars()
        .filter(|(name, _)| name.starts_with("SIGHTLINE_") || name.starts_with("AWS_"))
    {
        command.env_remove(name);
    }
    // Otherwise the AWS SDK asks the instance metadata service for credentials.
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// A path inside `tests/`.
fn tests(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}
