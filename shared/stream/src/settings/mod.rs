//! The settings of the Kafka client and of the loop: each a flag and an environment variable.

mod duration;
mod kafka;
mod looping;

pub use duration::duration;
pub use kafka::{KafkaSettings, Property, SaslMechanism, Secret, SecurityProtocol};
pub use looping::LoopSettings;
