//! Log lines on stderr, so that stdout stays a program's output; and the spans around them, to a collector.

use crate::{TelemetrySettings, TraceSettings, Traces, traces};
use clap::ValueEnum;
use std::io::{IsTerminal, stderr};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Auto,
    Json,
    Pretty,
}

/// How a process logs.
#[derive(Debug, Clone, Copy)]
pub struct Logs<'a> {
    /// A level, or directives; ones that can't be read become `info`.
    pub directives: &'a str,
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
    /// Starts logging for the process, and sending the spans of `service` where `traces` names a collector. A second
    /// call changes nothing.
    pub fn start(self, service: &str, traces: Option<&TraceSettings>) -> Traces {
        let (traces, spans) = match traces {
            Some(settings) => traces::start(settings, service),
            None => (Traces::none(), None),
        };
        // An error means that a subscriber is set already, by the test or the program that embeds this one.
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
    /// What is wrong with the filter directives, if anything.
    pub fn problem(&self) -> Option<String> {
        EnvFilter::try_new(&self.log)
            .err()
            .map(|error| format!("--log {:?}: {error}", self.log))
    }
}
