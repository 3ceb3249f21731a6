//! Settings of a store.

use crate::{Error, admission};
use async_trait::async_trait;
use bytes::Bytes;
use secrecy::{ExposeSecret as _, SecretString};
use std::{
    error::Error as StdError,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// The receiver of notifications. Called before an object is acknowledged, and again later if it failed.
#[async_trait]
pub trait Notifier: Send + Sync + 'static {
    /// Publishes one event, JSON in MinIO's format, under the key `bucket/key`. `Ok` means that the event can't be lost
    /// any more.
    ///
    /// # Errors
    /// Any error: the event is published again later.
    async fn notify(&self, key: &str, event: Bytes) -> Result<(), Box<dyn StdError + Send + Sync>>;
}

/// The key pair that requests must be signed with.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The access key, which names the key pair.
    pub access_key: String,
    /// The secret key, which signs requests.
    pub secret_key: SecretString,
}

impl Credentials {
    /// Both keys if the user sets none. It is public, so it protects nothing from those who can connect to the store.
    pub const DEFAULT: &str = "sightline";
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            access_key: Self::DEFAULT.to_owned(),
            secret_key: Self::DEFAULT.into(),
        }
    }
}

/// A set of objects by bucket, prefix and suffix. The default is all objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// Any bucket when absent.
    pub bucket: Option<String>,
    /// How the key must begin.
    pub prefix: String,
    /// How the key must end.
    pub suffix: String,
}

impl Rule {
    /// All objects of a bucket.
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
    /// The address to listen on; port 0 chooses a free one.
    pub listen: SocketAddr,
    /// The folder; created if absent, used by one store at a time.
    pub root: PathBuf,
    /// The key pair that requests must be signed with.
    pub credentials: Credentials,
    /// The region that the store says it is in.
    pub region: String,
    /// Names of this machine that requests may be for, beside `localhost` and its addresses; without a port.
    pub hosts: Vec<String>,
    /// The receiver of notifications, if there is one.
    pub notifier: Option<Arc<dyn Notifier>>,
    /// Objects to notify of: those that match any of these …
    pub notify: Vec<Rule>,
    /// … and none of these.
    pub except: Vec<Rule>,
    /// Whether to wait for the disk, so that acknowledged objects survive a power cut. Without it they survive a crash
    /// of the process only.
    pub fsync: bool,
    /// Connections served at once; more wait to be accepted.
    pub max_connections: usize,
    /// A multipart upload without a new part for this long is removed, at the start or within an hour.
    pub uploads_expire: Duration,
}

impl Config {
    /// A store on a free port of 127.0.0.1, without notifications.
    pub fn new(root: impl Into<PathBuf>, credentials: Credentials) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            root: root.into(),
            credentials,
            region: "us-east-1".to_owned(),
            hosts: Vec::new(),
            notifier: None,
            notify: vec![Rule::default()],
            except: Vec::new(),
            fsync: true,
            max_connections: 512,
            uploads_expire: Duration::from_secs(24 * 60 * 60),
        }
    }

    /// Checks the settings. [`ObjectStore::start`](crate::ObjectStore::start) does so first; a program that starts
    /// other
    /// things before may do so earlier.
    ///
    /// # Errors
    /// [`Error::Settings`] with everything that is wrong.
    pub fn check(&self) -> Result<(), Error> {
        let mut problems = Vec::new();
        let secret = self.credentials.secret_key.expose_secret();
        let beyond_loopback = !self.listen.ip().to_canonical().is_loopback();
        if beyond_loopback && matches!(secret, "" | Credentials::DEFAULT) {
            problems.push(format!(
                "others than this machine reach the S3 store on {}, and everybody knows its default keys; set your own with \
                 --access-key and --secret-key (or SIGHTLINE_STORE_ACCESS_KEY and SIGHTLINE_STORE_SECRET_KEY), or listen on \
                 127.0.0.1",
                self.listen
            ));
        }
        for name in &self.hosts {
            if admission::host(name).as_ref() != Some(name) {
                problems.push(format!(
                    "--s3-host {name:?} is no host name; give it without scheme and port"
                ));
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Error::Settings(problems.join("; ")))
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
            .field("hosts", &self.hosts)
            .field("notifies", &self.notifier.is_some())
            .field("notify", &self.notify)
            .field("except", &self.except)
            .field("fsync", &self.fsync)
            .field("max_connections", &self.max_connections)
            .field("uploads_expire", &self.uploads_expire)
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

    #[test]
    fn beyond_loopback_the_default_keys_are_refused() {
        let mut config = Config::new("/nowhere", Credentials::default());
        for loopback in ["127.0.0.1:9000", "127.9.9.9:0", "[::1]:9000"] {
            config.listen = loopback.parse().unwrap();
            config.check().unwrap();
        }
        for beyond in ["0.0.0.0:9000", "[::]:9000", "192.0.2.7:9000"] {
            config.listen = beyond.parse().unwrap();
            for secret in [Credentials::DEFAULT, ""] {
                config.credentials.access_key = "mine".into();
                config.credentials.secret_key = secret.into();
                let refused = config.check().unwrap_err().to_string();
                let said = [beyond, "--secret-key", "SIGHTLINE_STORE_SECRET_KEY"];
                assert!(said.iter().all(|part| refused.contains(part)), "{refused}");
            }
            config.credentials.secret_key = "of my own".into();
            config.check().unwrap();
        }
    }

    #[test]
    fn names_that_are_no_host_names_are_listed() {
        let mut config = Config::new("/nowhere", Credentials::default());
        config.hosts = ["store.example", "192.0.2.7", "nas"].map(Into::into).into();
        config.check().unwrap();
        config.hosts = ["http://nas", "nas:9000", "", "a@b"].map(Into::into).into();
        let refused = config.check().unwrap_err().to_string();
        assert_eq!(refused.matches("--s3-host").count(), 4, "{refused}");
    }
}
