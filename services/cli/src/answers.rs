//! Reads the pipeline's outcomes: results and dead letters, each with its record key.

use crate::terminal;
use anyhow::Context;
use bytes::Bytes;
use sightline_contracts::{ResultEvent, Topic};
use sightline_stream::{KafkaSettings, Reader, Record, Start, admin::DeadLetter};
use std::time::Duration;
use tokio::{sync::mpsc, task::JoinSet};

/// The outcome for one image.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It has a result. `json` is the message as it was read.
    Classified {
        event: Box<ResultEvent>,
        json: Bytes,
    },
    /// It is a dead letter: the reason and the error.
    Failed(String),
}

/// Parses a record of one of the two topics.
type Parse = fn(&Record) -> anyhow::Result<Answer>;

/// A stream of answers, in the order in which they are committed.
pub(crate) struct Answers {
    incoming: mpsc::Receiver<anyhow::Result<(String, Answer)>>,
    _readers: JoinSet<()>,
}

impl Answers {
    /// Starts to read both topics of the pipeline with this prefix.
    pub(crate) fn read(kafka: &KafkaSettings, prefix: &str, start: &Start) -> anyhow::Result<Self> {
        let (sender, incoming) = mpsc::channel(64);
        let mut readers = JoinSet::new();
        let topics: [(Topic, Parse); 2] =
            [(Topic::Results, classified), (Topic::DeadLetters, dead)];
        for (topic, answer) in topics {
            let name = format!("{prefix}{}", topic.name());
            let mut reader = Reader::open(kafka, &name, start.clone())?;
            let sender = sender.clone();
            readers.spawn_blocking(move || forward(&mut reader, answer, &sender));
        }
        Ok(Self {
            incoming,
            _readers: readers,
        })
    }

    /// The next answer and its record key. Waits for it without a limit.
    pub(crate) async fn next(&mut self) -> anyhow::Result<(String, Answer)> {
        self.incoming
            .recv()
            .await
            .context("the readers of results have ended")?
    }
}

/// Sends answers until the receiver is dropped or the reader fails.
fn forward(
    reader: &mut Reader,
    answer: Parse,
    sender: &mpsc::Sender<anyhow::Result<(String, Answer)>>,
) {
    while !sender.is_closed() {
        let next = match reader.next(Duration::from_millis(100)) {
            Ok(None) => continue,
            Ok(Some(record)) => answer(&record).map(|answer| (key(&record), answer)),
            Err(error) => Err(error.into()),
        };
        let over = next.is_err();
        if sender.blocking_send(next).is_err() || over {
            return;
        }
    }
}

fn key(record: &Record) -> String {
    String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned()
}

fn classified(record: &Record) -> anyhow::Result<Answer> {
    let json = record.value.clone().unwrap_or_default();
    let event = Box::new(ResultEvent::from_json(&json).context("a result can't be read")?);
    Ok(Answer::Classified { event, json })
}

fn dead(record: &Record) -> anyhow::Result<Answer> {
    let letter = DeadLetter::from(record.clone());
    let reason = letter.reason.map_or("rejected", |reason| reason.as_str());
    let error = letter.error.unwrap_or_default();
    Ok(Answer::Failed(format!(
        "{reason}: {}",
        terminal::line(&error)
    )))
}
