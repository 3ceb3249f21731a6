//! What a worker gives up before it reads the first byte.

mod rlimits;
mod rules;

use crate::system;
use std::{fs, io};

/// The result of confining a process.
#[derive(Debug)]
pub(crate) struct Confined {
    /// Address space that it uses before any request, in bytes.
    pub base: u64,
    /// A line for each rule that the kernel does not support.
    pub lacks: Vec<String>,
}

/// Closes inherited descriptors, except the standard three. To be called before the process opens anything.
pub(crate) fn close_inherited() -> io::Result<()> {
    #[allow(unsafe_code)]
    // SAFETY: a worker's first call: nothing in this process owns a descriptor that it inherited.
    unsafe {
        system::close_from(3)
    }
}

/// Gives up everything that computing does not need. To be called by a process that has no threads yet, and no files
/// but what it needs to the end.
///
/// # Errors
/// Something that every kernel supports has failed; the process must not take a request.
pub(crate) fn confine(parent: u32) -> io::Result<Confined> {
    // From here on the kernel kills this process when the thread that started it ends. If it ended before this line,
    // the
    // kernel does not.
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
