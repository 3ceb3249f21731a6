//! The settings of ingest.

use crate::admission::Admission;
use clap::Parser;
use sightline_stream::Config;
use sightline_telemetry::TelemetrySettings;

/// Reads S3 notifications from the topic `ingest` and writes image references to `images`.
#[derive(Debug, Clone, Parser)]
#[command(name = "ingest", version)]
pub struct Settings {
    #[command(flatten)]
    pub admission: Admission,
    #[command(flatten)]
    pub stream: Config,
    #[command(flatten)]
    pub telemetry: TelemetrySettings,
}

impl sightline_service::Settings for Settings {
    fn problems(&self) -> Vec<String> {
        [self.admission.problems(), self.stream.problems()].concat()
    }

    fn telemetry(&self) -> &TelemetrySettings {
        &self.telemetry
    }
}
