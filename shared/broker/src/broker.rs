//! Starting and stopping a broker.

use crate::{
    accept,
    api::Node,
    clock,
    config::{Config, Fsync},
    error::Error,
    group::Groups,
    hooks::Hooks,
    log::segment,
    topics::{Partition, Topics},
    txn::Transactions,
    wire::{Shared, Times},
};
use std::{
    fs::{File, TryLockError},
    io,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::{
    runtime::Runtime,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

/// The interval between checks for overdue transactions.
const REAP_EVERY: Duration = Duration::from_millis(250);

/// A running broker, on threads of its own, so that a caller that blocks doesn't stop it.
///
/// [`Broker::shutdown`] stops it cleanly. Dropping it stops it like a crash: at once and without a clean-shutdown marker.
/// The next start then scans more, and finds everything that was acknowledged.
#[derive(Debug)]
pub struct Broker {
    local_addr: SocketAddr,
    hooks: Hooks,
    cancel: CancellationToken,
    shared: Arc<Shared>,
    serving: Option<JoinHandle<()>>,
    runtime: Option<Runtime>,
    /// Unlocked when the broker is gone.
    _lock: File,
}

impl Broker {
    /// Opens the data and starts to serve.
    ///
    /// # Errors
    /// [`Error`] names what the operator can do: another folder, another address, other settings.
    pub fn start(config: Config) -> Result<Self, Error> {
        let advertised = config
            .advertised
            .as_deref()
            .map(parse_advertised)
            .transpose()?;
        let data = |source| Error::Data {
            path: config.data.clone(),
            source,
        };
        std::fs::create_dir_all(&config.data).map_err(data)?;
        let held = lock_folder(&config.data)?;
        let node = open(&config).map_err(data)?;
        let bind = || {
            let listener = TcpListener::bind(config.listen)?;
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener))
        };
        let (local_addr, listener) = bind().map_err(|source| Error::Listen {
            address: config.listen,
            source,
        })?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.threads.max(1))
            .thread_name("kafka-broker")
            .enable_all()
            .build()
            .map_err(Error::Threads)?;
        let hooks = Hooks::default();
        let times = Times {
            frame: config.request_timeout,
            idle: config.idle_timeout,
        };
        let shared = Arc::new(Shared::new(node, hooks.clone(), advertised, times));
        let cancel = CancellationToken::new();
        let serving = runtime.spawn(run(listener, shared.clone(), config, cancel.clone()));
        Ok(Self {
            local_addr,
            hooks,
            cancel,
            shared,
            serving: Some(serving),
            runtime: Some(runtime),
            _lock: held,
        })
    }

    /// The address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// `host:port`, as clients' `bootstrap.servers` takes it.
    pub fn bootstrap(&self) -> String {
        self.local_addr.to_string()
    }

    /// Faults on demand, for tests.
    pub fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// Stops serving, syncs everything to the disk and writes the clean-shutdown marker.
    pub async fn shutdown(mut self) {
        self.cancel.cancel();
        if let Some(serving) = self.serving.take() {
            // A panic in a task was reported by its thread; there is nothing left to stop.
            let _ = serving.await;
        }
        close(&self.shared.node);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        // A runtime must not block on another one's threads, and this may be dropped on such a thread.
        let stopping = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(5)));
        if stopping.join().is_err() {
            tracing::error!("the broker's threads did not stop");
        }
    }
}

fn parse_advertised(text: &str) -> Result<(String, u16), Error> {
    let parsed = text
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    parsed
        .filter(|(host, _)| !host.is_empty())
        .ok_or_else(|| Error::Advertised(text.to_owned()))
}

fn lock_folder(path: &Path) -> Result<File, Error> {
    let data = |source| Error::Data {
        path: path.to_owned(),
        source,
    };
    let file = segment::open_rw(&path.join("lock")).map_err(data)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(data(error)),
    }
}

