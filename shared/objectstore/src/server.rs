//! The HTTP server around the store, from start to shutdown.

use crate::{
    Config, Error,
    admission::Admission,
    api::{Api, Peer},
    expiry,
    vault::Vault,
};
use http::{
    HeaderValue, Request,
    header::{CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS},
};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::{
    HttpError, HttpResponse,
    auth::SimpleAuth,
    config::{S3Config, StaticConfigProvider},
    service::{S3Service, S3ServiceBuilder},
};
use secrecy::ExposeSecret as _;
use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// How long a client may take to send a request's headers.
const HEADERS: Duration = Duration::from_secs(30);
/// Largest size of a request's headers: S3's own limit is 8 KiB, and a signed URL comes on top.
const MAX_HEADER_BYTES: usize = 64 << 10;
/// Largest size of a body in XML: 1,000 keys to delete or 10,000 parts to join take 2 MiB.
const MAX_XML_BYTES: usize = 4 << 20;
/// How long requests in progress may take to end at shutdown.
const DRAIN: Duration = Duration::from_secs(10);
/// The pause after a connection couldn't be accepted, for example for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running store. Dropping it stops it at once, like a crash; [`shutdown`](Self::shutdown) finishes the requests in
/// progress first.
pub struct ObjectStore {
    local_addr: SocketAddr,
    stop: CancellationToken,
    vault: Arc<Vault>,
    tasks: JoinSet<()>,
}

impl ObjectStore {
    /// Opens the folder, delivers the notifications that are still owed, and serves.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn start(config: Config) -> Result<Self, Error> {
        config.check()?;
        let address = config.listen;
        let listen = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let local_addr = listener.local_addr().map_err(listen)?;
        let vault = open(config).await?;
        expiry::sweep(
            &vault.folder,
            vault.config.uploads_expire,
            SystemTime::now(),
        )
        .await;
        let stop = CancellationToken::new();
        let server = Server {
            service: Arc::new(CheckedService {
                admission: Admission::new(local_addr.ip(), &vault.config.hosts),
                s3: s3_service(&vault),
            }),
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
        let (owner, ending) = (Arc::clone(&vault), stop.clone());
        tasks.spawn(async move {
            let after = owner.config.uploads_expire;
            tokio::select! {
                () = expiry::hourly(&owner.folder, after, SystemTime::now) => {}
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

    /// The address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Accepts no more connections, gives requests in progress ten seconds to end, and releases the folder.
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

fn s3_service(vault: &Arc<Vault>) -> S3Service {
    let keys = &vault.config.credentials;
    let mut builder = S3ServiceBuilder::new(Api(Arc::clone(vault)));
    builder.set_auth(SimpleAuth::from_single(
        &*keys.access_key,
        keys.secret_key.expose_secret(),
    ));
    let mut limits = S3Config::default();
    limits.xml_max_body_size = MAX_XML_BYTES;
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(limits))));
    builder.build()
}

/// The S3 service behind the check of the requests' headers.
struct CheckedService {
    admission: Admission,
    s3: S3Service,
}

impl CheckedService {
    async fn answer(&self, request: Request<Incoming>) -> Result<HttpResponse, HttpError> {
        let answer = match self.admission.check(&request) {
            Ok(()) => Service::call(&self.s3, request).await,
            Err(refused) => {
                tracing::debug!(error = %refused, "request refused");
                let answer = refused.to_http_response();
                answer.map_err(|error| HttpError::new(Box::new(error)))
            }
        };
        let mut answer = answer?;
        // A browser that opens an object must not run it as a page of this store, because such a page's requests to
        // read
        // would have no `Origin`.
        let headers = answer.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Ok(answer)
    }
}

struct Server {
    service: Arc<CheckedService>,
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
        let (service, stop) = (Arc::clone(&self.service), self.stop.clone());
        async move {
            let _place = place;
            let with_peer = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(Peer(peer));
                let service = Arc::clone(&service);
                async move { service.answer(request).await }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS)
                .max_header_size(MAX_HEADER_BYTES)
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
