//! A topic's settings, under the names and with the defaults of Apache Kafka.

use std::collections::BTreeMap;

/// The source of a record's timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timestamps {
    Create,
    LogAppend,
}

/// The settings that affect the log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub delete: bool,
    pub compact: bool,
    /// `None`: unlimited.
    pub retention_ms: Option<i64>,
    pub retention_bytes: Option<u64>,
    pub segment_bytes: u64,
    pub segment_ms: i64,
    pub max_message_bytes: usize,
    pub min_dirty_ratio: f64,
    pub delete_retention_ms: i64,
    pub timestamps: Timestamps,
}

/// What kind of value a setting takes, as `DescribeConfigs` numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// Name, default and kind of every setting a topic may have. Those that do not affect the log (replication, tiered
/// storage) are stored and returned, so that clients that set them work.
pub(crate) const KNOWN: &[(&str, &str, Kind)] = &[
    ("cleanup.policy", "delete", Kind::List),
    ("compression.type", "producer", Kind::String),
    ("delete.retention.ms", "86400000", Kind::Long),
    ("file.delete.delay.ms", "60000", Kind::Long),
    ("flush.messages", "9223372036854775807", Kind::Long),
    ("flush.ms", "9223372036854775807", Kind::Long),
    ("index.interval.bytes", "4096", Kind::Int),
    ("max.compaction.lag.ms", "9223372036854775807", Kind::Long),
    ("max.message.bytes", "1048588", Kind::Int),
    ("message.timestamp.after.max.ms", "3600000", Kind::Long),
    (
        "message.timestamp.before.max.ms",
        "9223372036854775807",
        Kind::Long,
    ),
    ("message.timestamp.type", "CreateTime", Kind::String),
    ("min.cleanable.dirty.ratio", "0.5", Kind::Double),
    ("min.compaction.lag.ms", "0", Kind::Long),
    ("min.insync.replicas", "1", Kind::Int),
    ("preallocate", "false", Kind::Boolean),
    ("retention.bytes", "-1", Kind::Long),
    ("retention.ms", "604800000", Kind::Long),
    ("segment.bytes", SEGMENT_BYTES, Kind::Int),
    ("segment.index.bytes", "10485760", Kind::Int),
    ("segment.jitter.ms", "0", Kind::Long),
    ("segment.ms", "604800000", Kind::Long),
    ("unclean.leader.election.enable", "false", Kind::Boolean),
];

/// Smaller than Kafka's gigabyte: after a crash the newest segment of each partition is scanned.
const SEGMENT_BYTES: &str = "67108864";

/// A setting that is unknown or has a value it can't have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("unknown topic setting {0}")]
    Unknown(String),
    #[error("invalid value {value} for topic setting {name}")]
    Value { name: String, value: String },
}

/// The settings a topic was given, by name.
pub(crate) type Overrides = BTreeMap<String, String>;

/// The effective value: the override, else the default; `None` for an unknown name.
pub(crate) fn value<'a>(overrides: &'a Overrides, name: &str) -> Option<&'a str> {
    let default = KNOWN.iter().find(|known| known.0 == name)?.1;
    Some(overrides.get(name).map_or(default, String::as_str))
}

