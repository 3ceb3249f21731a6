//! A stage of the exactly-once loop on an embedded broker. It reads words from the topic `ingest`, writes them in capital
//! letters to `images`, and rejects a record without a value. Run it, change `process`, and run it again:
//!
//! ```text
//! cargo run -p sightline-stream --example stage
//! ```

use sightline_broker::Broker;
use sightline_contracts::{Reason, Topic};
use sightline_stream::{
    CancellationToken, Config, Error, KafkaSettings, LoopSettings, Message, Metrics, Outcome,
    Output, Publisher, Reader, Record, Spec, Stage, Start, Status, admin,
};
use std::time::Duration;

struct Capitals;

impl Stage for Capitals {
    async fn process(&self, record: Record) -> Outcome {
        let Some(word) = &record.value else {
            return Outcome::reject(Reason::Malformed, "the record has no value");
        };
        let output = Output::new(Topic::Images, record.key, word.to_ascii_uppercase());
        Outcome::Done(vec![output])
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = tempfile::tempdir()?;
    let broker = Broker::start(sightline_broker::Config::new(data.path()))?;
    let kafka = KafkaSettings::at(broker.bootstrap());
    let topics = [Topic::Ingest, Topic::Images, Topic::DeadLetters];
    let topics = topics.map(|topic| admin::TopicSpec::of(topic, "", 1, 1));
    admin::create_topics(&kafka, &topics).await?;
    let publisher = Publisher::new(&kafka)?;
    for word in ["once", "and", "only", "once"] {
        let message = Message::new(Topic::Ingest.name(), word, word);
        publisher.send(&message).await?;
    }
    let shutdown = CancellationToken::new();
    let looping = sightline_stream::run(
        Capitals,
        Spec {
            service: "capitals",
            input: Topic::Ingest,
        },
        Config {
            kafka: kafka.clone(),
            looping: LoopSettings::defaults(),
        },
        Metrics::unregistered(),
        Status::new(),
        shutdown.clone(),
    );
    let printing = async {
        let printed = tokio::task::spawn_blocking(move || print(&kafka, 4)).await;
        shutdown.cancel();
        printed
    };
    let (ended, printed) = tokio::join!(looping, printing);
    broker.shutdown().await;
    printed??;
    Ok(ended?)
}

/// Prints the first records of `images`.
fn print(kafka: &KafkaSettings, count: usize) -> Result<(), Error> {
    let mut reader = Reader::open(kafka, Topic::Images.name(), Start::Beginning)?;
    for _ in 0..count {
        if let Some(record) = reader.next(Duration::from_secs(10))? {
            let word = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default());
            println!("{}/{}: {word}", record.partition, record.offset);
        }
    }
    Ok(())
}
