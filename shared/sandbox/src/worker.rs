//! The service's side of a worker.

use crate::{
    Failure,
    frame::{self, HEADER, Kind},
    system,
};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::{
    io::{self, ErrorKind, Read as _},
    os::unix::{net::UnixStream, process::ExitStatusExt as _},
    process::{Child, ExitStatus},
    thread,
    time::{Duration, Instant},
};

/// Limits of a worker for one request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Memory in bytes, on top of its base and the request's body, that it need not ask for.
    pub allowance: u64,
    /// Longest processor time.
    pub work: Duration,
    /// Longest answer, in bytes.
    pub answer: u64,
}

/// How often the service looks at the clock of a worker that has not answered yet.
const LOOK: Duration = Duration::from_millis(100);

/// The longest time for a request, in multiples of the processor time allowed: a worker may have to wait for a
/// processor.
const PATIENCE: u32 = 6;

/// The limit of memory grows with the request's body in steps of this many bytes, so that it seldom has to be set
/// again.
const BODY_STEP: u64 = 8 << 20;

/// Bytes that the allocator may keep after earlier requests ([`system::keep_little`]), and what fragmentation costs.
const SLACK: u64 = 32 << 20;

/// A process that takes one request at a time. It is killed when dropped.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    socket: UnixStream,
    limits: Limits,
    /// Address space that it uses before any request, in bytes.
    base: u64,
    lacks: Vec<String>,
    /// The limits that are set in the kernel: bytes, seconds.
    address_space: u64,
    cpu_seconds: u64,
}

impl Worker {
    /// Waits until the process is confined.
    pub(crate) fn greet(child: Child, socket: UnixStream, limits: Limits) -> io::Result<Self> {
        const LONGEST: Duration = Duration::from_secs(10);
        let mut worker = Self {
            child,
            socket,
            limits,
            base: 0,
            lacks: Vec::new(),
            address_space: u64::MAX,
            cpu_seconds: u64::MAX,
        };
        let deadline = Instant::now() + LONGEST;
        let mut over = || Instant::now() > deadline;
        let greeting = match worker.read(4096, &mut over) {
            Ok(Some((Kind::Ready, greeting))) => greeting,
            Ok(Some(_)) | Ok(None) => return Err(worker.not_ready()),
            Err(error) => return Err(error),
        };
        let (base, lacks) = greeting
            .split_first_chunk::<8>()
            .ok_or_else(|| io::Error::other("a decoder's greeting is too short"))?;
        worker.base = u64::from_le_bytes(*base);
        let lacks = String::from_utf8_lossy(lacks);
        worker.lacks = lacks.lines().map(str::to_owned).collect();
        worker.limit_memory(0, 0)?;
        Ok(worker)
    }

    fn not_ready(&mut self) -> io::Error {
        let (status, said) = self.end();
        let status = status.map_or_else(|| "it goes on".to_owned(), |status| status.to_string());
        io::Error::other(format!(
            "the program that was started as a decoder did not become one ({status}; it said: {said:?})"
        ))
    }

    /// A line for each rule of the sandbox that the kernel does not support; empty if it supports all.
    pub fn lacks(&self) -> &[String] {
        &self.lacks
    }

    /// The process id, for logs and tests.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a request and waits for the answer. If the worker needs more memory than its allowance, `admit` is called
    /// with
    /// the bytes, and decides whether they are granted. It may block, because the worker waits, too.
    ///
    /// # Errors
    /// See [`Failure`]; the worker can't be used again after any but [`Failure::Panicked`].
    pub fn call(
        &mut self,
        head: &[u8],
        body: &[u8],
        admit: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Vec<u8>, Failure> {
        let body_bytes = body.len() as u64;
        self.limit_memory(body_bytes, 0)?;
        let started = self.limit_time()?;
        let mut granted = self.limits.allowance;
        let length = (head.len() as u32).to_le_bytes();
        if self.write(Kind::Request, &[&length, head, body]).is_err() {
            return Err(self.autopsy(granted));
        }
        loop {
            match self.next(started, granted)? {
                (Kind::Answer, answer) => return Ok(answer),
                (Kind::Panicked, message) => {
                    let message = String::from_utf8_lossy(&message).into_owned();
                    return Err(Failure::Panicked(message));
                }
                (Kind::Need, bytes) => {
                    let needed = bytes.try_into().map_or(u64::MAX, u64::from_le_bytes);
                    let answer = if needed <= granted {
                        Kind::Granted
                    } else if admit(needed) {
                        granted = needed;
                        self.limit_memory(body_bytes, needed)?;
                        Kind::Granted
                    } else {
                        Kind::Refused
                    };
                    if self.write(answer, &[]).is_err() {
                        return Err(self.autopsy(granted));
                    }
                }
                _ => return Err(self.broke_protocol()),
            }
        }
    }

    /// The worker's next frame, within the limits of time.
    fn next(&mut self, started: Duration, granted: u64) -> Result<(Kind, Vec<u8>), Failure> {
        let id = self.child.id();
        let work = self.limits.work;
        let waiting = Instant::now();
        let mut over = || {
            let worked =
                system::cpu_time(id).map_or(Duration::ZERO, |now| now.saturating_sub(started));
            worked >= work || waiting.elapsed() >= work * PATIENCE
        };
        match self.read(self.limits.answer, &mut over) {
            Ok(Some(frame)) => Ok(frame),
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                self.child.kill().ok();
                Err(Failure::Time(work))
            }
            Err(error) if error.kind() == ErrorKind::InvalidData => Err(self.broke_protocol()),
            Ok(None) | Err(_) => Err(self.autopsy(granted)),
        }
    }