impl Settings {
    /// Reads the settings, defaults for those not given.
    pub(crate) fn parse(overrides: &Overrides) -> Result<Self, Invalid> {
        for (name, value) in overrides {
            let known = KNOWN
                .iter()
                .find(|known| known.0 == name)
                .ok_or_else(|| Invalid::Unknown(name.clone()))?;
            if !fits(known.2, value) {
                return Err(Invalid::Value {
                    name: name.clone(),
                    value: value.clone(),
                });
            }
        }
        let (delete, compact) = policies(overrides)?;
        let timestamps = match text(overrides, "message.timestamp.type") {
            "CreateTime" => Timestamps::Create,
            "LogAppendTime" => Timestamps::LogAppend,
            _ => return Err(invalid(overrides, "message.timestamp.type")),
        };
        let ratio = text(overrides, "min.cleanable.dirty.ratio")
            .parse()
            .unwrap_or(f64::NAN);
        if !(0.0..=1.0).contains(&ratio) {
            return Err(invalid(overrides, "min.cleanable.dirty.ratio"));
        }
        let unsigned =
            |name| u64::try_from(number(overrides, name, 0)?).map_err(|_| invalid(overrides, name));
        let optional = |name| number(overrides, name, -1).map(|n| (n >= 0).then_some(n));
        Ok(Self {
            delete,
            compact,
            retention_ms: optional("retention.ms")?,
            retention_bytes: optional("retention.bytes")?.map(i64::cast_unsigned),
            segment_bytes: number(overrides, "segment.bytes", 14)?
                .cast_unsigned()
                .min(u64::from(u32::MAX)),
            segment_ms: number(overrides, "segment.ms", 1)?,
            max_message_bytes: usize::try_from(unsigned("max.message.bytes")?)
                .unwrap_or(usize::MAX),
            min_dirty_ratio: ratio,
            delete_retention_ms: number(overrides, "delete.retention.ms", 0)?,
            timestamps,
        })
    }
}

fn fits(kind: Kind, value: &str) -> bool {
    match kind {
        Kind::Boolean => matches!(value, "true" | "false"),
        Kind::Int => value.parse::<i32>().is_ok(),
        Kind::Long => value.parse::<i64>().is_ok(),
        Kind::Double => value.parse::<f64>().is_ok(),
        Kind::String | Kind::List => true,
    }
}

fn text<'a>(overrides: &'a Overrides, name: &str) -> &'a str {
    value(overrides, name).unwrap_or_default()
}

fn invalid(overrides: &Overrides, name: &str) -> Invalid {
    Invalid::Value {
        name: name.to_owned(),
        value: text(overrides, name).to_owned(),
    }
}

fn number(overrides: &Overrides, name: &str, least: i64) -> Result<i64, Invalid> {
    text(overrides, name)
        .parse()
        .ok()
        .filter(|&n| n >= least)
        .ok_or_else(|| invalid(overrides, name))
}

fn policies(overrides: &Overrides) -> Result<(bool, bool), Invalid> {
    let (mut delete, mut compact) = (false, false);
    for policy in text(overrides, "cleanup.policy").split(',').map(str::trim) {
        match policy {
            "delete" => delete = true,
            "compact" => compact = true,
            _ => return Err(invalid(overrides, "cleanup.policy")),
        }
    }
    Ok((delete, compact))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Settings, Invalid> {
        Settings::parse(
            &pairs
                .iter()
                .map(|&(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
        )
    }

    #[test]
    fn defaults_are_kafkas() {
        let settings = parse(&[]).unwrap();
        assert_eq!((settings.delete, settings.compact), (true, false));
        assert_eq!(
            (settings.retention_ms, settings.retention_bytes),
            (Some(604_800_000), None)
        );
        assert_eq!(settings.max_message_bytes, 1_048_588);
    }

    #[test]
    fn given_values_are_read_and_wrong_ones_named() {
        let settings =
            parse(&[("cleanup.policy", "compact,delete"), ("retention.ms", "-1")]).unwrap();
        assert_eq!(
            (settings.delete, settings.compact, settings.retention_ms),
            (true, true, None)
        );
        assert_eq!(
            parse(&[("nonsense", "1")]),
            Err(Invalid::Unknown("nonsense".into()))
        );
        for (name, value) in [
            ("cleanup.policy", "shred"),
            ("segment.bytes", "13"),
            ("retention.ms", "-2"),
            ("max.message.bytes", "x"),
        ] {
            assert_eq!(
                parse(&[(name, value)]),
                Err(Invalid::Value {
                    name: name.into(),
                    value: value.into()
                })
            );
        }
    }
}
