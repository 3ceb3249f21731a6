//! The settings of the loop: bounds, commits, retries, the circuit breaker, timeouts.

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser};
use humantime::parse_duration;
use std::time::Duration;

/// The settings of the exactly-once loop.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Loop")]
pub struct LoopSettings {
    /// Consumer group; the service's name where not given
    #[arg(long, env = "SIGHTLINE_GROUP")]
    pub group: Option<String>,
    /// Name of this instance, stable across restarts and used by one live process at a time; the host's name where not
    /// given, which is a container's own and a StatefulSet's pod's for good
    #[arg(long, env = "SIGHTLINE_INSTANCE", default_value_t = host_name(), hide_default_value = true)]
    pub instance: String,
    /// Text put before the name of every topic, group and transactional id
    #[arg(long, env = "SIGHTLINE_TOPIC_PREFIX", default_value = "")]
    pub topic_prefix: String,
    /// Bytes of records taken and not yet committed, outputs included, at which taking pauses
    #[arg(long, env = "SIGHTLINE_MAX_IN_FLIGHT_BYTES", value_name = "BYTES", default_value_t = 64 << 20)]
    pub max_in_flight_bytes: usize,
    /// Records taken and not yet committed at which taking pauses
    #[arg(
        long,
        env = "SIGHTLINE_MAX_IN_FLIGHT_RECORDS",
        value_name = "RECORDS",
        default_value_t = 1000
    )]
    pub max_in_flight_records: usize,
    /// Records processed at the same time
    #[arg(
        long,
        env = "SIGHTLINE_MAX_CONCURRENT",
        value_name = "RECORDS",
        default_value_t = 256
    )]
    pub max_concurrent: usize,
    /// Kilobytes prefetched for each partition beyond those in flight
    #[arg(
        long,
        env = "SIGHTLINE_PREFETCH_KBYTES",
        value_name = "KB",
        default_value_t = 8192
    )]
    pub prefetch_kbytes: usize,
    /// Least time between two commits; a record that is done after a longer pause is committed at once
    #[arg(long, env = "SIGHTLINE_COMMIT_INTERVAL", value_parser = parse_duration, default_value = "10ms")]
    pub commit_interval: Duration,
    /// Finished records that are committed without waiting for the interval
    #[arg(
        long,
        env = "SIGHTLINE_COMMIT_MAX_RECORDS",
        value_name = "RECORDS",
        default_value_t = 500
    )]
    pub commit_max_records: usize,
    /// Bytes of finished records that are committed without waiting for the interval
    #[arg(long, env = "SIGHTLINE_COMMIT_MAX_BYTES", value_name = "BYTES", default_value_t = 24 << 20)]
    pub commit_max_bytes: usize,
    /// Transactional producers that take turns, so that one's markers are written while the next one's transaction runs
    #[arg(
        long,
        env = "SIGHTLINE_PRODUCERS",
        value_name = "COUNT",
        default_value_t = 2
    )]
    pub producers: usize,
    /// Attempts at a record until it becomes a dead letter `exhausted`
    #[arg(
        long,
        env = "SIGHTLINE_RETRY_BUDGET",
        value_name = "ATTEMPTS",
        default_value_t = 8
    )]
    pub retry_budget: u32,
    /// Pause before the second attempt; doubled for each further one, jittered
    #[arg(long, env = "SIGHTLINE_RETRY_BASE", value_parser = parse_duration, default_value = "100ms")]
    pub retry_base: Duration,
    /// Longest pause between two attempts
    #[arg(long, env = "SIGHTLINE_RETRY_MAX", value_parser = parse_duration, default_value = "10s")]
    pub retry_max: Duration,
    /// Time of work that an attempt may take; past it the record becomes a dead letter `internal`. Time that it waits
    /// for room or for its turn does not count
    #[arg(long, env = "SIGHTLINE_ATTEMPT_TIMEOUT", value_parser = parse_duration, default_value = "2m")]
    pub attempt_timeout: Duration,
    /// Records within a minute from which on the circuit breaker judges
    #[arg(
        long,
        env = "SIGHTLINE_BREAKER_MIN_RECORDS",
        value_name = "RECORDS",
        default_value_t = 20
    )]
    pub breaker_min_records: u32,
    /// Time the circuit stays open before a probe
    #[arg(long, env = "SIGHTLINE_BREAKER_PAUSE", value_parser = parse_duration, default_value = "10s")]
    pub breaker_pause: Duration,
    /// Kafka's transaction.timeout.ms: a transaction that hangs longer is aborted by the broker
    #[arg(long, env = "SIGHTLINE_TRANSACTION_TIMEOUT", value_parser = parse_duration, default_value = "10s")]
    pub transaction_timeout: Duration,
    /// Kafka's session.timeout.ms: a process that is silent for longer loses its partitions
    #[arg(long, env = "SIGHTLINE_SESSION_TIMEOUT", value_parser = parse_duration, default_value = "10s")]
    pub session_timeout: Duration,
    /// Time to finish what is in flight when asked to stop
    #[arg(long, env = "SIGHTLINE_DRAIN_TIMEOUT", value_parser = parse_duration, default_value = "20s")]
    pub drain_timeout: Duration,
}

