//! `sightline dead-letters` lists, shows and replays records that could not be processed.

mod printed;

use crate::{output::line, terminal};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use printed::{object, plain, shown, table, value_dropped};
use sightline_contracts::{Reason, TensorMessage, Topic, headers};
use sightline_stream::{
    KafkaSettings, Message, Place, Publisher,
    admin::{DeadLetter, dead_letters},
};
use std::io::{IsTerminal, Write, stdout};

#[derive(Subcommand)]
pub(crate) enum DeadLetters {
    /// List the dead letters, one a line
    List(List),
    /// Show one dead letter: its headers and the original value
    Show(Show),
    /// Publish dead letters to the topics that they came from, in one transaction
    Replay(Replay),
}

/// Which dead letters to read.
#[derive(Args)]
struct Selection {
    /// Only dead letters of this service
    #[arg(long, value_name = "SERVICE")]
    stage: Option<String>,
    /// Only dead letters with this reason
    #[arg(long)]
    reason: Option<Reason>,
    /// Prefix of every topic's name
    #[arg(long, env = "SIGHTLINE_TOPIC_PREFIX", default_value = "")]
    topic_prefix: String,
    #[command(flatten)]
    kafka: KafkaSettings,
}

#[derive(Args)]
pub(crate) struct List {
    /// Print one JSON object a line instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    selection: Selection,
}

#[derive(Args)]
pub(crate) struct Show {
    /// Partition and offset, as `list` shows them
    #[arg(value_name = "PARTITION/OFFSET", value_parser = place)]
    place: Place,
    /// Print only the original value, byte for byte; refused if the output is a terminal and the value has control
    /// characters
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    selection: Selection,
}

#[derive(Args)]
pub(crate) struct Replay {
    /// Partitions and offsets, as `list` shows them
    #[arg(value_name = "PARTITION/OFFSET", value_parser = place, required_unless_present = "all")]
    places: Vec<Place>,
    /// Replay every dead letter that --stage and --reason select; those without their original value are reported and
    /// left out
    #[arg(long, conflicts_with = "places")]
    all: bool,
    #[command(flatten)]
    selection: Selection,
}

/// Parses `PARTITION/OFFSET`.
fn place(text: &str) -> Result<Place, String> {
    let read = || {
        let (partition, offset) = text.split_once('/')?;
        Some(Place {
            partition: partition.parse().ok()?,
            offset: offset.parse().ok()?,
        })
    };
    read().ok_or_else(|| format!("{text:?} is not PARTITION/OFFSET, such as 0/17"))
}

