//! Settings of a Kafka, and the files that they become.

use super::super::{Variables, cache};
use crate::free_port;
use anyhow::{Result, ensure};
use clap::Args;
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The user's name; the password is this and `-secret`.
const USER: &str = "sightline";

#[derive(Args, Clone, Debug)]
pub struct KafkaSettings {
    /// Nodes, 1 or 3, each of them broker and controller
    #[arg(long, default_value_t = 1, value_parser = one_or_three)]
    pub brokers: u16,
    /// The first broker listens here, the next ones on the ports after it [default: free ones]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Folder for records, logs and pids, which is kept [default: a new one, removed with the brokers]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Java heap of each broker, MiB
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    pub heap: u32,
    /// Clients must say who they are (SASL PLAIN)
    #[arg(long)]
    pub sasl: bool,
    /// Clients must encrypt (TLS)
    #[arg(long)]
    pub tls: bool,
    /// A line for server.properties, after the ones written by default; repeatable
    #[arg(long = "property", value_name = "KEY=VALUE")]
    pub properties: Vec<String>,
}

fn one_or_three(text: &str) -> Result<u16, &'static str> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("is 1 or 3"),
    }
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            brokers: 1,
            port: None,
            data: None,
            heap: 512,
            sasl: false,
            tls: false,
            properties: Vec::new(),
        }
    }
}

impl KafkaSettings {
    /// Writes each node's `server.properties`, `bootstrap` (the addresses for clients) and `cluster` (the cluster's
    /// id).
    pub(super) fn write(&self, data: &Path) -> Result<()> {
        let mut nodes = Vec::new();
        for id in 1..=self.brokers {
            let client = match self.port {
                Some(first) => first + id - 1,
                None => free_port()?,
            };
            nodes.push((id, client, free_port()?, free_port()?));
        }
        let voters: Vec<_> = nodes
            .iter()
            .map(|(id, _, _, controller)| format!("{id}@127.0.0.1:{controller}"))
            .collect();
        if self.tls {
            certificate(data)?;
        }
        for (id, client, inner, controller) in &nodes {
            let folder = data.join(id.to_string());
            fs::create_dir_all(&folder)?;
            let mut text = format!(
                "node.id={id}\n\
                 listeners=CLIENT://127.0.0.1:{client},INNER://127.0.0.1:{inner},CONTROLLER://127.0.0.1:{controller}\n\
                 advertised.listeners=CLIENT://127.0.0.1:{client},INNER://127.0.0.1:{inner}\n\
                 controller.quorum.voters={}\n\
                 log.dirs={}\n",
                voters.join(","),
                folder.join("log").display()
            );
            self.write_common(&mut text, data)?;
            fs::write(folder.join("server.properties"), text)?;
        }
        let clients: Vec<_> = nodes
            .iter()
            .map(|(_, client, _, _)| format!("127.0.0.1:{client}"))
            .collect();
        fs::write(data.join("bootstrap"), clients.join(",") + "\n")?;
        // 22 characters, as Kafka writes 16 bytes in base 64.
        let cluster: String = (0..22).map(|_| fastrand::alphanumeric()).collect();
        fs::write(data.join("cluster"), cluster + "\n")?;
        Ok(())
    }

    fn write_common(&self, text: &mut String, data: &Path) -> Result<()> {
        let replicas = self.brokers;
        let in_sync = replicas / 2 + 1;
        writeln!(
            text,
            "process.roles=broker,controller\n\
             listener.security.protocol.map=CLIENT:{},INNER:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             inter.broker.listener.name=INNER\n\
             controller.listener.names=CONTROLLER\n\
             auto.create.topics.enable=false\n\
             default.replication.factor={replicas}\n\
             min.insync.replicas={in_sync}\n\
             offsets.topic.replication.factor={replicas}\n\
             offsets.topic.num.partitions=6\n\
             transaction.state.log.replication.factor={replicas}\n\
             transaction.state.log.min.isr={in_sync}\n\
             transaction.state.log.num.partitions=6\n\
             group.initial.rebalance.delay.ms=0",
            self.protocol().to_uppercase()
        )?;
        text.push_str(SOON);
        if self.sasl {
            let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
            writeln!(
                text,
                "listener.name.client.sasl.enabled.mechanisms=PLAIN\n\
                 listener.name.client.plain.sasl.jaas.config={module} required user_{USER}=\"{USER}-secret\";"
            )?;
        }
        if self.tls {
            let file = data.join("broker.pem");
            writeln!(
                text,
                "listener.name.client.ssl.keystore.type=PEM\n\
                 listener.name.client.ssl.keystore.location={}",
                file.display()
            )?;
        }
        for line in &self.properties {
            ensure!(line.contains('='), "the property {line} is no KEY=VALUE");
            writeln!(text, "{line}")?;
        }
        Ok(())
    }

