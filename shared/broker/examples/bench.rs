//! Measures a broker with librdkafka: `cargo run --release -p sightline-broker --example bench`.
//!
//! Without arguments it starts this crate's broker in a process of its own, in a temporary folder; `HOST:PORT PID` measures
//! a running one instead, for example Apache Kafka. Prints one line for each figure.

use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    config::ClientConfig,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use sightline_broker::{Broker, Config};
use std::{
    io::BufRead,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const LARGE: (usize, usize) = (150_000, 10_000);
const SMALL: (usize, usize) = (1_000, 1_000_000);
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", data] => serve(data),
        [bootstrap, pid] => measure(bootstrap, pid.parse()?),
        _ => {
            let data = tempfile::tempdir()?;
            let (mut child, bootstrap) = spawn(data.path())?;
            let measured = measure(&bootstrap, child.id());
            child.kill()?;
            child.wait()?;
            measured
        }
    }
}

fn serve(data: &str) -> Result<()> {
    let broker = Broker::start(Config::new(data))?;
    println!("{}", broker.bootstrap());
    loop {
        std::thread::park();
    }
}

fn spawn(data: &std::path::Path) -> Result<(Child, String)> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("serve")
        .arg(data)
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().ok_or("no stdout")?;
    let mut line = String::new();
    std::io::BufReader::new(stdout).read_line(&mut line)?;
    Ok((child, line.trim().to_owned()))
}

fn measure(bootstrap: &str, pid: u32) -> Result<()> {
    for topic in ["bench-large", "bench-small", "bench-txn"] {
        create(bootstrap, topic)?;
    }
    let (size, count) = LARGE;
    let seconds = produce(bootstrap, "bench-large", size, count)?;
    println!(
        "150 kB records in:    {:.0} MB/s",
        (size * count) as f64 / seconds / 1e6
    );
    let seconds = consume(bootstrap, "bench-large", count)?;
    println!(
        "150 kB records out:   {:.0} MB/s",
        (size * count) as f64 / seconds / 1e6
    );
    let (size, count) = SMALL;
    let seconds = produce(bootstrap, "bench-small", size, count)?;
    println!("1 kB records in:      {:.0} /s", count as f64 / seconds);
    let seconds = consume(bootstrap, "bench-small", count)?;
    println!("1 kB records out:     {:.0} /s", count as f64 / seconds);
    let mut times = transactions(bootstrap, 1000)?;
    times.sort_unstable();
    let at = |share: f64| times[(times.len() as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "one-record txn:       p50 {:.2} ms, p99 {:.2} ms",
        at(0.5),
        at(0.99)
    );
    println!(
        "memory (RSS):         {} MiB, peak {} MiB",
        memory(pid, "VmRSS:")?,
        memory(pid, "VmHWM:")?
    );
    println!("idle CPU:             {:.2} %", idle(bootstrap, pid)?);
    Ok(())
}

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}

fn create(bootstrap: &str, topic: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = client(bootstrap).create()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let topic = NewTopic::new(topic, 3, TopicReplication::Fixed(1));
    runtime.block_on(admin.create_topics([&topic], &AdminOptions::new()))?;
    Ok(())
}

fn produce(bootstrap: &str, topic: &str, size: usize, count: usize) -> Result<f64> {
    let producer: ThreadedProducer<DefaultProducerContext> = client(bootstrap)
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "200000")
        .set("queue.buffering.max.kbytes", "262144")
        .create()?;
    let value = vec![b'x'; size];
    let begun = Instant::now();
    for _ in 0..count {
        let mut record = BaseRecord::<(), _>::to(topic).payload(&value);
        while let Err((error, back)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            record = back;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    producer.flush(PATIENCE)?;
    Ok(begun.elapsed().as_secs_f64())
}

fn consume(bootstrap: &str, topic: &str, count: usize) -> Result<f64> {
    let consumer: BaseConsumer = client(bootstrap)
        .set("group.id", "bench")
        .set("fetch.message.max.bytes", "8388608")
        .set("queued.max.messages.kbytes", "262144")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..3 {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let begun = Instant::now();
    for _ in 0..count {
        let message = consumer.poll(PATIENCE).ok_or("nothing comes")??;
        assert!(message.payload_len() > 0);
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// Serves its own delivery events before the commit: rdkafka's commit, or a polling thread, would sleep 100 ms over them.
fn transactions(bootstrap: &str, count: usize) -> Result<Vec<Duration>> {
    let producer: BaseProducer = client(bootstrap)
        .set("transactional.id", "bench")
        .set("linger.ms", "0")
        .create()?;
    producer.init_transactions(PATIENCE)?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        producer.begin_transaction()?;
        producer
            .send(
                BaseRecord::<(), _>::to("bench-txn")
                    .partition(0)
                    .payload("x"),
            )
            .map_err(|(error, _)| error)?;
        while producer.in_flight_count() > 0 {
            producer.poll(Duration::from_millis(1));
        }
        producer.commit_transaction(PATIENCE)?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

fn memory(pid: u32, field: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find(|l| l.starts_with(field))
        .ok_or("no such field")?;
    Ok(line
        .split_whitespace()
        .nth(1)
        .ok_or("no value")?
        .parse::<u64>()?
        / 1024)
}

/// Processor time of five seconds with one consumer waiting.
fn idle(bootstrap: &str, pid: u32) -> Result<f64> {
    let consumer: BaseConsumer = client(bootstrap).set("group.id", "idle").create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("bench-txn", 0, Offset::End)?;
    consumer.assign(&list)?;
    let _ = consumer.poll(Duration::from_secs(2));
    let before = ticks(pid)?;
    let _ = consumer.poll(Duration::from_secs(5));
    // A tick is a hundredth of a second.
    Ok((ticks(pid)? - before) as f64 / 5.0)
}

fn ticks(pid: u32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .ok_or("no fields")?
        .split_whitespace()
        .collect();
    Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
}
