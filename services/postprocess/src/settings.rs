//! The settings of postprocess.

use crate::Thumbnails;
use clap::Parser;
use sightline_storage::StorageSettings;
use sightline_stream::Config;
use sightline_telemetry::TelemetrySettings;

/// Reads predictions, stores thumbnails and writes result events to `results`.
#[derive(Debug, Clone, Parser)]
#[command(name = "postprocess", version)]
pub struct Settings {
    #[command(flatten)]
    pub thumbnails: Thumbnails,
    #[command(flatten, next_help_heading = "S3")]
    pub storage: StorageSettings,
    #[command(flatten)]
    pub stream: Config,
    #[command(flatten)]
    pub telemetry: TelemetrySettings,
}

impl sightline_service::Settings for Settings {
    fn problems(&self) -> Vec<String> {
        let parts = [
            self.thumbnails.problems(),
            self.storage.problems(),
            self.stream.problems(),
        ];
        parts.concat()
    }

    fn telemetry(&self) -> &TelemetrySettings {
        &self.telemetry
    }
}
