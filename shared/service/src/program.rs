//! The `main` of a service: settings, logs, endpoints, work, drain.

use crate::{
    Context, Settings, scheduling,
    settings::{self, Parsed, Refusal},
    shutdown::Signals,
};
use anyhow::Context as _;
use clap::{Args as _, Command, FromArgMatches as _};
use sightline_telemetry::{Logs, Server, Telemetry, TelemetrySettings, probe};
use std::{env, process::ExitCode};
use tokio_util::sync::CancellationToken;

/// The first argument that asks a running service how it is, for a container's health check.
const PROBE: &str = "health";

/// Exit status for settings that can't work, as clap and getopt have it.
const USAGE: u8 = 2;

/// Runs a service until SIGTERM: reads its settings, starts logs and endpoints, calls `run`, waits for it to drain.
///
/// Exits with 0 after a drain, 1 when `run` failed, 2 when the settings are wrong (all problems are printed). With
/// `health` as the first argument it asks the process that runs with the same settings whether it is ready, and exits
/// with 0 or 1.
pub fn main<S, F>(run: impl FnOnce(S, Context) -> F) -> ExitCode
where
    S: Settings,
    F: Future<Output = anyhow::Result<()>>,
{
    if env::args_os().nth(1).is_some_and(|first| first == PROBE) {
        return ask();
    }
    let parsed = match read::<S>() {
        Ok(parsed) => parsed,
        Err(status) => return status,
    };
    let telemetry = parsed.settings.telemetry();
    let name = format!("sightline-{}", S::command().get_name());
    let _traces = Logs::from(telemetry).start(&name, Some(&telemetry.traces));
    scheduling::batch();
    log_effective(&parsed);
    match serve(parsed.settings, run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn read<S: Settings>() -> Result<Parsed<S>, ExitCode> {
    let problems = match settings::parse::<S>(env::args_os()) {
        Ok(parsed) => match parsed.settings.telemetry().problem() {
            None => return Ok(parsed),
            Some(problem) => vec![problem],
        },
        Err(Refusal::Asked(text)) => {
            print!("{text}");
            return Err(ExitCode::SUCCESS);
        }
        Err(Refusal::Wrong(problems)) => problems,
    };
    for problem in &problems {
        eprintln!("error: {problem}");
    }
    eprintln!(
        "\n{} wrong; --help lists every setting with its environment variable",
        count(problems.len())
    );
    Err(ExitCode::from(USAGE))
}

/// Settings that are required to run are not required to ask.
fn ask() -> ExitCode {
    let listen = TelemetrySettings::augment_args(Command::new(PROBE))
        .try_get_matches_from(env::args_os().skip(1))
        .and_then(|matches| TelemetrySettings::from_arg_matches(&matches));
    match listen.map(|settings| settings.http_listen) {
        Ok(listen) => match probe::ask(listen) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("not ready: {why}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprint!("{error}");
            ExitCode::from(USAGE)
        }
    }
}

fn count(n: usize) -> String {
    if n == 1 {
        "1 setting is".to_owned()
    } else {
        format!("{n} settings are")
    }
}

fn log_effective<S>(parsed: &Parsed<S>) {
    let effective: Vec<_> = parsed
        .effective
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    tracing::info!(settings = effective.join(" "), "starting");
}

#[tokio::main]
async fn serve<S, F>(settings: S, run: impl FnOnce(S, Context) -> F) -> anyhow::Result<()>
where
    S: Settings,
    F: Future<Output = anyhow::Result<()>>,
{
    let signals = Signals::listen().context("can't listen for signals")?;
    let telemetry = Telemetry::default();
    let listen = settings.telemetry().http_listen;
    let server = Server::bind(listen, telemetry.clone())
        .await
        .with_context(|| format!("can't listen on {listen} for HTTP"))?;
    let probes = CancellationToken::new();
    let serving = server.run(probes.clone());
    let working = async {
        let context = Context {
            telemetry,
            shutdown: signals.token.clone(),
        };
        let outcome = run(settings, context).await;
        probes.cancel();
        outcome
    };
    let (served, worked) = tokio::join!(serving, working);
    worked?;
    served.context("HTTP endpoints failed")
}
