//! The address of the Kafka that a test uses.

use std::fmt;

/// The addresses of a Kafka, `host:port` separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap(String);

impl Bootstrap {
    /// The variable that points the suites at a Kafka that is already running.
    pub const VARIABLE: &'static str = "SIGHTLINE_TEST_BOOTSTRAP";

    /// These addresses, `host:port` separated by commas.
    pub fn new(addresses: impl Into<String>) -> Self {
        Self(addresses.into())
    }

    /// The Kafka named by [`Self::VARIABLE`]; none when it is unset or empty, which means the embedded broker.
    pub fn from_env() -> Option<Self> {
        std::env::var(Self::VARIABLE)
            .ok()
            .filter(|addresses| !addresses.is_empty())
            .map(Self)
    }

    /// All addresses, as librdkafka takes them.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first of the addresses.
    pub fn first(&self) -> &str {
        self.0.split(',').next().unwrap_or(&self.0)
    }

    /// Each of the addresses.
    pub fn each(&self) -> impl Iterator<Item = Self> {
        self.0.split(',').map(Self::new)
    }
}

impl fmt::Display for Bootstrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
