//! The settings of the service.

use crate::admission::Admission;
use clap::Parser;
use sightline_stream::{KafkaSettings, LoopSettings};
use sightline_telemetry::{TelemetrySettings, service, settings};

/// Reads S3 notifications from the topic `ingest` and writes image references to `images`.
#[derive(Debug, Clone, Parser)]
#[command(name = "ingest", version)]
pub struct Settings {
    #[command(flatten)]
    pub admission: Admission,
    #[command(flatten)]
    pub kafka: KafkaSettings,
    #[command(flatten)]
    pub looping: LoopSettings,
    #[command(flatten)]
    pub telemetry: TelemetrySettings,
}

impl settings::Settings for Settings {
    fn problems(&self) -> Vec<String> {
        [
            self.admission.problems(),
            self.kafka.problems(),
            self.looping.problems(),
        ]
        .concat()
    }
}

impl service::Settings for Settings {
    fn telemetry(&self) -> &TelemetrySettings {
        &self.telemetry
    }
}
