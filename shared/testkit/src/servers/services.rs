//! The four services, a process each.

use super::{Server, Variables, cache};
use crate::{Bootstrap, free_port, http_status};
use anyhow::{Context as _, Result, ensure};
use std::{
    ffi::OsString,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tempfile::TempDir;

pub const SERVICES: [&str; 4] = ["ingest", "preprocess", "infer", "postprocess"];
/// The command line's name.
const TOOL: &str = "sightline";
/// The checkout that this was built from.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A folder that holds the services and the command `sightline`.
#[derive(Debug)]
pub struct Binaries {
    folder: PathBuf,
    _links: Option<TempDir>,
}

impl Binaries {
    /// The variable that names binaries that are built already.
    pub const VARIABLE: &'static str = "SIGHTLINE_TEST_BINARIES";

    /// The binaries at `path`: a folder with all five, or one program that acts as each of them by the name it is
    /// called
    /// by.
    ///
    /// # Errors
    /// There is nothing at `path`.
    pub fn at(path: &Path) -> Result<Self> {
        let path = path
            .canonicalize()
            .with_context(|| format!("no binaries at {}", path.display()))?;
        if path.is_dir() {
            return Ok(Self {
                folder: path,
                _links: None,
            });
        }
        let links = tempfile::Builder::new()
            .prefix("sightline-services.")
            .tempdir()?;
        for name in SERVICES.iter().chain(&[TOOL]) {
            symlink(&path, links.path().join(name))?;
        }
        Ok(Self {
            folder: links.path().to_owned(),
            _links: Some(links),
        })
    }

    /// What [`Self::VARIABLE`] names; without it they are built for release.
    ///
    /// # Errors
    /// There is nothing where the variable says, or they don't build.
    pub fn named_or_built() -> Result<Self> {
        match std::env::var_os(Self::VARIABLE) {
            Some(path) if !path.is_empty() => Self::at(Path::new(&path)),
            _ => Self::built(),
        }
    }

    fn built() -> Result<Self> {
        let packages = SERVICES.iter().chain(&["cli"]);
        cache::run(
            Command::new("cargo")
                .args(["build", "--release", "--quiet", "--manifest-path"])
                .arg(Path::new(ROOT).join("Cargo.toml"))
                .args(packages.map(|name| format!("--package=sightline-{name}"))),
        )?;
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let target = target.unwrap_or_else(|| Path::new(ROOT).join("target"));
        Self::at(&target.join("release"))
    }

    /// A command that runs one of them.
    fn command(&self, name: &str) -> Command {
        Command::new(self.folder.join(name))
    }

    /// `PATH` with their folder in front.
    fn path(&self) -> Result<OsString> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.folder.clone()).chain(std::env::split_paths(&path));
        Ok(std::env::join_paths(folders)?)
    }
}

/// Running services, all of them ready. They log to standard error, warnings and errors alone.
#[derive(Debug)]
pub struct Services {
    /// Each service's address for health and metrics.
    addresses: Vec<(&'static str, String)>,
    servers: Vec<Server>,
    kafka: Bootstrap,
    binaries: Binaries,
}

impl Services {
    /// The variable that tells a command under test where each serves its metrics: `ingest=HOST:PORT …`.
    pub const VARIABLE: &'static str = "SIGHTLINE_TEST_HTTP";

    /// Creates the topics, starts the services and waits until they are ready. All other settings, S3 among them, are
    /// those of this process' environment.
    ///
    /// # Errors
    /// The topics can't be created, or a service is not ready within `limit`.
    pub fn start(
        binaries: Binaries,
        kafka: &Bootstrap,
        partitions: u16,
        limit: Duration,
    ) -> Result<Self> {
        let created = binaries
            .command(TOOL)
            .args(["topics", "create", "--partitions", &partitions.to_string()])
            .args(["--kafka-bootstrap", kafka.as_str()])
            .stdout(std::io::stderr())
            .status()
            .context("can't start sightline")?;
        ensure!(created.success(), "the topics can't be created ({created})");
        let mut services = Self {
            addresses: Vec::new(),
            servers: Vec::new(),
            kafka: kafka.clone(),
            binaries,
        };
        for name in SERVICES {
            let address = format!("127.0.0.1:{}", free_port()?);
            let mut command = services.binaries.command(name);
            command
                .args(["--kafka-bootstrap", kafka.as_str(), "--log", "warn"])
                .args(["--http-listen", &address]);
            let server = Server::start(name, &mut command, None)?;
            services.servers.push(server);
            services.addresses.push((name, address));
        }
        for ((_, address), server) in services.addresses.iter().zip(&mut services.servers) {
            server.await_ready(limit, || {
                http_status(address, "/readyz").is_ok_and(|status| status == 200)
            })?;
        }
        Ok(services)
    }

    /// Kafka's address, where each service serves its metrics.
    pub fn variables(&self) -> Variables {
        let http: Vec<_> = self
            .addresses
            .iter()
            .map(|(name, address)| format!("{name}={address}"))
            .collect();
        vec![
            ("SIGHTLINE_KAFKA_BOOTSTRAP", self.kafka.to_string()),
            (Self::VARIABLE, http.join(" ")),
        ]
    }

    /// `PATH` with the binaries in front.
    ///
    /// # Errors
    /// Their folder's name has a colon.
    pub fn path(&self) -> Result<OsString> {
        self.binaries.path()
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        for server in &mut self.servers {
            server.ask_to_stop();
        }
        self.servers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_program_is_called_by_each_name() {
        let binaries = Binaries::at(Path::new("/bin/sh")).unwrap();
        for name in SERVICES.iter().chain(&[TOOL]) {
            assert!(binaries.folder.join(name).is_file());
        }
        assert!(Binaries::at(Path::new("/nowhere")).is_err());
    }
}
