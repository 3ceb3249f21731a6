//! The progress bar and the printed answers.

use crate::{answers::Answer, terminal};
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sightline_contracts::{ModelInfo, ResultEvent};
use std::{
    io::{self, Write, stdout},
    time::Instant,
};

/// The answers so far. JSON lines are printed as they arrive, the table at the end.
pub(crate) struct Report {
    json: bool,
    rows: Vec<(String, Row)>,
    failed: usize,
    model: Option<ModelInfo>,
    bar: ProgressBar,
    start: Instant,
}

enum Row {
    Label {
        label: String,
        probability: f32,
        ms: i64,
    },
    Failure(String),
}

impl Report {
    pub(crate) fn new(images: usize, json: bool) -> Self {
        // The bar hides itself if stderr is no terminal.
        let bar = ProgressBar::with_draw_target(Some(images as u64), ProgressDrawTarget::stderr());
        if let Ok(style) =
            ProgressStyle::with_template("{bar:40} {pos}/{len} images  {per_sec}  {eta} left")
        {
            bar.set_style(style);
        }
        Self {
            json,
            rows: Vec::new(),
            failed: 0,
            model: None,
            bar,
            start: Instant::now(),
        }
    }

    pub(crate) fn failed(&self) -> usize {
        self.failed
    }

    pub(crate) fn add(&mut self, name: String, answer: Answer) -> io::Result<()> {
        match answer {
            Answer::Classified { event, json } if self.json => self
                .bar
                .suspend(|| {
                    let mut out = stdout().lock();
                    out.write_all(&json)?;
                    out.write_all(b"\n")
                })
                .map(|()| self.model = Some(event.model))?,
            Answer::Classified { event, .. } => {
                let row = row(&event);
                self.model = Some(event.model);
                self.rows.push((name, row));
            }
            Answer::Failed(error) => {
                self.failed += 1;
                if self.json {
                    self.bar
                        .suspend(|| eprintln!("{}: {error}", terminal::line(&name)));
                } else {
                    self.rows.push((name, Row::Failure(error)));
                }
            }
        }
        self.bar.inc(1);
        Ok(())
    }

    /// Prints the table, if there is one.
    pub(crate) fn finish(&mut self) {
        self.bar.finish_and_clear();
        if self.json || self.rows.is_empty() {
            return;
        }
        self.rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        let seconds = self.start.elapsed().as_secs_f64();
        let text = format!(
            "{}\n\n{}\n",
            table(&self.rows).trim_fmt(),
            self.summary(seconds)
        );
        // The reader may have closed the pipe, as `head` does.
        let _ = stdout().write_all(text.as_bytes());
    }

    fn summary(&self, seconds: f64) -> String {
        let images = self.rows.len();
        let counted = match self.failed {
            0 => format!("{images} images"),
            failed => format!("{images} images, {failed} of them not classified,"),
        };
        let model = self.model.as_ref().map_or(String::new(), |model| {
            let sha256 = &model.weights_sha256[..model.weights_sha256.len().min(12)];
            format!(
                " by {} ({}, weights sha256 {sha256}…)",
                model.name, model.architecture
            )
        });
        format!("{counted}{model} in {seconds:.1} s")
    }
}

fn row(event: &ResultEvent) -> Row {
    let times = &event.image.times;
    let top = &event.labels[0];
    Row::Label {
        label: top.label.clone(),
        probability: top.probability,
        ms: times.postprocessed_ms.unwrap_or(times.notified_ms) - times.notified_ms,
    }
}

fn table(rows: &[(String, Row)]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_header(["file", "label", "probability", "ms"]);
    for (name, row) in rows {
        let name = terminal::line(name);
        match row {
            Row::Label {
                label,
                probability,
                ms,
            } => table.add_row([
                name,
                label.clone(),
                format!("{probability:.3}"),
                ms.to_string(),
            ]),
            Row::Failure(error) => {
                table.add_row([name, format!("✗ {error}"), String::new(), String::new()])
            }
        };
    }
    for column in [2, 3] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
