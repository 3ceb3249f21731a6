//! Starts workers ahead, so that the next one is available at once.

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
    /// The running program: the file itself, even if its path names another file by now.
    pub fn running() -> Self {
        Self("/proc/self/exe".into())
    }

    /// Another program: for tests, whose own binary is the test harness.
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
    /// Starts the thread, which starts the first worker.
    ///
    /// # Errors
    /// The thread can't be started.
    pub fn start(program: Program, limits: Limits) -> io::Result<Self> {
        // Without a buffer: the thread starts the next worker when one is taken.
        let (give, ready) = sync_channel(0);
        let thread = thread::Builder::new()
            .name("decoders".to_owned())
            .spawn(move || provide(&program, limits, &give))?;
        Ok(Self {
            ready: Mutex::new(Some(ready)),
            thread: Some(thread),
        })
    }

    /// Takes the worker that is ready, or waits until it is.
    ///
    /// # Errors
    /// The program can't be started or confined. The cause is the machine or the program, not a request.
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
    // Space for a photograph of usual size, so that one write suffices; the kernel may give less.
    for end in [&ours, &theirs] {
        rustix::net::sockopt::set_socket_send_buffer_size(end, 1 << 20)?;
    }
    let child = Command::new(path)
        .arg0(NAME)
        .arg(process::id().to_string())
        .env_clear()
        .current_dir("/")
        // Signals from a terminal go to the service only.
        .process_group(0)
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    Worker::greet(child, ours, limits)
}
