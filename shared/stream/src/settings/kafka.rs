//! The connection to Kafka: addresses, encryption and authentication.

use crate::Error;
use clap::{Args, ValueEnum};
use rdkafka::{ClientConfig, config::RDKafkaLogLevel};
use secrecy::{ExposeSecret as _, SecretString};
use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr};

/// Encryption and authentication of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum SecurityProtocol {
    /// Neither encryption nor authentication
    #[default]
    Plaintext,
    /// TLS; with a client certificate, the client is authenticated by it
    Ssl,
    /// SASL authentication without encryption
    SaslPlaintext,
    /// SASL authentication over TLS
    SaslSsl,
}

impl SecurityProtocol {
    fn tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    fn sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }
}

/// How the client authenticates itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SaslMechanism {
    /// User name and password as they are; use it over TLS
    #[value(name = "PLAIN")]
    Plain,
    /// Salted challenge-response with SHA-256
    #[value(name = "SCRAM-SHA-256")]
    ScramSha256,
    /// Salted challenge-response with SHA-512
    #[value(name = "SCRAM-SHA-512")]
    ScramSha512,
}

impl SaslMechanism {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// A librdkafka property, given as `key=value`.
///
/// The value may be a password, a key or a token, under a name that this crate need not know, so no value is ever
/// printed: `Debug` shows the key alone. For the same reason text without a key is not refused while the arguments are
/// parsed, where the message would quote it, but by [`KafkaSettings::problems`].
#[derive(Clone, PartialEq, Eq)]
pub struct Property {
    /// Empty where the text had none.
    key: String,
    value: String,
}

impl FromStr for Property {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').unwrap_or(("", text));
        Ok(Self {
            key: key.trim().to_owned(),
            value: value.to_owned(),
        })
    }
}

impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=***", self.key)
    }
}

/// The connection to Kafka, the same for every client of a process.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Kafka")]
pub struct KafkaSettings {
    /// Brokers to ask first: HOST:PORT, separated by commas
    #[arg(
        id = "kafka_bootstrap",
        long = "kafka-bootstrap",
        env = "SIGHTLINE_KAFKA_BOOTSTRAP",
        value_name = "HOST:PORT,…",
        default_value = "127.0.0.1:9092"
    )]
    pub bootstrap: String,
    /// Wire protection and authentication; ssl and sasl_ssl need a binary built with the feature `tls`
    #[arg(
        id = "kafka_security_protocol",
        long = "kafka-security-protocol",
        env = "SIGHTLINE_KAFKA_SECURITY_PROTOCOL",
        default_value = "plaintext"
    )]
    pub security_protocol: SecurityProtocol,
    /// SASL mechanism; SCRAM needs a binary built with the feature `tls`
    #[arg(
        id = "kafka_sasl_mechanism",
        long = "kafka-sasl-mechanism",
        env = "SIGHTLINE_KAFKA_SASL_MECHANISM"
    )]
    pub sasl_mechanism: Option<SaslMechanism>,
    /// SASL user name
    #[arg(
        id = "kafka_sasl_username",
        long = "kafka-sasl-username",
        env = "SIGHTLINE_KAFKA_SASL_USERNAME"
    )]
    pub sasl_username: Option<String>,
    /// SASL password; prefer the environment variable to the flag
    #[arg(
        id = "kafka_sasl_password",
        long = "kafka-sasl-password",
        env = "SIGHTLINE_KAFKA_SASL_PASSWORD",
        hide_env_values = true
    )]
    pub sasl_password: Option<SecretString>,
    /// PEM file with the certificate authorities that the brokers' certificates are checked against
    #[arg(
        id = "kafka_ca_file",
        long = "kafka-ca-file",
        env = "SIGHTLINE_KAFKA_CA_FILE",
        value_name = "FILE"
    )]
    pub ca_file: Option<PathBuf>,
    /// PEM file with the client's certificate, for mutual TLS
    #[arg(
        id = "kafka_cert_file",
        long = "kafka-cert-file",
        env = "SIGHTLINE_KAFKA_CERT_FILE",
        value_name = "FILE"
    )]
    pub cert_file: Option<PathBuf>,
    /// PEM file with the client's key, for mutual TLS
    #[arg(
        id = "kafka_key_file",
        long = "kafka-key-file",
        env = "SIGHTLINE_KAFKA_KEY_FILE",
        value_name = "FILE"
    )]
    pub key_file: Option<PathBuf>,
    /// Any property of librdkafka as key=value, several allowed; what exactly-once rests on can't be changed by it
    #[arg(
        id = "kafka_property",
        long = "kafka-property",
        env = "SIGHTLINE_KAFKA_PROPERTY",
        value_name = "KEY=VALUE",
        value_delimiter = ';',
        hide_env_values = true
    )]
    pub property: Vec<Property>,
}

