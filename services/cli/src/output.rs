//! Lines on stdout, for whoever reads them as long as they do.

use std::{
    fmt::Display,
    io::{ErrorKind, Write, stdout},
    process,
};

/// Prints a line. Where the reader has left, as `head` does, there is nothing more to say: the process ends quietly.
///
/// # Panics
/// As `println!`, where stdout can't be written for another reason.
pub fn line(text: impl Display) {
    match writeln!(stdout(), "{text}") {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => process::exit(0),
        Err(error) => panic!("failed printing to stdout: {error}"),
    }
}
