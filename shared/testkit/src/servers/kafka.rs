//! Apache Kafka, one or three KRaft nodes, each of them broker and controller.

mod settings;

use super::{Server, Variables, cache};
use crate::{Bootstrap, wait::within};
use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
pub use settings::KafkaSettings;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The version that docker-compose.yml has.
const VERSION: &str = "4.1.1";
const STARTS_WITHIN: Duration = Duration::from_secs(90);
/// How long a node may take to stop before it is killed.
const STOPS_WITHIN: Duration = Duration::from_secs(15);

/// Running nodes. If no folder was named for their records, the records are removed when this is dropped.
#[derive(Debug)]
pub struct Kafka {
    nodes: Vec<Server>,
    bootstrap: Bootstrap,
    variables: Variables,
    folder: Folder,
}

#[derive(Debug)]
enum Folder {
    Named(PathBuf),
    Temporary(TempDir),
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Named(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

impl Kafka {
    /// Starts the nodes and waits until they take requests. A folder that an earlier start has filled is started again
    /// with its ports and its records; its settings then stay as they were.
    ///
    /// # Errors
    /// Kafka can't be fetched, a node doesn't start, or one runs in the folder already.
    pub fn start(settings: &KafkaSettings) -> Result<Self> {
        let begun = Instant::now();
        let program = Program::fetched()?;
        let folder = match &settings.data {
            Some(path) => {
                fs::create_dir_all(path)?;
                Folder::Named(path.canonicalize()?)
            }
            None => Folder::Temporary(
                tempfile::Builder::new()
                    .prefix("sightline-kafka.")
                    .tempdir()?,
            ),
        };
        let data = folder.path();
        if data.join("bootstrap").exists() {
            for node in nodes(data)? {
                ensure!(
                    running(&node).is_none(),
                    "already running in {}",
                    data.display()
                );
                // The log of an earlier start already says that the server started.
                fs::write(node.join("server.log"), "")?;
            }
        } else {
            settings.write(data)?;
            for node in nodes(data)? {
                program.format(&node)?;
            }
        }
        let mut kafka = Self {
            nodes: Vec::new(),
            bootstrap: Bootstrap::new(fs::read_to_string(data.join("bootstrap"))?.trim_end()),
            variables: settings.variables(data),
            folder,
        };
        let data = kafka.folder.path();
        for node in nodes(data)? {
            kafka.nodes.push(program.launch(&node, settings.heap)?);
        }
        for (node, server) in nodes(data)?.iter().zip(&mut kafka.nodes) {
            let log = node.join("server.log");
            let limit = STARTS_WITHIN.saturating_sub(begun.elapsed());
            server.await_ready(limit, || {
                fs::read_to_string(&log).is_ok_and(|text| text.contains("Kafka Server started"))
            })?;
        }
        eprintln!(
            "kafka: ready after {} s in {}",
            begun.elapsed().as_secs(),
            data.display()
        );
        Ok(kafka)
    }

    pub fn bootstrap(&self) -> &Bootstrap {
        &self.bootstrap
    }

    /// The folder of its records, settings and logs.
    pub fn data(&self) -> &Path {
        self.folder.path()
    }

    /// Its address for the tests, and the services' settings of authentication and encryption.
    pub fn variables(&self) -> Variables {
        let mut variables = self.variables.clone();
        variables.push((Bootstrap::VARIABLE, self.bootstrap.to_string()));
        variables
    }

    /// Leaves the nodes running when this process has ended. [`Self::stop`] stops them.
    pub fn leave_running(mut self) {
        for node in self.nodes.drain(..) {
            node.leave_running();
        }
        if let Folder::Temporary(folder) = &mut self.folder {
            folder.disable_cleanup(true);
        }
    }

    /// Stops the nodes of a folder, by pid, wherever they were started.
    ///
    /// # Errors
    /// No Kafka was started in the folder.
    pub fn stop(data: &Path) -> Result<()> {
        ensure!(
            data.join("bootstrap").exists(),
            "{} is not the data folder of a started Kafka",
            data.display()
        );
        let nodes = nodes(data)?;
        for pid in nodes.iter().filter_map(|node| running(node)) {
            // It fails only where the node has just ended.
            let _ = kill_process(pid, Signal::TERM);
        }
        for node in &nodes {
            let ended = within(STOPS_WITHIN, || running(node).is_none().then_some(()));
            if let (None, Some(pid)) = (ended, running(node)) {
                let _ = kill_process(pid, Signal::KILL);
            }
            let _ = fs::remove_file(node.join("pid"));
        }
        Ok(())
    }

    /// Fetches Kafka where it is not there yet. Returns its folder.
    ///
    /// # Errors
    /// Maven is missing or can't fetch it.
    pub fn fetch() -> Result<PathBuf> {
        Ok(Program::fetched()?.0)
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if self.nodes.is_empty() {
            return;
        }
        // At the same time, because the last of three would wait for a majority.
        for node in &mut self.nodes {
            node.ask_to_stop();
        }
        self.nodes.clear();
        for node in nodes(self.folder.path()).unwrap_or_default() {
            let _ = fs::remove_file(node.join("pid"));
        }
    }
}

/// The folders of the nodes: `1`, or `1`, `2` and `3`.
fn nodes(data: &Path) -> Result<Vec<PathBuf>> {
    let nodes: Vec<_> = (1..=3)
        .map(|id: u8| data.join(id.to_string()))
        .filter(|node| node.is_dir())
        .collect();
    ensure!(!nodes.is_empty(), "{} holds no node", data.display());
    Ok(nodes)
}

/// The process of a node, if it runs.
fn running(node: &Path) -> Option<Pid> {
    let pid = fs::read_to_string(node.join("pid")).ok()?;
    let pid = Pid::from_raw(pid.trim().parse().ok()?)?;
    test_kill_process(pid).is_ok().then_some(pid)
}

/// The folder that holds Kafka's jars.
struct Program(PathBuf);

impl Program {
    fn fetched() -> Result<Self> {
        let folder = cache::folder("kafka")?.join(VERSION);
        cache::need("java", "default-jre-headless")?;
        if !folder.join("complete").exists() {
            cache::need("mvn", "maven")?;
            eprintln!("kafka: fetching Apache Kafka {VERSION} by Maven");
            fs::create_dir_all(&folder)?;
            fs::write(folder.join("pom.xml"), settings::pom(VERSION))?;
            cache::run(
                Command::new("mvn")
                    .args(["-q", "-B", "-Dstyle.color=never"])
                    .arg("dependency:copy-dependencies")
                    .arg(format!(
                        "-DoutputDirectory={}",
                        folder.join("libs").display()
                    ))
                    .current_dir(&folder),
            )?;
            fs::write(folder.join("log4j2.properties"), settings::LOG)?;
            fs::write(folder.join("complete"), "")?;
        }
        Ok(Self(folder))
    }

    fn java(&self, options: &[&str], main: &str) -> Command {
        let log = self.0.join("log4j2.properties");
        let mut command = Command::new("java");
        command
            .args(options)
            .arg(format!("-Dlog4j2.configurationFile={}", log.display()))
            .args(["-cp", &format!("{}/libs/*", self.0.display()), main]);
        command
    }

    /// Makes a node's storage.
    fn format(&self, node: &Path) -> Result<()> {
        let cluster = fs::read_to_string(node.with_file_name("cluster"))?;
        let output = self
            .java(
                &["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"],
                "kafka.tools.StorageTool",
            )
            .args(["format", "--ignore-formatted", "-c"])
            .arg(node.join("server.properties"))
            .arg(format!("--cluster-id={}", cluster.trim_end()))
            .output()
            .context("can't start java")?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            bail!(
                "could not format {}: {}",
                node.display(),
                String::from_utf8_lossy(&said)
            );
        }
        Ok(())
    }

    fn launch(&self, node: &Path, heap: u32) -> Result<Server> {
        let heap = format!("-Xmx{heap}m");
        let server = Server::start(
            &format!("node {}", node.file_name().unwrap_or_default().display()),
            self.java(&["-Xms128m", &heap, "-XX:+UseG1GC"], "kafka.Kafka")
                .arg(node.join("server.properties")),
            Some(&node.join("server.log")),
        )?;
        fs::write(node.join("pid"), format!("{}\n", server.pid()))?;
        Ok(server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_docker_compose() {
        let compose = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docker-compose.yml");
        let compose = fs::read_to_string(compose).unwrap();
        assert!(compose.contains(&format!("image: apache/kafka:{VERSION}\n")));
    }

    #[test]
    fn a_folder_without_a_kafka_is_not_stopped() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Kafka::stop(folder.path()).is_err());
    }
}
