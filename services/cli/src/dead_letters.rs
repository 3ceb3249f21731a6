//! `sightline dead-letters`: what could not be processed, and putting it back.

use crate::output::line;
use anyhow::{Context, bail};
use bytes::Bytes;
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use serde_json::json;
use sightline_contracts::{Reason, headers};
use sightline_stream::{
    KafkaSettings, Message, Publisher,
    admin::{DeadLetter, dead_letters},
};
use std::{
    io::{Write, stdout},
    str::FromStr,
};

#[derive(Subcommand)]
pub enum DeadLetters {
    /// One line for each dead letter
    List(List),
    /// All about one: headers and the original value
    Show(Show),
    /// Publish dead letters to the topics they came from, all in one transaction
    Replay(Replay),
}

/// Which dead letters.
#[derive(Args)]
struct Selection {
    /// Only those that this service gave up on
    #[arg(long, value_name = "SERVICE")]
    stage: Option<String>,
    /// Only those with this reason
    #[arg(long)]
    reason: Option<Reason>,
    /// Text before the name of every topic
    #[arg(long, env = "SIGHTLINE_TOPIC_PREFIX", default_value = "")]
    topic_prefix: String,
    #[command(flatten)]
    kafka: KafkaSettings,
}

#[derive(Args)]
pub struct List {
    /// One JSON object a line instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    selection: Selection,
}

#[derive(Args)]
pub struct Show {
    /// Partition and offset, as `list` shows them
    #[arg(value_name = "PARTITION/OFFSET")]
    place: Place,
    /// Only the original value, as it is
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    selection: Selection,
}

#[derive(Args)]
pub struct Replay {
    /// Partitions and offsets, as `list` shows them
    #[arg(value_name = "PARTITION/OFFSET", required_unless_present = "all")]
    places: Vec<Place>,
    /// Every dead letter that --stage and --reason leave
    #[arg(long, conflicts_with = "places")]
    all: bool,
    #[command(flatten)]
    selection: Selection,
}

/// Where a dead letter stands in its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    partition: i32,
    offset: i64,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (partition, offset) = text.split_once('/')?;
            Some(Self {
                partition: partition.parse().ok()?,
                offset: offset.parse().ok()?,
            })
        };
        read().ok_or_else(|| format!("{text:?} is not PARTITION/OFFSET, such as 0/17"))
    }
}

impl Selection {
    async fn find(&self, places: &[Place]) -> anyhow::Result<Vec<DeadLetter>> {
        let (kafka, prefix) = (self.kafka.clone(), self.topic_prefix.clone());
        let (stage, reason, places) = (self.stage.clone(), self.reason, places.to_vec());
        let read = move || -> anyhow::Result<Vec<DeadLetter>> {
            let wanted = |letter: &DeadLetter| {
                (stage.is_none() || letter.stage == stage)
                    && (reason.is_none() || letter.reason == reason)
                    && (places.is_empty() || places.contains(&place(letter)))
            };
            let mut found = Vec::new();
            for letter in dead_letters(&kafka, &prefix)? {
                let letter = letter?;
                if wanted(&letter) {
                    found.push(letter);
                }
            }
            found.sort_by_key(|letter| {
                (
                    letter.record.timestamp_ms,
                    letter.record.partition,
                    letter.record.offset,
                )
            });
            Ok(found)
        };
        tokio::task::spawn_blocking(read)
            .await?
            .context("can't read the dead letters")
    }
}

fn place(letter: &DeadLetter) -> Place {
    Place {
        partition: letter.record.partition,
        offset: letter.record.offset,
    }
}

impl DeadLetters {
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Replay(replay) => replay.run().await,
        }
    }
}

impl List {
    async fn run(self) -> anyhow::Result<()> {
        let letters = self.selection.find(&[]).await?;
        if self.json {
            for letter in &letters {
                line(object(letter));
            }
        } else if letters.is_empty() {
            eprintln!("no dead letters");
        } else {
            line(table(&letters).trim_fmt());
        }
        Ok(())
    }
}

impl Show {
    async fn run(self) -> anyhow::Result<()> {
        let Place { partition, offset } = self.place;
        let letters = self.selection.find(&[self.place]).await?;
        let Some(letter) = letters.first() else {
            bail!("no dead letter at {partition}/{offset}");
        };
        let value = letter.record.value.clone().unwrap_or_default();
        let mut out = stdout().lock();
        if self.raw {
            out.write_all(&value)?;
            return Ok(());
        }
        writeln!(out, "key: {}", text(letter.record.key.as_ref()))?;
        for (name, value) in letter.record.headers.iter() {
            writeln!(out, "{name}: {}", text(value))?;
        }
        match std::str::from_utf8(&value) {
            Ok(value) => writeln!(out, "\n{value}")?,
            Err(_) => writeln!(
                out,
                "\n{} bytes that are no text; --raw writes them",
                value.len()
            )?,
        }
        Ok(())
    }
}

