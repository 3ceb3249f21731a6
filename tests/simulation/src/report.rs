//! Reports outcomes: a table for the terminal, tables and plots for README.

use crate::{
    alternatives::{Alternative, alternatives},
    day::{Outcome, simulate},
    load::{Arrivals, DAY, Load},
    manifests::Manifests,
    plot,
    rates::Rates,
};
use anyhow::Context;
use serde::Serialize;
use std::{fmt::Write, thread};

/// The outcomes of both autoscalers under one load, with one model.
#[derive(Debug, Serialize)]
pub struct Comparison {
    pub model: String,
    pub images_per_s: f64,
    pub load: Load,
    pub cpu: Outcome,
    pub keda: Outcome,
}

/// Simulates each load with each model.
pub fn compare(
    manifests: &Manifests,
    rates: &Rates,
    models: &[&str],
    loads: &[Load],
) -> anyhow::Result<Vec<Comparison>> {
    let one = |model: &str, load: Load| {
        let world = rates.world(model, manifests)?;
        let arrivals = Arrivals::draw(load, world.rate, world.partitions, DAY);
        Ok(Comparison {
            model: model.to_owned(),
            images_per_s: world.rate,
            load,
            cpu: simulate(&manifests.base, world, &arrivals),
            keda: simulate(&manifests.keda, world, &arrivals),
        })
    };
    let pairs = models
        .iter()
        .flat_map(|model| loads.iter().map(move |load| (*model, *load)));
    thread::scope(|scope| {
        let running: Vec<_> = pairs
            .map(|(model, load)| scope.spawn(move || one(model, load)))
            .collect();
        let results = running
            .into_iter()
            .map(|thread| thread.join().ok().context("a simulation panicked")?);
        results.collect()
    })
}

const HEAD: [&str; 11] = [
    "model",
    "load",
    "scaled by",
    "most waiting",
    "p99 wait",
    "longest wait",
    "later than 60 s",
    "replica hours",
    "of the oracle's",
    "changes",
    "turns",
];

fn rows(comparisons: &[Comparison]) -> Vec<[String; 11]> {
    let row = |comparison: &Comparison, name: &str, outcome: &Outcome| {
        [
            comparison.model.clone(),
            comparison.load.name().to_owned(),
            name.to_owned(),
            format!("{:.0}", outcome.max_lag),
            format!("{} s", outcome.wait_p99),
            format!("{} s", outcome.wait_max),
            percent(outcome.late),
            format!("{:.1}", outcome.replica_hours),
            format!("{:.2}", outcome.cost),
            outcome.changes.to_string(),
            outcome.turns.to_string(),
        ]
    };
    let both = |comparison| {
        [
            row(comparison, "CPU", &comparison.cpu),
            row(comparison, "KEDA", &comparison.keda),
        ]
    };
    comparisons.iter().flat_map(both).collect()
}

fn percent(share: f64) -> String {
    if share > 0.0 {
        format!("{:.2} %", share * 100.0)
    } else {
        "none".to_owned()
    }
}

/// A table for a terminal.
pub fn table(comparisons: &[Comparison]) -> String {
    let mut rows = rows(comparisons);
    rows.insert(0, HEAD.map(str::to_owned));
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if column < 3 {
                write!(text, " {cell:<width$} ")
            } else {
                write!(text, " {cell:>width$} ")
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn markdown(comparisons: &[Comparison]) -> String {
    let mut text = format!(
        "| {} |\n|---|---|---|{}\n",
        HEAD.join(" | "),
        "---:|".repeat(HEAD.len() - 3)
    );
    for row in rows(comparisons) {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

/// A table of alternatives, in Markdown.
pub fn alternatives_table(alternatives: &[Alternative]) -> String {
    let mut text = "| scaled by | changed | burst: longest wait | later than 60 s | wave: longest wait | later than 60 s | of the oracle's | \
                    turns | steady: of the oracle's | turns | gusts: longest wait | of the oracle's | changes |\n|---|---|"
        .to_owned();
    text.push_str(&"---:|".repeat(11));
    text.push('\n');
    for alternative in alternatives {
        let of = |wanted| {
            alternative
                .outcomes
                .iter()
                .find(|(load, _)| *load == wanted)
                .map(|(_, outcome)| outcome)
        };
        let all = (
            of(Load::Burst),
            of(Load::Wave),
            of(Load::Steady),
            of(Load::Gusts),
        );
        let (Some(burst), Some(wave), Some(steady), Some(gusts)) = all else {
            continue;
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} s | {} | {} s | {} | {:.2} | {} | {:.2} | {} | {} s | {:.2} | {} |",
            alternative.autoscaler,
            alternative.change,
            burst.wait_max,
            percent(burst.late),
            wave.wait_max,
            percent(wave.late),
            wave.cost,
            wave.turns,
            steady.cost,
            steady.turns,
            gusts.wait_max,
            gusts.cost,
            gusts.changes,
        );
    }
    text
}

/// README with new tables, and the plots by their file names.
#[derive(Debug, PartialEq)]
pub struct Page {
    pub readme: String,
    pub plots: Vec<(String, String)>,
}

/// Writes README's tables and plots. The plots and the alternatives are those of the first model.
pub fn page(readme: &str, manifests: &Manifests, rates: &Rates) -> anyhow::Result<Page> {
    let models: Vec<_> = rates.models.iter().map(|model| &*model.name).collect();
    let comparisons = compare(manifests, rates, &models, &Load::ALL)?;
    let world = rates.world(models[0], manifests)?;
    let readme = between(readme, "results", &markdown(&comparisons))?;
    let readme = between(
        &readme,
        "alternatives",
        &alternatives_table(&alternatives(manifests, world)),
    )?;
    let drawn = comparisons
        .iter()
        .filter(|comparison| comparison.model == models[0]);
    let plots = drawn.map(|comparison| {
        let name = format!("{}.svg", comparison.load.name());
        Ok((name, plot(comparison)?))
    });
    Ok(Page {
        readme,
        plots: plots.collect::<anyhow::Result<_>>()?,
    })
}

/// The comparison as an SVG.
///
/// # Errors
/// Those of [`plot::draw`].
pub fn plot(comparison: &Comparison) -> anyhow::Result<String> {
    plot::draw(
        comparison.load,
        &comparison.model,
        &comparison.cpu,
        &comparison.keda,
    )
}

/// Replaces the text between `<!-- NAME` … `-->` and `<!-- end -->`.
fn between(page: &str, name: &str, text: &str) -> anyhow::Result<String> {
    let missing = || format!("README has no place for {name}");
    let (before, rest) = page
        .split_once(&format!("<!-- {name}:"))
        .with_context(missing)?;
    let (mark, rest) = rest.split_once("-->\n").with_context(missing)?;
    let (_, after) = rest.split_once("<!-- end -->").with_context(missing)?;
    Ok(format!(
        "{before}<!-- {name}:{mark}-->\n{text}<!-- end -->{after}"
    ))
}
