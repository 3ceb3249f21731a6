//! The HTTP server around the store, from start to shutdown.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::api::{Api, Peer};
use crate::vault::Vault;

/// How long a client may take to send a request's headers.
const HEADERS: Duration = Duration::from_secs(30);
/// How long requests in progress may take to end at shutdown.
const DRAIN: Duration = Duration::from_secs(10);
/// The pause after a connection couldn't be accepted, as when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a store doesn't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("another store uses the folder {}", root.display())]
    InUse { root: PathBuf },
    #[error("cannot use the folder {}", root.display())]
    Folder {
        root: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A running store. Dropped, it stops at once, as by a crash; [`shutdown`](Self::shutdown) ends what is in progress.
pub struct ObjectStore {
    local_addr: SocketAddr,
    stop: CancellationToken,
    vault: Arc<Vault>,
    tasks: JoinSet<()>,
}

impl ObjectStore {
    /// Serves from now on, and delivers the notifications owed since before.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let address = config.listen;
        let listen = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let local_addr = listener.local_addr().map_err(listen)?;
        let vault = open(config).await?;
        let stop = CancellationToken::new();
        let server = Server {
            service: service(&vault),
            places: Arc::new(Semaphore::new(vault.config.max_connections.max(1))),
            stop: stop.clone(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(server.run(listener));
        let (owner, ending) = (Arc::clone(&vault), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = owner.settle() => {}
                () = ending.cancelled() => {}
            }
        });
        Ok(Self {
            local_addr,
            stop,
            vault,
            tasks,
        })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Accepts no more, lets requests in progress end for ten seconds, and gives the folder free.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.vault.writes.close();
        self.vault.writes.wait().await;
    }
}

async fn open(config: Config) -> Result<Arc<Vault>, Error> {
    let root = config.root.clone();
    let opened = tokio::task::spawn_blocking(move || Vault::open(config)).await;
    match opened.map_err(io::Error::other).flatten() {
        Ok(vault) => Ok(vault),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Error::InUse { root }),
        Err(source) => Err(Error::Folder { root, source }),
    }
}

fn service(vault: &Arc<Vault>) -> S3Service {
    let keys = &vault.config.credentials;
    let mut builder = S3ServiceBuilder::new(Api(Arc::clone(vault)));
    builder.set_auth(SimpleAuth::from_single(
        &*keys.access_key,
        &*keys.secret_key,
    ));
    builder.build()
}

struct Server {
    service: S3Service,
    places: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Server {
    async fn run(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                Some(_) = connections.join_next() => {}
                accepted = self.accept(&listener) => match accepted {
                    Ok((stream, peer, place)) => {
                        connections.spawn(self.serve(stream, peer, place));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection couldn't be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        let drained = timeout(DRAIN, async {
            while connections.join_next().await.is_some() {}
        });
        if drained.await.is_err() {
            tracing::warn!(left = connections.len(), "connections cut off at shutdown");
        }
    }

    async fn accept(
        &self,
        listener: &TcpListener,
    ) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(io::Error::other)?;
        let (stream, peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok((stream, peer, place))
    }

    fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (service, stop) = (self.service.clone(), self.stop.clone());
        async move {
            let _place = place;
            let with_peer = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
                request.extensions_mut().insert(Peer(peer));
                Service::call(&service, request)
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS)
                .serve_connection(TokioIo::new(stream), with_peer);
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, %peer, "connection ended");
            }
        }
    }
}