impl KafkaSettings {
    /// Plaintext at this address (HOST:PORT, several separated by commas) and no other setting, for tests and embedded
    /// brokers.
    pub fn at(bootstrap: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            security_protocol: SecurityProtocol::Plaintext,
            sasl_mechanism: None,
            sasl_username: None,
            sasl_password: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            property: Vec::new(),
        }
    }

    /// Everything that is wrong with the settings: texts that name the flag. Empty where they can work.
    pub fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut check = |bad: bool, text: &str| {
            if bad {
                found.push(text.to_owned());
            }
        };
        let well_formed = |address: &str| {
            let (host, port) = address.trim().rsplit_once(':').unwrap_or_default();
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
        };
        let protocol = self.security_protocol;
        let scram = self
            .sasl_mechanism
            .is_some_and(|m| m != SaslMechanism::Plain);
        let tls_built = cfg!(feature = "tls");
        check(
            !self.bootstrap.split(',').all(well_formed),
            "--kafka-bootstrap: expected HOST:PORT, separated by commas",
        );
        check(
            protocol.tls() && !tls_built,
            "--kafka-security-protocol: this binary was built without TLS for Kafka; build it with `--features tls`",
        );
        check(
            scram && !tls_built,
            "--kafka-sasl-mechanism: SCRAM needs a binary built with `--features tls`",
        );
        check(
            protocol.sasl() && self.sasl_mechanism.is_none(),
            "--kafka-sasl-mechanism: required by --kafka-security-protocol sasl_*",
        );
        check(
            protocol.sasl() && (self.sasl_username.is_none() || self.sasl_password.is_none()),
            "--kafka-sasl-username and --kafka-sasl-password: required by --kafka-security-protocol sasl_*",
        );
        check(
            !protocol.sasl() && self.sasl_mechanism.is_some(),
            "--kafka-sasl-mechanism: needs --kafka-security-protocol sasl_plaintext or sasl_ssl",
        );
        check(
            self.property.iter().any(|property| property.key.is_empty()),
            "--kafka-property: expected KEY=VALUE, several separated by ';'",
        );
        let files = [&self.ca_file, &self.cert_file, &self.key_file];
        check(
            !protocol.tls() && files.iter().any(|file| file.is_some()),
            "--kafka-ca-file, --kafka-cert-file, --kafka-key-file: need --kafka-security-protocol ssl or sasl_ssl",
        );
        check(
            self.cert_file.is_some() != self.key_file.is_some(),
            "--kafka-cert-file and --kafka-key-file: only together",
        );
        for file in files.into_iter().flatten().filter(|file| !file.is_file()) {
            found.push(format!("kafka TLS file {}: not found", file.display()));
        }
        found
    }

    /// The configuration that every client starts from. A property given by hand wins over `defaults`.
    pub(crate) fn client_config(
        &self,
        client_id: &str,
        defaults: &[(&str, &str)],
    ) -> Result<ClientConfig, Error> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(Error::Settings(problems.join("; ")));
        }
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Warning);
        for (key, value) in defaults {
            config.set(*key, *value);
        }
        for Property { key, value } in &self.property {
            config.set(key, value);
        }
        config.set("bootstrap.servers", &self.bootstrap);
        config.set("client.id", client_id);
        config.set("security.protocol", self.security_protocol.name());
        let mut set = |key: &str, value: Option<&str>| {
            if let Some(value) = value {
                config.set(key, value);
            }
        };
        set(
            "sasl.mechanism",
            self.sasl_mechanism.map(SaslMechanism::name),
        );
        set("sasl.username", self.sasl_username.as_deref());
        set(
            "sasl.password",
            self.sasl_password.as_ref().map(SecretString::expose_secret),
        );
        let path = |file: &Option<PathBuf>| file.as_ref().map(|file| file.display().to_string());
        set("ssl.ca.location", path(&self.ca_file).as_deref());
        set("ssl.certificate.location", path(&self.cert_file).as_deref());
        set("ssl.key.location", path(&self.key_file).as_deref());
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, Parser};

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        kafka: KafkaSettings,
    }

    #[test]
    fn secrets_do_not_show() {
        let mut settings = KafkaSettings::at("h:1");
        settings.sasl_password = Some("hunter2".into());
        settings.property = [
            "ssl.key.password=hunter2",
            "sasl.oauthbearer.client.secret=hunter2",
            "ssl.key.pem=hunter2",
            "hunter2",
        ]
        .map(|text| text.parse().unwrap())
        .into();
        let shown = format!("{settings:?} {:?}", settings.problems());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("sasl.oauthbearer.client.secret=***"));
        assert!(shown.contains("--kafka-property: expected KEY=VALUE"));
    }

    /// A password with a semicolon is cut there, and what follows was quoted.
    #[test]
    fn no_message_about_an_argument_quotes_a_property() {
        let given = ["", "--kafka-property", "ssl.key.password=hun;ter2"];
        let parsed = Only::try_parse_from(given).unwrap();
        let problems = parsed.kafka.problems().join(" ");
        assert!(problems.contains("--kafka-property") && !problems.contains("ter2"));
    }

    /// `--help` and the line of effective settings mask what is marked so.
    #[test]
    fn settings_that_hold_secrets_are_marked() {
        let command = Only::command();
        for id in ["kafka_property", "kafka_sasl_password"] {
            let argument = command.get_arguments().find(|arg| arg.get_id() == id);
            assert!(argument.unwrap().is_hide_env_values_set(), "{id}");
        }
    }

    #[test]
    fn what_is_given_by_hand_wins_over_defaults_and_secrets_arrive_whole() {
        let mut settings = KafkaSettings::at("h:1");
        settings.security_protocol = SecurityProtocol::SaslPlaintext;
        settings.sasl_mechanism = Some(SaslMechanism::Plain);
        settings.sasl_username = Some("alice".into());
        settings.sasl_password = Some("hunter2".into());
        settings.property = vec!["linger.ms=7".parse().unwrap()];
        let defaults = [("linger.ms", "0"), ("retry.backoff.ms", "20")];
        let config = settings.client_config("me", &defaults).unwrap();
        assert_eq!(config.get("sasl.password"), Some("hunter2"));
        assert_eq!(config.get("linger.ms"), Some("7"));
        assert_eq!(config.get("retry.backoff.ms"), Some("20"));
    }

    #[test]
    fn says_all_that_is_wrong_at_once() {
        let mut settings = KafkaSettings::at("nowhere");
        settings.security_protocol = SecurityProtocol::SaslPlaintext;
        settings.cert_file = Some("/does/not/exist".into());
        let problems = settings.problems().join("\n");
        for flag in [
            "--kafka-bootstrap",
            "--kafka-sasl-mechanism",
            "--kafka-sasl-username",
            "--kafka-key-file",
            "/does/not/exist",
        ] {
            assert!(problems.contains(flag), "{flag} in {problems}");
        }
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn asking_for_tls_without_it_names_the_feature() {
        let mut settings = KafkaSettings::at("h:1");
        settings.security_protocol = SecurityProtocol::Ssl;
        settings.sasl_mechanism = Some(SaslMechanism::ScramSha512);
        let problems = settings.problems().join("\n");
        assert_eq!(problems.matches("--features tls").count(), 2, "{problems}");
    }
}
