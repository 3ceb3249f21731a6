//! What a store is started with.

use std::error::Error as StdError;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

/// Where notifications go. Awaited before an object is acknowledged, and again later for those that failed.
#[async_trait]
pub trait Notifier: Send + Sync + 'static {
    /// Publishes one event, JSON as MinIO shapes it, under `bucket/key`. `Ok` means that it is safe.
    async fn notify(&self, key: &str, event: Bytes) -> Result<(), Box<dyn StdError + Send + Sync>>;
}

/// The key pair that requests must be signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub access_key: String,
    pub secret_key: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, ***)", self.access_key)
    }
}

/// Which objects a rule speaks of; the default one, of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// Any bucket when absent.
    pub bucket: Option<String>,
    pub prefix: String,
    pub suffix: String,
}

impl Rule {
    pub fn bucket(name: impl Into<String>) -> Self {
        Self {
            bucket: Some(name.into()),
            ..Self::default()
        }
    }

    fn matches(&self, bucket: &str, key: &str) -> bool {
        self.bucket.as_deref().is_none_or(|name| name == bucket)
            && key.starts_with(&self.prefix)
            && key.ends_with(&self.suffix)
    }
}

/// Settings of an [`ObjectStore`](crate::ObjectStore).
#[derive(Clone)]
pub struct Config {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder; made when absent, used by one store at a time.
    pub root: PathBuf,
    pub credentials: Credentials,
    pub region: String,
    pub notifier: Option<Arc<dyn Notifier>>,
    /// Objects to notify of: those that match any of these …
    pub notify: Vec<Rule>,
    /// … and none of these.
    pub except: Vec<Rule>,
    /// Whether to wait for the disk, so that acknowledged objects outlive a power cut too. Without it they outlive
    /// the end of the process, however sudden.
    pub fsync: bool,
    /// Connections served at once; more wait to be accepted.
    pub max_connections: usize,
}

impl Config {
    /// A store on a free port of 127.0.0.1 that notifies nobody.
    pub fn new(root: impl Into<PathBuf>, credentials: Credentials) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            root: root.into(),
            credentials,
            region: "us-east-1".to_owned(),
            notifier: None,
            notify: vec![Rule::default()],
            except: Vec::new(),
            fsync: true,
            max_connections: 512,
        }
    }

    pub(crate) fn concerns(&self, bucket: &str, key: &str) -> bool {
        let any = |rules: &[Rule]| rules.iter().any(|rule| rule.matches(bucket, key));
        self.notifier.is_some() && any(&self.notify) && !any(&self.except)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("root", &self.root)
            .field("credentials", &self.credentials)
            .field("region", &self.region)
            .field("notifies", &self.notifier.is_some())
            .field("notify", &self.notify)
            .field("except", &self.except)
            .field("fsync", &self.fsync)
            .field("max_connections", &self.max_connections)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Deaf;

    #[async_trait]
    impl Notifier for Deaf {
        async fn notify(&self, _: &str, _: Bytes) -> Result<(), Box<dyn StdError + Send + Sync>> {
            Ok(())
        }
    }

    #[test]
    fn rules_choose_and_exceptions_win() {
        let keys = Credentials {
            access_key: "a".into(),
            secret_key: "hush".into(),
        };
        let mut config = Config::new("/nowhere", keys);
        assert!(!config.concerns("b", "k"), "nobody to notify");
        config.notifier = Some(Arc::new(Deaf));
        assert!(config.concerns("b", "k"));
        config.notify = vec![Rule {
            prefix: "in/".into(),
            suffix: ".jpg".into(),
            ..Rule::default()
        }];
        config.except = vec![Rule::bucket("thumbnails")];
        assert!(config.concerns("b", "in/1.jpg"));
        assert!(!config.concerns("b", "out/1.jpg"));
        assert!(!config.concerns("b", "in/1.png"));
        assert!(!config.concerns("thumbnails", "in/1.jpg"));
        assert!(!format!("{config:?}").contains("hush"));
    }
}
