//! Prints lines on stdout.

use std::{
    fmt::Display,
    io::{ErrorKind, Write, stdout},
    process,
};

/// Prints a line. If the reader has closed the pipe, as `head` does, the process exits with 0.
///
/// # Panics
/// As `println!`, if stdout can't be written for another reason.
pub(crate) fn line(text: impl Display) {
    match writeln!(stdout(), "{text}") {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => process::exit(0),
        Err(error) => panic!("failed printing to stdout: {error}"),
    }
}