impl Replay {
    async fn run(self) -> anyhow::Result<()> {
        let letters = self.selection.find(&self.places).await?;
        for Place { partition, offset } in &self.places {
            let wanted = Place {
                partition: *partition,
                offset: *offset,
            };
            if !letters.iter().any(|letter| place(letter) == wanted) {
                bail!("no dead letter at {partition}/{offset}; nothing was replayed");
            }
        }
        let prefix = &self.selection.topic_prefix;
        let messages: Vec<_> = letters
            .iter()
            .map(|letter| again(letter, prefix))
            .collect::<anyhow::Result<_>>()?;
        if !messages.is_empty() {
            let id = format!("{prefix}dead-letters-replay");
            Publisher::transactional(&self.selection.kafka, &id)
                .await?
                .send_all(&messages)
                .await?;
        }
        line(format_args!("{} replayed", messages.len()));
        Ok(())
    }
}

/// The original record, with its own headers and where it was found.
fn again(letter: &DeadLetter, prefix: &str) -> anyhow::Result<Message> {
    let Place { partition, offset } = place(letter);
    let source = letter.source_topic.as_ref().with_context(|| {
        format!("dead letter {partition}/{offset} does not say where it came from")
    })?;
    let ours = |name: &str| name.starts_with("sightline-");
    let kept = letter.record.headers.iter().filter(|(name, _)| !ours(name));
    let mut all: sightline_stream::Headers = kept
        .map(|(name, value)| (name.to_owned(), value.cloned()))
        .collect();
    all.push(
        headers::REPLAYED_FROM,
        Some(format!("{partition}/{offset}").into()),
    );
    Ok(Message {
        topic: format!("{prefix}{source}"),
        key: letter.record.key.clone(),
        value: letter.record.value.clone(),
        headers: all,
        ..Message::default()
    })
}

/// As it can be shown on a terminal: control characters escaped.
fn text(bytes: Option<&Bytes>) -> String {
    bytes.map_or("-".to_owned(), |bytes| {
        String::from_utf8_lossy(bytes).escape_debug().to_string()
    })
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

fn source(letter: &DeadLetter) -> String {
    let (topic, partition) = (
        or_dash(letter.source_topic.as_ref()),
        or_dash(letter.source_partition),
    );
    format!("{topic}/{partition}/{}", or_dash(letter.source_offset))
}

fn table(letters: &[DeadLetter]) -> Table {
    let mut table = Table::new();
    let columns = [
        "place", "stage", "reason", "attempts", "source", "key", "error",
    ];
    table.load_preset(presets::NOTHING).set_header(columns);
    for letter in letters {
        let Place { partition, offset } = place(letter);
        table.add_row([
            format!("{partition}/{offset}"),
            or_dash(letter.stage.as_ref()),
            or_dash(letter.reason),
            or_dash(letter.attempts),
            source(letter),
            text(letter.record.key.as_ref()),
            or_dash(letter.error.as_ref()).escape_debug().to_string(),
        ]);
    }
    table
}

fn object(letter: &DeadLetter) -> serde_json::Value {
    json!({
        "partition": letter.record.partition,
        "offset": letter.record.offset,
        "timestamp_ms": letter.record.timestamp_ms,
        "stage": letter.stage,
        "reason": letter.reason.map(Reason::as_str),
        "attempts": letter.attempts,
        "source_topic": letter.source_topic,
        "source_partition": letter.source_partition,
        "source_offset": letter.source_offset,
        "key": letter.record.key.as_ref().map(|key| String::from_utf8_lossy(key)),
        "error": letter.error,
        "bytes": letter.record.value.as_ref().map_or(0, Bytes::len),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_back() {
        assert_eq!(
            "2/17".parse(),
            Ok(Place {
                partition: 2,
                offset: 17
            })
        );
        for wrong in ["2", "2/", "a/1", "1/2/3", ""] {
            assert!(
                wrong
                    .parse::<Place>()
                    .unwrap_err()
                    .contains("PARTITION/OFFSET"),
                "{wrong}"
            );
        }
    }
}