    fn broke_protocol(&mut self) -> Failure {
        self.child.kill().ok();
        Failure::Crashed("it did not keep to the protocol".to_owned())
    }

    /// Reads a frame. Calls `over` every [`LOOK`] and fails with `TimedOut` when it returns true. `None` if the worker
    /// has closed its socket.
    fn read(
        &mut self,
        longest: u64,
        over: &mut dyn FnMut() -> bool,
    ) -> io::Result<Option<(Kind, Vec<u8>)>> {
        self.socket.set_read_timeout(Some(LOOK))?;
        let mut header = [0; HEADER];
        if !self.fill(&mut header, over)? {
            return Ok(None);
        }
        let (kind, length) = frame::parse(header, longest)?;
        let mut bytes = vec![0; length];
        let whole = self.fill(&mut bytes, over)?;
        Ok(whole.then_some((kind, bytes)))
    }

    /// Fills `to`; false if the socket is closed before.
    fn fill(&mut self, mut to: &mut [u8], over: &mut dyn FnMut() -> bool) -> io::Result<bool> {
        let mut looked = Instant::now();
        while !to.is_empty() {
            match self.socket.read(to) {
                Ok(0) => return Ok(false),
                Ok(read) => to = &mut to[read..],
                Err(error) if waits(&error) => {}
                Err(error) => return Err(error),
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                if over() {
                    return Err(ErrorKind::TimedOut.into());
                }
            }
        }
        Ok(true)
    }

    fn write(&mut self, kind: Kind, parts: &[&[u8]]) -> io::Result<()> {
        self.socket
            .set_write_timeout(Some(self.limits.work * PATIENCE))?;
        frame::write(&self.socket, kind, parts)
    }

    /// Sets the limit of the address space, if it changes: base, body, and the larger of allowance and grant.
    fn limit_memory(&mut self, body: u64, granted: u64) -> io::Result<()> {
        let body = (body + 1).next_multiple_of(BODY_STEP);
        let bytes = self.base + SLACK + body + self.limits.allowance.max(granted);
        if bytes != self.address_space {
            self.limit(Resource::As, bytes)?;
            self.address_space = bytes;
        }
        Ok(())
    }

    /// Sets the limit of processor time, which counts from the process's start, and returns the time taken so far. The
    /// kernel counts seconds: this is for the case that the service does not get to look.
    fn limit_time(&mut self) -> io::Result<Duration> {
        let taken = system::cpu_time(self.child.id())?;
        let least = taken.as_secs() + self.limits.work.as_secs() + 1;
        if !(least..least + 3).contains(&self.cpu_seconds) {
            self.cpu_seconds = least + 2;
            self.limit(Resource::Cpu, self.cpu_seconds)?;
        }
        Ok(taken)
    }

    /// The soft limit: the kernel lets a user without privileges raise it again.
    fn limit(&self, resource: Resource, value: u64) -> io::Result<()> {
        let new = Rlimit {
            current: Some(value),
            maximum: None,
        };
        prlimit(Some(Pid::from_child(&self.child)), resource, new)?;
        Ok(())
    }

    /// Ends the worker, if it has not ended itself, and finds out why it did.
    fn autopsy(&mut self, granted: u64) -> Failure {
        let (status, said) = self.end();
        let Some(status) = status else {
            return self.broke_protocol();
        };
        match status.signal() {
            Some(libc::SIGXCPU) => Failure::Time(self.limits.work),
            Some(libc::SIGABRT) if said.contains("memory allocation of") => {
                Failure::Memory { granted }
            }
            Some(libc::SIGKILL) => Failure::Killed("SIGKILL".to_owned()),
            Some(libc::SIGSYS) => {
                Failure::Crashed("SIGSYS, a system call that decoding does not need".to_owned())
            }
            Some(signal) => Failure::Crashed(system::signal_name(signal)),
            None => Failure::Crashed(status.to_string()),
        }
    }

    /// Its exit status, `None` if it had to be killed; and what it printed last.
    fn end(&mut self) -> (Option<ExitStatus>, String) {
        const GRACE: Duration = Duration::from_millis(500);
        let deadline = Instant::now() + GRACE;
        let status = loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
                Ok(Some(status)) => break Some(status),
                Ok(None) | Err(_) => break None,
            }
        };
        if status.is_none() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
        let mut said = Vec::new();
        if let Some(stderr) = self.child.stderr.take() {
            // The process has ended, so this does, too.
            stderr.take(4096).read_to_end(&mut said).ok();
        }
        (status, String::from_utf8_lossy(&said).trim().to_owned())
    }
}

/// Nothing has come yet.
fn waits(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