/// A command that has these settings and nothing else.
#[derive(Parser)]
struct Only {
    #[command(flatten)]
    settings: LoopSettings,
}

impl LoopSettings {
    /// The defaults, without regard to the environment, for tests and benchmarks.
    pub fn defaults() -> Self {
        let command = Only::command().mut_args(|arg| arg.env(None::<&'static str>));
        let matches = command.get_matches_from(["defaults"]);
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Everything that is wrong with the settings: texts that name the flag. Empty where they can work.
    pub fn problems(&self) -> Vec<String> {
        let second = Duration::from_secs(1);
        let plain = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        let checks = [
            (
                self.instance.is_empty() || !plain(&self.instance),
                "--instance: letters, digits, '.', '_' and '-' only, at least one",
            ),
            (
                !plain(&self.topic_prefix),
                "--topic-prefix: letters, digits, '.', '_' and '-' only",
            ),
            (
                self.group.as_deref() == Some(""),
                "--group: must not be empty",
            ),
            (
                self.max_in_flight_bytes == 0,
                "--max-in-flight-bytes: at least 1",
            ),
            (
                self.max_in_flight_records == 0,
                "--max-in-flight-records: at least 1",
            ),
            (self.max_concurrent == 0, "--max-concurrent: at least 1"),
            (
                !(1..=2_097_151).contains(&self.prefetch_kbytes),
                "--prefetch-kbytes: 1 to 2097151",
            ),
            (
                self.commit_max_records == 0,
                "--commit-max-records: at least 1",
            ),
            (self.commit_max_bytes == 0, "--commit-max-bytes: at least 1"),
            (
                self.commit_interval * 2 > self.transaction_timeout,
                "--commit-interval: at most half of --transaction-timeout",
            ),
            (!(1..=8).contains(&self.producers), "--producers: 1 to 8"),
            (self.retry_budget == 0, "--retry-budget: at least 1"),
            (
                self.retry_base.is_zero() || self.retry_max < self.retry_base,
                "--retry-base: more than 0, at most --retry-max",
            ),
            (
                self.attempt_timeout.is_zero(),
                "--attempt-timeout: more than 0",
            ),
            (
                self.transaction_timeout < second || self.transaction_timeout > 900 * second,
                "--transaction-timeout: 1s to 15m, the brokers' own limit",
            ),
            (
                self.session_timeout < second,
                "--session-timeout: at least 1s (brokers ask for 6s by default)",
            ),
            (self.breaker_pause.is_zero(), "--breaker-pause: more than 0"),
        ];
        checks
            .into_iter()
            .filter(|(bad, _)| *bad)
            .map(|(_, text)| text.to_owned())
            .collect()
    }

    /// The full name on the broker of a topic, group or transactional id: `name` after the prefix.
    pub fn prefixed(&self, name: &str) -> String {
        format!("{}{name}", self.topic_prefix)
    }
}

/// The host's name, with dashes for characters that an instance's name may not have.
fn host_name() -> String {
    let name = gethostname::gethostname().to_string_lossy().into_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() {
        "0".to_owned()
    } else {
        name.replace(|c| !plain(c), "-")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_order() {
        assert_eq!(LoopSettings::defaults().problems(), Vec::<String>::new());
    }

    #[test]
    fn durations_have_units() {
        let read = |text| {
            let given = ["", "--drain-timeout", text];
            let parsed = Only::try_parse_from(given).ok();
            parsed.map(|only| only.settings.drain_timeout)
        };
        let second = Duration::from_secs(1);
        assert_eq!(read("250ms"), Some(second / 4));
        assert_eq!(read("10s"), Some(10 * second));
        assert_eq!(read("5m"), Some(300 * second));
        assert_eq!(read("2h"), Some(7200 * second));
        assert_eq!(read("1m 30s"), Some(90 * second));
        for bad in ["", "10", "s", "-1s", "99999999999999999999h"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn wrong_settings_are_named_together() {
        let settings = LoopSettings {
            instance: "a b".into(),
            max_concurrent: 0,
            retry_base: Duration::from_secs(99),
            ..LoopSettings::defaults()
        };
        assert_eq!(settings.problems().len(), 3);
    }
}
