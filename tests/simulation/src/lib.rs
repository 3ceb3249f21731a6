//! Drives the autoscalers of infer, as k8s/ has them, by the HorizontalPodAutoscaler's own rule through a day's load, with
//! the service rates that were measured. What it models and what it leaves out: README.md.

pub mod alternatives;
pub mod autoscaler;
pub mod cluster;
pub mod day;
pub mod load;
pub mod manifests;
pub mod plot;
pub mod rates;
pub mod report;
pub mod signals;
pub mod world;

use anyhow::Context;
use clap::Parser;
use load::Load;
use manifests::Manifests;
use rates::Rates;
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Simulate infer's autoscalers, as the manifests have them, through a day's load
#[derive(Debug, Parser)]
#[command(name = "simulate-autoscaling", version)]
pub struct Command {
    /// The folder k8s with the manifests
    #[arg(long, value_name = "DIR", default_value_os_t = home().join("../../k8s"), hide_default_value = true)]
    manifests: PathBuf,
    /// Service rates as measured
    #[arg(long, value_name = "FILE", default_value_os_t = home().join("rates.json"), hide_default_value = true)]
    rates: PathBuf,
    /// Whose rates, several allowed [default: all of the file's]
    #[arg(long, value_name = "NAME", num_args = 1..)]
    model: Vec<String>,
    /// One JSON object a day instead of the table
    #[arg(long)]
    json: bool,
    /// Draw each load's day into this folder, of the first model
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// Compare the settings with others as well
    #[arg(long)]
    alternatives: bool,
    /// Write README's tables and plots anew, and nothing else
    #[arg(long, conflicts_with_all = ["model", "json", "svg", "alternatives"])]
    write: bool,
}

/// The folder of this package.
pub fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Command {
    pub fn run(self) -> anyhow::Result<()> {
        let manifests = Manifests::read(&self.manifests)?;
        let rates = Rates::read(&self.rates)?;
        if self.write {
            let readme = home().join("README.md");
            let text = fs::read_to_string(&readme).context("cannot read README.md")?;
            let page = report::page(&text, &manifests, &rates)?;
            write(&readme, &page.readme)?;
            let plots = home().join("plots");
            return page
                .plots
                .iter()
                .try_for_each(|(name, svg)| write(&plots.join(name), svg));
        }
        let named: Vec<&str> = match &self.model[..] {
            [] => rates.models.iter().map(|model| &*model.name).collect(),
            some => some.iter().map(|name| &**name).collect(),
        };
        let comparisons = report::compare(&manifests, &rates, &named, &Load::ALL)?;
        let mut out = io::stdout().lock();
        if self.json {
            for comparison in &comparisons {
                writeln!(out, "{}", serde_json::to_string(comparison)?)?;
            }
        } else {
            write!(out, "{}", report::table(&comparisons))?;
        }
        if let Some(folder) = &self.svg {
            for comparison in comparisons
                .iter()
                .filter(|comparison| comparison.model == named[0])
            {
                let name = format!("{}.svg", comparison.load.name());
                write(&folder.join(name), &report::plot(comparison))?;
            }
        }
        if self.alternatives {
            for model in &named {
                let found = alternatives::alternatives(&manifests, rates.world(model, &manifests)?);
                if self.json {
                    for alternative in found {
                        writeln!(out, "{}", serde_json::to_string(&alternative)?)?;
                    }
                } else {
                    write!(out, "\n{model}\n{}", report::alternatives_table(&found))?;
                }
            }
        }
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
