//! Prometheus: Debian's package, unpacked and not installed.

use super::{Server, Variables, cache};
use crate::{free_port, http_status};
use anyhow::{Context as _, Result, ensure};
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tempfile::TempDir;

const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// A Prometheus that scrapes and evaluates every second, over a folder that is removed with it.
#[derive(Debug)]
pub struct Prometheus {
    _server: Server,
    url: String,
    _data: TempDir,
}

impl Prometheus {
    /// The variable that tells a command under test where it is.
    pub const VARIABLE: &'static str = "SIGHTLINE_TEST_PROMETHEUS";

    /// Starts it. `targets` are scraped, each a job's name and an address; `rules` is a path of rule files, with `*`.
    ///
    /// # Errors
    /// Prometheus can't be fetched, or doesn't start with these rules.
    pub fn start(targets: &[(String, String)], rules: Option<&Path>) -> Result<Self> {
        let folder = Self::fetch()?;
        let data = tempfile::Builder::new()
            .prefix("sightline-prometheus.")
            .tempdir()?;
        let file = data.path().join("prometheus.yml");
        std::fs::write(&file, configuration(targets, rules)?)?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let mut server = Server::start(
            "prometheus",
            Command::new(folder.join("prometheus"))
                .arg(format!("--config.file={}", file.display()))
                .arg(format!(
                    "--storage.tsdb.path={}",
                    data.path().join("tsdb").display()
                ))
                .arg(format!("--web.listen-address={address}"))
                .arg("--log.level=warn"),
            Some(&data.path().join("log")),
        )?;
        server.await_ready(STARTS_WITHIN, || {
            http_status(&address, "/-/ready").is_ok_and(|status| status == 200)
        })?;
        Ok(Self {
            _server: server,
            url: format!("http://{address}"),
            _data: data,
        })
    }

    /// Its address.
    pub fn variables(&self) -> Variables {
        vec![(Self::VARIABLE, self.url.clone())]
    }

    /// Fetches `prometheus` and `promtool` where they are not there yet. Returns their folder.
    ///
    /// # Errors
    /// This is no Debian, or its package can't be fetched.
    pub fn fetch() -> Result<PathBuf> {
        let folder = cache::folder("prometheus")?;
        if folder.join("prometheus").is_file() {
            return Ok(folder);
        }
        ensure!(
            cache::has("apt-get") && cache::has("dpkg-deb"),
            "needs Debian's apt-get and dpkg-deb"
        );
        eprintln!("prometheus: fetching Debian's package");
        std::fs::create_dir_all(&folder)?;
        // In the folder itself: a rename does not cross file systems.
        let part = tempfile::tempdir_in(&folder)?;
        if rustix::process::geteuid().is_root() {
            cache::run(Command::new("apt-get").args(["update", "-qq"]))?;
        }
        cache::run(
            Command::new("apt-get")
                .args(["download", "-qq", "prometheus"])
                .current_dir(&part),
        )
        .context("'apt-get update' may help")?;
        let mut files = std::fs::read_dir(&part)?;
        let package = files.next().context("apt-get left no package")??.path();
        cache::run(
            Command::new("dpkg-deb")
                .arg("-x")
                .arg(package)
                .arg(part.path()),
        )?;
        for program in ["promtool", "prometheus"] {
            let unpacked = part.path().join("usr/bin").join(program);
            std::fs::rename(unpacked, folder.join(program))?;
        }
        Ok(folder)
    }
}

fn configuration(targets: &[(String, String)], rules: Option<&Path>) -> Result<String> {
    let mut text = "global: {scrape_interval: 1s, evaluation_interval: 1s}\n".to_owned();
    if let Some(rules) = rules {
        writeln!(
            text,
            "rule_files: [\"{}\"]",
            std::path::absolute(rules)?.display()
        )?;
    }
    text.push_str("scrape_configs:\n");
    for (job, address) in targets {
        // With a namespace, as Kubernetes' discovery adds one.
        writeln!(
            text,
            "  - {{job_name: {job}, static_configs: [{{targets: [\"{address}\"], labels: {{namespace: test}}}}]}}"
        )?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_is_a_job_and_rules_have_a_whole_path() {
        let targets = [("infer".to_owned(), "127.0.0.1:1".to_owned())];
        let text = configuration(&targets, Some(Path::new("/rules/*.yml"))).unwrap();
        assert!(text.contains("rule_files: [\"/rules/*.yml\"]\n"));
        assert!(text.contains("- {job_name: infer, static_configs: [{targets: [\"127.0.0.1:1\"]"));
    }
}
