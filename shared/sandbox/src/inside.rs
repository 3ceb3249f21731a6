//! The worker's side: the loop that serves requests within the sandbox.

use crate::{
    NAME, confine,
    frame::{self, Kind},
    system,
};
use std::{
    any::Any,
    env, io,
    os::{fd::AsFd as _, unix::net::UnixStream},
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

/// What a worker does with a request. It gets head and body, and returns the parts of the answer, which arrive joined.
/// Before it allocates memory in proportion to what the body declares, it calls the third argument with the bytes that
/// it needs; `false` means that it must not allocate them.
pub trait Job<P>: FnMut(&[u8], &[u8], &mut dyn FnMut(u64) -> bool) -> Vec<P> {}

impl<P, F: FnMut(&[u8], &[u8], &mut dyn FnMut(u64) -> bool) -> Vec<P>> Job<P> for F {}

/// If the process was started as a worker: serves until the service is gone, and returns the status to exit with.
/// `None` otherwise.
///
/// Every `main` whose program a [`Spawner`](crate::Spawner) starts must call this first, before threads and files
/// exist.
pub fn serve_if_asked<P: AsRef<[u8]>>(job: impl Job<P>) -> Option<ExitCode> {
    let mut arguments = env::args();
    if arguments.next().as_deref() != Some(NAME) {
        return None;
    }
    let parent = arguments.next().and_then(|pid| pid.parse().ok());
    Some(match parent.map(|parent| serve(parent, job)) {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        None => {
            eprintln!("{NAME} is started by the service that it works for");
            ExitCode::FAILURE
        }
    })
}

/// The largest buffer that is kept from one request to the next, in bytes.
const KEPT: usize = 1 << 20;

fn serve<P: AsRef<[u8]>>(parent: u32, mut job: impl Job<P>) -> io::Result<()> {
    confine::close_inherited()?;
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let confined = confine::confine(parent)?;
    let lacks = confined.lacks.join("\n");
    let base = confined.base.to_le_bytes();
    frame::write(&socket, Kind::Ready, &[&base, lacks.as_bytes()])?;
    system::keep_little();
    let mut request = Vec::new();
    while let Some(kind) = frame::read(&socket, &mut request)? {
        let Some((head, body)) = split(kind, &request) else {
            return Err(io::Error::other("not a request"));
        };
        let mut answered = Vec::new();
        let mut ask = |bytes: u64| {
            let asked = frame::write(&socket, Kind::Need, &[&bytes.to_le_bytes()]);
            let granted = asked.and_then(|()| frame::read(&socket, &mut answered));
            matches!(granted, Ok(Some(Kind::Granted)))
        };
        let work = || job(head, body, &mut ask);
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(parts) => {
                let parts: Vec<&[u8]> = parts.iter().map(P::as_ref).collect();
                frame::write(&socket, Kind::Answer, &parts)?;
            }
            Err(panic) => {
                frame::write(&socket, Kind::Panicked, &[message(&*panic).as_bytes()])?;
            }
        }
        if request.capacity() > KEPT {
            request = Vec::new();
        }
    }
    Ok(())
}

/// Splits a request into head and body; `None` if it is no request.
fn split(kind: Kind, request: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = request.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    (kind == Kind::Request)
        .then(|| rest.split_at_checked(length))
        .flatten()
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
