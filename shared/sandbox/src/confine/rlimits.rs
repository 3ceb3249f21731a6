//! Limits that the process sets for itself. The service sets those of memory and time for each request.

use rustix::process::{Resource, Rlimit, setrlimit};
use std::io;

/// Sets limits that can't be raised again, because the hard limit is the same.
pub(crate) fn set() -> io::Result<()> {
    for resource in [
        // No dump of the memory.
        Resource::Core,
        // No file grows.
        Resource::Fsize,
        // No process or thread beside this one, by the user's count.
        Resource::Nproc,
        // No memory that can't be paged out.
        Resource::Memlock,
        // No further descriptor.
        Resource::Nofile,
    ] {
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        setrlimit(resource, none)?;
    }
    Ok(())
}
