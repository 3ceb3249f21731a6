//! Log lines on stderr, so that stdout stays a program's output.

use crate::TelemetrySettings;
use clap::ValueEnum;
use std::io::{IsTerminal, stderr};
use tracing_subscriber::{EnvFilter, fmt};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Auto,
    Json,
    Pretty,
}

/// Starts logging for the process. A second call changes nothing.
pub fn init(settings: &TelemetrySettings) {
    init_at(&settings.log, settings.log_format);
}

/// The same without a settings struct; directives that can't be read become `info`.
pub fn init_at(directives: &str, format: LogFormat) {
    let filter = EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = fmt().with_env_filter(filter).with_writer(stderr);
    let pretty = match format {
        LogFormat::Auto => stderr().is_terminal(),
        LogFormat::Json => false,
        LogFormat::Pretty => true,
    };
    // An error means that a subscriber is set already, by the test or the program that embeds this one.
    let _already_set = if pretty {
        lines.with_ansi(stderr().is_terminal()).try_init()
    } else {
        lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .try_init()
    };
}

/// What is wrong with the filter directives, if anything.
pub(crate) fn problem(settings: &TelemetrySettings) -> Option<String> {
    EnvFilter::try_new(&settings.log)
        .err()
        .map(|error| format!("--log {:?}: {error}", settings.log))
}
