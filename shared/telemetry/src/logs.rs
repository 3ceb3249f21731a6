//! Log lines on stderr, so that stdout has the program's output only, and the export of spans to a collector.

use crate::{TelemetrySettings, TraceSettings, Traces, traces};
use clap::ValueEnum;
use std::io::{IsTerminal, stderr};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere
    Auto,
    /// One JSON object a line
    Json,
    /// Text for people
    Pretty,
}

/// The filter and format of a process's log.
#[derive(Debug, Clone, Copy)]
pub struct Logs<'a> {
    /// A level, or directives of [`EnvFilter`]; `info` if they can't be parsed.
    pub directives: &'a str,
    /// The format of lines.
    pub format: LogFormat,
}

impl<'a> From<&'a TelemetrySettings> for Logs<'a> {
    fn from(settings: &'a TelemetrySettings) -> Self {
        Self {
            directives: &settings.log,
            format: settings.log_format,
        }
    }
}

impl Logs<'_> {
    /// Starts logging for the process, and the export of the spans of `service` if `traces` names a collector. Logging
    /// stays as it is if it was started before. Spans are exported until the result is dropped.
    pub fn start(self, service: &str, traces: Option<&TraceSettings>) -> Traces {
        let (traces, spans) = match traces {
            Some(settings) => traces::start(settings, service),
            None => (Traces::none(), None),
        };
        // It fails if a subscriber is set already, by a test or by the program that embeds this one.
        let _already_set = tracing_subscriber::registry()
            .with(self.lines())
            .with(spans)
            .try_init();
        traces
    }

    fn lines(self) -> Box<dyn Layer<Registry> + Send + Sync> {
        let filter = EnvFilter::try_new(self.directives).unwrap_or_else(|_| EnvFilter::new("info"));
        let lines = fmt::layer().with_writer(stderr);
        let pretty = match self.format {
            LogFormat::Auto => stderr().is_terminal(),
            LogFormat::Json => false,
            LogFormat::Pretty => true,
        };
        if pretty {
            return lines
                .with_ansi(stderr().is_terminal())
                .with_filter(filter)
                .boxed();
        }
        lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_filter(filter)
            .boxed()
    }
}

impl TelemetrySettings {
    /// What is wrong with the directives of `--log`, if anything.
    pub fn problem(&self) -> Option<String> {
        EnvFilter::try_new(&self.log)
            .err()
            .map(|error| format!("--log {:?}: {error}", self.log))
    }
}