impl Selection {
    async fn find(&self, places: &[Place]) -> anyhow::Result<Vec<DeadLetter>> {
        let (kafka, prefix) = (self.kafka.clone(), self.topic_prefix.clone());
        let (stage, reason, places) = (self.stage.clone(), self.reason, places.to_vec());
        let read = move || -> anyhow::Result<Vec<DeadLetter>> {
            let wanted = |letter: &DeadLetter| {
                (stage.is_none() || letter.stage == stage)
                    && (reason.is_none() || letter.reason == reason)
                    && (places.is_empty() || places.contains(&place_of(letter)))
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

/// Where a dead letter is in its topic.
fn place_of(letter: &DeadLetter) -> Place {
    Place {
        partition: letter.record.partition,
        offset: letter.record.offset,
    }
}

impl DeadLetters {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
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
                line(terminal::json(&object(letter)));
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
        if !self.raw {
            line(shown(letter));
            return Ok(());
        }
        if let Some(bytes) = letter.value_dropped {
            bail!(value_dropped(letter, bytes));
        }
        let value = letter.record.value.clone().unwrap_or_default();
        let mut out = stdout().lock();
        if out.is_terminal() && !plain(&value) {
            bail!("the value would act upon the terminal; send it to a file or another program");
        }
        out.write_all(&value)?;
        Ok(())
    }
}

impl Replay {
    async fn run(self) -> anyhow::Result<()> {
        let letters = self.selection.find(&self.places).await?;
        for wanted in &self.places {
            if !letters.iter().any(|letter| place_of(letter) == *wanted) {
                let Place { partition, offset } = wanted;
                bail!("no dead letter at {partition}/{offset}; nothing was replayed");
            }
        }
        let prefix = &self.selection.topic_prefix;
        let (letters, without): (Vec<_>, Vec<_>) = letters
            .into_iter()
            .partition(|letter| !self.all || letter.value_dropped.is_none());
        for letter in &without {
            let bytes = letter.value_dropped.unwrap_or_default();
            eprintln!("not replayed: {}", value_dropped(letter, bytes));
        }
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

/// The message that replays a dead letter: the original record with its headers, and a header with the dead letter's place.
/// A tensor that was preprocessed for another model is replaced by its image reference, in `images`.
fn again(letter: &DeadLetter, prefix: &str) -> anyhow::Result<Message> {
    if let Some(bytes) = letter.value_dropped {
        bail!("{}; nothing was replayed", value_dropped(letter, bytes));
    }
    let Place { partition, offset } = place_of(letter);
    let at = format!("{partition}/{offset}");
    let original = |name: &str| !headers::describes_dead_letter(name);
    let kept = letter
        .record
        .headers
        .iter()
        .filter(|(name, _)| original(name));
    let mut all: sightline_stream::Headers = kept
        .map(|(name, value)| (name.to_owned(), value.cloned()))
        .collect();
    all.push(headers::REPLAYED_FROM, Some(at.clone().into()));
    let (topic, key, value) = if letter.reason == Some(Reason::WrongPreprocessing) {
        let value = letter.record.value.clone().unwrap_or_default();
        let image = TensorMessage::decode(&value)
            .with_context(|| format!("dead letter {at} holds no tensor"))?
            .image;
        let (key, value) = (image.record_key(), image.to_json());
        let topic = Topic::Images.name().to_owned();
        (topic, Some(key.into()), Some(value.into()))
    } else {
        let source = letter.source_topic.clone();
        let source =
            source.with_context(|| format!("dead letter {at} does not say where it came from"))?;
        (
            source,
            letter.record.key.clone(),
            letter.record.value.clone(),
        )
    };
    Ok(Message {
        topic: format!("{prefix}{topic}"),
        key,
        value,
        headers: all,
        ..Message::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use sightline_contracts::{ImageId, ImageRef, Times};
    use sightline_manifest::{Pixels, Preprocessing};
    use sightline_stream::Record;

    fn letter(value: Option<&'static str>, more: &[(&str, &'static str)]) -> DeadLetter {
        let mut record = Record::new(Topic::DeadLetters, None, value.map(Bytes::from));
        let source = [
            (headers::SOURCE_TOPIC, "ingest"),
            (headers::SOURCE_PARTITION, "0"),
            (headers::SOURCE_OFFSET, "5"),
        ];
        for (name, value) in source.iter().chain(more) {
            record.headers.push(*name, Some((*value).into()));
        }
        DeadLetter::from(record)
    }

    #[test]
    fn a_dead_letter_with_its_value_is_replayed() {
        let message = again(&letter(Some("v"), &[]), "p-").unwrap();
        assert_eq!(
            (message.topic.as_str(), message.value),
            ("p-ingest", Some("v".into()))
        );
    }

    #[test]
    fn a_tensor_for_another_model_is_replayed_as_its_image() {
        let image = ImageRef {
            id: ImageId::new("photos", "a.jpg", "1"),
            bucket: "photos".into(),
            key: "a.jpg".into(),
            version: None,
            etag: Some("1".into()),
            size: None,
            event_time: None,
            times: Times::default(),
        };
        let tensor = TensorMessage {
            image: image.clone(),
            shape: [3, 1, 1],
            pixels: Pixels::U8(vec![0; 3].into()),
            thumbnail: Bytes::new(),
            preprocessing: Preprocessing::default(),
        };
        let mut letter = letter(None, &[(headers::REASON, "wrong-preprocessing")]);
        letter.record.value = Some(tensor.encode().into());
        let message = again(&letter, "p-").unwrap();
        assert_eq!(message.topic, "p-images");
        assert_eq!(message.key.unwrap(), "photos/a.jpg");
        assert_eq!(ImageRef::from_json(&message.value.unwrap()).unwrap(), image);
    }

    #[test]
    fn a_dead_letter_without_its_value_is_refused_with_the_place_of_the_original() {
        let letter = letter(None, &[(headers::VALUE_DROPPED, "12582912")]);
        let refused = again(&letter, "").unwrap_err().to_string();
        assert!(
            refused.contains("12582912 bytes") && refused.contains("ingest/0/5"),
            "{refused}"
        );
    }

    #[test]
    fn places_read_back() {
        assert_eq!(
            place("2/17"),
            Ok(Place {
                partition: 2,
                offset: 17
            })
        );
        for wrong in ["2", "2/", "a/1", "1/2/3", ""] {
            assert!(
                place(wrong).unwrap_err().contains("PARTITION/OFFSET"),
                "{wrong}"
            );
        }
    }
}
