//! Simulates the autoscalers of infer over a day of load, with the settings in `k8s/`, the algorithm of Kubernetes'
//! HorizontalPodAutoscaler and measured service rates. README.md says what is modelled and what is not.

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

/// Simulate infer's autoscalers, with the settings of the manifests, over a day of load
#[derive(Debug, Parser)]
#[command(name = "simulate-autoscaling", version)]
pub struct Command {
    /// The folder of the manifests, k8s
    #[arg(long, value_name = "DIR", default_value_os_t = home().join("../../k8s"), hide_default_value = true)]
    manifests: PathBuf,
    /// File of measured service rates
    #[arg(long, value_name = "FILE", default_value_os_t = home().join("rates.json"), hide_default_value = true)]
    rates: PathBuf,
    /// Models to simulate, by their names in the file of rates [default: all]
    #[arg(long, value_name = "NAME", num_args = 1..)]
    model: Vec<String>,
    /// Print one JSON object a day instead of the table
    #[arg(long)]
    json: bool,
    /// Draw the day of each load with the first model, as SVG files in this folder
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// Also compare the settings with alternatives
    #[arg(long)]
    alternatives: bool,
    /// Only write README's tables and plots again
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
                write(&folder.join(name), &report::plot(comparison)?)?;
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
