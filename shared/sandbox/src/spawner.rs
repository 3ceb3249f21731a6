//! Starts workers ahead, so that the next one is there at once.

use crate::{Limits, NAME, Worker};
use parking_lot::{Mutex, MutexGuard};
use std::{
    io,
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::PathBuf,
    process::{self, Command, Stdio},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

/// The program whose `main` begins with [`serve_if_asked`](crate::serve_if_asked).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program(PathBuf);

impl Program {
    /// The one that is running: the file itself, whatever its name stands for by now.
    pub fn running() -> Self {
        Self("/proc/self/exe".into())
    }

    /// Another one: for tests, whose own binary is the test harness.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

/// A thread that starts workers, and always has one ready. It must live as long as they are used: the kernel ends a
/// worker with the thread that started it.
#[derive(Debug)]
pub struct Spawner {
    ready: Mutex<Option<Receiver<io::Result<Worker>>>>,
    thread: Option<JoinHandle<()>>,
}

impl Spawner {
    /// Starts the thread, and it the first worker.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn start(program: Program, limits: Limits) -> io::Result<Self> {
        // Whoever takes the one that is ready has the next one started.
        let (give, ready) = sync_channel(0);
        let thread = thread::Builder::new()
            .name("decoders".to_owned())
            .spawn(move || provide(&program, limits, &give))?;
        Ok(Self {
            ready: Mutex::new(Some(ready)),
            thread: Some(thread),
        })
    }

    /// The worker that is ready; waits for it where there is none yet.
    ///
    /// # Errors
    /// Where the program can't be started or confined: not a worker's fault but the machine's.
    pub fn take(&self) -> io::Result<Worker> {
        let gone = || io::Error::other("the thread that starts decoders has ended");
        match &*self.ready() {
            Some(ready) => ready.recv().map_err(|_| gone())?,
            None => Err(gone()),
        }
    }

    fn ready(&self) -> MutexGuard<'_, Option<Receiver<io::Result<Worker>>>> {
        self.ready.lock()
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        *self.ready() = None;
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed.
            thread.join().ok();
        }
    }
}

fn provide(program: &Program, limits: Limits, to: &SyncSender<io::Result<Worker>>) {
    const PAUSE: Duration = Duration::from_millis(100);
    loop {
        let worker = spawn(program, limits);
        let failed = worker.is_err();
        if to.send(worker).is_err() {
            return;
        }
        if failed {
            thread::sleep(PAUSE);
        }
    }
}

fn spawn(Program(path): &Program, limits: Limits) -> io::Result<Worker> {
    let (ours, theirs) = UnixStream::pair()?;
    // Room for a photo of the usual size, so that it is handed over at once; the kernel gives what it allows.
    for end in [&ours, &theirs] {
        rustix::net::sockopt::set_socket_send_buffer_size(end, 1 << 20)?;
    }
    let child = Command::new(path)
        .arg0(NAME)
        .arg(process::id().to_string())
        .env_clear()
        .current_dir("/")
        // What is typed at a terminal is meant for the service.
        .process_group(0)
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    Worker::greet(child, ours, limits)
}