fn open(config: &Config) -> io::Result<Node> {
    let topics = Arc::new(Topics::open(&config.data, config.fsync)?);
    let groups = Arc::new(Groups::open(
        &config.data,
        config.fsync,
        config.initial_rebalance_delay,
    )?);
    let max_timeout = i64::try_from(config.max_transaction_timeout.as_millis()).unwrap_or(i64::MAX);
    let transactions = Transactions::open(
        &config.data,
        config.fsync,
        topics.clone(),
        groups.clone(),
        max_timeout,
    )?;
    Ok(Node {
        topics,
        groups,
        transactions,
        cluster_id: cluster_id(&config.data)?,
    })
}

/// The cluster id: created once for each data folder.
fn cluster_id(data: &Path) -> io::Result<String> {
    let path = data.join("cluster-id");
    if let Some(id) = segment::read_whole(&path).and_then(|bytes| String::from_utf8(bytes).ok()) {
        return Ok(id);
    }
    let id = uuid::Uuid::new_v4().simple().to_string();
    segment::write_whole(&path, id.as_bytes())?;
    Ok(id)
}

async fn run(
    listener: TcpListener,
    shared: Arc<Shared>,
    config: Config,
    cancel: CancellationToken,
) {
    let mut tasks = JoinSet::new();
    tasks.spawn(accept::run(
        listener,
        config.max_connections,
        shared.clone(),
    ));
    let node = shared.clone();
    tasks.spawn(async move { node.node.groups.keep_time().await });
    let node = shared.clone();
    tasks.spawn(every(REAP_EVERY, move || node.node.transactions.reap()));
    let node = shared.clone();
    tasks.spawn(every(config.maintenance_interval, move || {
        maintain(&node.node)
    }));
    if config.fsync == Fsync::Interval {
        tasks.spawn(every(config.fsync_interval, move || sync(&shared.node)));
    }
    // None of them ends by itself; dropping the set ends them all.
    cancel.cancelled().await;
    tasks.shutdown().await;
}

/// Runs `work` on a blocking thread again and again; an error is logged, and the next round tries again.
async fn every(interval: Duration, work: impl Fn() -> io::Result<()> + Send + Sync + 'static) {
    let work = Arc::new(work);
    loop {
        tokio::time::sleep(interval).await;
        let work = work.clone();
        match tokio::task::spawn_blocking(move || work()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "background work failed"),
            Err(error) => tracing::error!(%error, "background work panicked"),
        }
    }
}

/// Runs retention and compaction. An error in one partition does not stop the others.
fn maintain(node: &Node) -> io::Result<()> {
    for topic in node.topics.all() {
        for (index, partition) in topic.partitions.iter().enumerate() {
            if let Err(error) = maintain_one(partition) {
                tracing::error!(topic = topic.name, partition = index, %error, "retention failed");
            }
        }
    }
    Ok(())
}

fn maintain_one(partition: &Partition) -> io::Result<()> {
    let plan = {
        let mut log = partition.log.lock();
        if log.is_deleted() {
            return Ok(());
        }
        log.enforce_retention(clock::now_ms())?;
        log.compaction_plan()?
    };
    match plan {
        Some(plan) => partition.log.lock().adopt(plan.run()?),
        None => Ok(()),
    }
}

fn sync(node: &Node) -> io::Result<()> {
    for topic in node.topics.all() {
        for partition in &topic.partitions {
            let dirty = partition.log.lock().take_dirty();
            if let Some(file) = dirty {
                file.sync_data()?;
            }
        }
    }
    node.topics.sync()?;
    node.groups.sync_journal()?;
    node.transactions.sync()
}

fn close(node: &Node) {
    for topic in node.topics.all() {
        for partition in &topic.partitions {
            let mut log = partition.log.lock();
            // What happens after this leaves the note untrue.
            let closed = log.close();
            log.mark_deleted();
            if let Err(error) = closed {
                tracing::warn!(topic = topic.name, %error, "can't close a partition in order");
            }
        }
    }
    if let Err(error) = sync(node) {
        tracing::warn!(%error, "can't sync");
    }
}
