//! The settings of the Kafka client and of the loop: each a flag and an environment variable.

mod kafka;
mod looping;

pub use kafka::{KafkaSettings, Property, SaslMechanism, SecurityProtocol};
pub use looping::LoopSettings;