    /// The security protocol as the services' settings spell it; the broker's spell it in capitals.
    fn protocol(&self) -> &'static str {
        match (self.sasl, self.tls) {
            (false, false) => "plaintext",
            (false, true) => "ssl",
            (true, false) => "sasl_plaintext",
            (true, true) => "sasl_ssl",
        }
    }

    /// The services' settings for this Kafka, but for its address.
    pub(super) fn variables(&self, data: &Path) -> Variables {
        let mut variables = Variables::new();
        if self.sasl || self.tls {
            variables.push(("SIGHTLINE_KAFKA_SECURITY_PROTOCOL", self.protocol().into()));
        }
        if self.sasl {
            variables.extend([
                ("SIGHTLINE_KAFKA_SASL_MECHANISM", "PLAIN".into()),
                ("SIGHTLINE_KAFKA_SASL_USERNAME", USER.into()),
                ("SIGHTLINE_KAFKA_SASL_PASSWORD", format!("{USER}-secret")),
            ]);
        }
        if self.tls {
            let file = data.join("ca.pem").display().to_string();
            variables.push(("SIGHTLINE_KAFKA_CA_FILE", file));
        }
        variables
    }
}

/// Makes `ca.pem`, a certificate that signs itself, and `broker.pem`, its key and itself.
fn certificate(data: &Path) -> Result<()> {
    cache::need("openssl", "openssl")?;
    let (key, certificate) = (data.join("key.pem"), data.join("ca.pem"));
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        // librdkafka looks for the address in the common name, others among the alternative names.
        .args([
            "-subj",
            "/CN=127.0.0.1",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()?;
    ensure!(
        made.status.success(),
        "openssl makes no certificate: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    let both = [fs::read(&key)?, fs::read(&certificate)?].concat();
    fs::write(data.join("broker.pem"), both)?;
    Ok(())
}

/// Shortens intervals of Kafka from between ten seconds and five minutes to a second or less, so that tests can wait
/// for
/// what happens then.
const SOON: &str = "\
log.initial.task.delay.ms=500
log.retention.check.interval.ms=1000
log.segment.delete.delay.ms=500
log.cleaner.backoff.ms=500
log.cleaner.dedupe.buffer.size=4194304
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
";

pub(super) const LOG: &str = "\
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
";

/// A Maven project that depends on Kafka.
pub(super) fn pom(version: &str) -> String {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>\n"
        )
    };
    let dependencies = [
        dependency("org.apache.kafka", "kafka_2.13", version),
        dependency("org.apache.kafka", "kafka-tools", version),
        dependency("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3"),
    ];
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n  \
           <modelVersion>4.0.0</modelVersion>\n  \
           <groupId>sightline</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>\n  \
           <dependencies>\n{}  </dependencies>\n</project>\n",
        dependencies.concat()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_nodes_know_each_other_and_their_own_lines_come_last() {
        let folder = tempfile::tempdir().unwrap();
        let settings = KafkaSettings {
            brokers: 3,
            port: Some(9092),
            sasl: true,
            properties: vec!["message.max.bytes=5".into()],
            ..KafkaSettings::default()
        };
        settings.write(folder.path()).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(
            read("bootstrap"),
            "127.0.0.1:9092,127.0.0.1:9093,127.0.0.1:9094\n"
        );
        let second = read("2/server.properties");
        assert!(second.contains("node.id=2\nlisteners=CLIENT://127.0.0.1:9093,"));
        assert!(second.contains("CLIENT:SASL_PLAINTEXT"));
        assert!(second.contains("min.insync.replicas=2\n"));
        assert!(second.ends_with("message.max.bytes=5\n"));
        let voters = second.lines().find(|line| line.contains("voters")).unwrap();
        assert_eq!(voters.matches('@').count(), 3);
    }
}
