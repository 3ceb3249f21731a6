//! Prints dead letters. Their bytes are untrusted, so control characters are escaped.

use super::place_of;
use crate::terminal;
use bytes::Bytes;
use comfy_table::{Table, presets};
use serde_json::json;
use sightline_contracts::Reason;
use sightline_stream::{Place, admin::DeadLetter};

/// A dead letter's key, headers and value, for a person.
pub(crate) fn shown(letter: &DeadLetter) -> String {
    let record = &letter.record;
    let mut lines = vec![format!("key: {}", text(record.key.as_ref()))];
    for (name, value) in record.headers.iter() {
        lines.push(format!("{}: {}", terminal::line(name), text(value)));
    }
    if record.headers.dropped() > 0 {
        let dropped = record.headers.dropped();
        lines.push(format!("{dropped} headers with names that are not UTF-8"));
    }
    lines.push(String::new());
    let value = record.value.as_deref().unwrap_or_default();
    lines.push(match (letter.value_dropped, std::str::from_utf8(value)) {
        (Some(bytes), _) => value_dropped(letter, bytes),
        (None, Ok(value)) => terminal::block(value),
        (None, Err(_)) => format!("{} bytes that are no text; --raw writes them", value.len()),
    });
    lines.join("\n")
}

/// Says where the original of a dead letter without its value is.
pub(crate) fn value_dropped(letter: &DeadLetter, bytes: u64) -> String {
    let Place { partition, offset } = place_of(letter);
    format!(
        "dead letter {partition}/{offset} came without its value: {bytes} bytes are more than its topic takes; the original \
         stands at {} for as long as that topic keeps it",
        source(letter)
    )
}

/// Whether these bytes are text without control characters.
pub(crate) fn plain(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok_and(|text| terminal::block(text) == text)
}

/// Bytes as text on one line, `-` if there are none.
fn text(bytes: Option<&Bytes>) -> String {
    bytes.map_or("-".to_owned(), |bytes| {
        terminal::line(&String::from_utf8_lossy(bytes))
    })
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or("-".to_owned(), |value| terminal::line(&value.to_string()))
}

fn source(letter: &DeadLetter) -> String {
    let (topic, partition) = (
        or_dash(letter.source_topic.as_ref()),
        or_dash(letter.source_partition),
    );
    format!("{topic}/{partition}/{}", or_dash(letter.source_offset))
}

/// Dead letters as a table, for a person.
pub(crate) fn table(letters: &[DeadLetter]) -> Table {
    let mut table = Table::new();
    let columns = [
        "place", "stage", "reason", "attempts", "source", "key", "error",
    ];
    table.load_preset(presets::NOTHING).set_header(columns);
    for letter in letters {
        let Place { partition, offset } = place_of(letter);
        let error = letter.error.as_ref();
        table.add_row([
            format!("{partition}/{offset}"),
            or_dash(letter.stage.as_ref()),
            or_dash(letter.reason),
            or_dash(letter.attempts),
            source(letter),
            text(letter.record.key.as_ref()),
            match letter.value_dropped {
                Some(bytes) => format!("{} ({bytes} bytes of value dropped)", or_dash(error)),
                None => or_dash(error),
            },
        ]);
    }
    table
}

/// A dead letter as JSON, without its value.
pub(crate) fn object(letter: &DeadLetter) -> serde_json::Value {
    json!({
        "partition": letter.record.partition,
        "offset": letter.record.offset,
        "timestamp_ms": letter.record.timestamp_ms,
        "stage": letter.stage,
        "reason": letter.reason.map(Reason::as_str),
        "attempts": letter.attempts,
        "source_topic": letter.source_topic,
        "source_partition": letter.source_partition,
        "source_offset": letter.source_offset,
        "key": letter.record.key.as_ref().map(|key| String::from_utf8_lossy(key)),
        "error": letter.error,
        "bytes": letter.record.value.as_ref().map_or(0, Bytes::len),
        "value_dropped": letter.value_dropped,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_contracts::{Topic, headers};
    use sightline_stream::Record;

    fn letter(value: Option<&'static str>, all: &[(&str, &'static str)]) -> DeadLetter {
        let value = value.map(Bytes::from);
        let mut record = Record::new(Topic::DeadLetters, Some("k\u{1b}[2J".into()), value);
        for (name, value) in all {
            record.headers.push(*name, Some((*value).into()));
        }
        DeadLetter::from(record)
    }

    const SOURCE: [(&str, &str); 3] = [
        (headers::SOURCE_TOPIC, "ingest"),
        (headers::SOURCE_PARTITION, "0"),
        (headers::SOURCE_OFFSET, "5"),
    ];

    #[test]
    fn control_characters_are_escaped() {
        let hostile = "\u{1b}]0;owned\u{7}\n\u{9b}31m\u{202e}";
        let letter = letter(
            Some(hostile),
            &[("\u{1b}[1m", hostile), (headers::ERROR, hostile)],
        );
        let all = [
            shown(&letter),
            table(std::slice::from_ref(&letter)).to_string(),
            terminal::json(&object(&letter)),
        ];
        for text in all {
            assert!(text.contains("owned"), "{text:?}");
            assert!(
                !text.chars().any(|c| terminal::acts(c) && c != '\n'),
                "{text:?}"
            );
        }
        assert!(!plain(hostile.as_bytes()) && !plain(b"\xff") && plain("{\n\t\"ü\"}".as_bytes()));
    }

    #[test]
    fn a_dead_letter_without_its_value_says_where_the_original_is() {
        let all = [&SOURCE[..], &[(headers::VALUE_DROPPED, "12582912")]].concat();
        let letter = letter(None, &all);
        let listed = table(std::slice::from_ref(&letter)).to_string();
        for text in [shown(&letter), listed] {
            assert!(
                text.contains("12582912") && text.contains("ingest/0/5"),
                "{text}"
            );
        }
    }
}
