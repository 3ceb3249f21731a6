//! The records that a transaction writes for a stage's outcome.

use super::refused::LeftOut;
use crate::{Headers, LoopSettings, Output, Record, Rejection, TraceContext};
use bytes::Bytes;
use sightline_contracts::{Reason, Topic, headers};
use std::time::Instant;
use tracing::Span;

/// A record to write, with the topic's full name and all headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Writing {
    pub topic: String,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Headers,
}

impl Writing {
    pub fn size(&self) -> usize {
        let part = |bytes: Option<&Bytes>| bytes.map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(|(n, v)| n.len() + part(v)).sum();
        part(self.key.as_ref()) + part(self.value.as_ref()) + headers
    }
}

/// A record that is processed or rejected, and what the transaction writes for it.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The partition it was read from.
    pub partition: i32,
    pub offset: i64,
    pub writings: Vec<Writing>,
    /// Set where it is a dead letter.
    pub reason: Option<Reason>,
    pub received: Instant,
    pub notified_ms: Option<i64>,
    /// The record's span, which ends with the transaction.
    pub span: Span,
}

impl Resolved {
    /// Partition and offset.
    pub fn place(&self) -> (i32, i64) {
        (self.partition, self.offset)
    }

    pub fn size(&self) -> usize {
        self.writings.iter().map(Writing::size).sum()
    }
}

/// Makes the records of one service.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    pub service: &'static str,
    pub prefix: String,
}

impl Writer {
    pub fn new(service: &'static str, settings: &LoopSettings) -> Self {
        let prefix = settings.topic_prefix.clone();
        Self { service, prefix }
    }

    pub fn done(&self, record: &Record, outputs: Vec<Output>, received: Instant) -> Resolved {
        let notified_ms = outputs.iter().filter_map(|o| o.notified_ms).min();
        let writings = outputs
            .into_iter()
            .map(|output| self.output(output, &record.trace))
            .collect();
        Resolved {
            partition: record.partition,
            offset: record.offset,
            writings,
            reason: None,
            received,
            notified_ms,
            span: record.span.clone(),
        }
    }

    fn output(&self, output: Output, trace: &TraceContext) -> Writing {
        let mut all: Headers = output
            .headers
            .into_iter()
            .map(|(name, value)| (name, Some(value)))
            .collect();
        push_trace(&mut all, trace);
        Writing {
            topic: format!("{}{}", self.prefix, output.topic),
            key: output.key,
            value: output.value,
            headers: all,
        }
    }

    /// A dead letter: the original's bytes and headers, save what is left out for its size, and headers that say why.
    pub fn dead_letter(
        &self,
        record: &Record,
        why: &Rejection,
        left_out: LeftOut,
        received: Instant,
    ) -> Resolved {
        let whole = left_out == LeftOut::Nothing;
        let kept = left_out != LeftOut::Everything;
        let (mut all, dropped) = originals(&record.headers, kept);
        push_trace(&mut all, &record.trace);
        for (name, value) in [
            (headers::STAGE, self.service.to_owned()),
            (headers::REASON, why.reason.as_str().to_owned()),
            (headers::ATTEMPTS, record.attempt.to_string()),
            (headers::SOURCE_TOPIC, record.topic.clone()),
            (headers::SOURCE_PARTITION, record.partition.to_string()),
            (headers::SOURCE_OFFSET, record.offset.to_string()),
            (headers::ERROR, shortened(&why.error)),
        ] {
            all.push(name, Some(value.into()));
        }
        let bytes = |part: &Option<Bytes>| part.as_ref().map(Bytes::len);
        for (name, number) in [
            (
                headers::VALUE_DROPPED,
                bytes(&record.value).filter(|_| !whole),
            ),
            (headers::KEY_DROPPED, bytes(&record.key).filter(|_| !kept)),
            (headers::HEADERS_DROPPED, Some(dropped).filter(|&n| n > 0)),
        ] {
            if let Some(number) = number {
                all.push(name, Some(number.to_string().into()));
            }
        }
        Resolved {
            partition: record.partition,
            offset: record.offset,
            writings: vec![Writing {
                topic: format!("{}{}", self.prefix, Topic::DeadLetters.name()),
                key: record.key.clone().filter(|_| kept),
                value: record.value.clone().filter(|_| whole),
                headers: all,
            }],
            reason: Some(why.reason),
            received,
            notified_ms: None,
            span: record.span.clone(),
        }
    }
}

/// The original's headers that a dead letter keeps, and how many it leaves out. Headers that are written anew for a
/// dead letter count as neither.
fn originals(original: &Headers, kept: bool) -> (Headers, usize) {
    let ours = |name: &str| {
        headers::describes_dead_letter(name)
            || [headers::TRACEPARENT, headers::TRACESTATE].contains(&name)
    };
    let theirs = original
        .iter()
        .filter(|(name, _)| !ours(name) || *name == headers::REPLAYED_FROM)
        .map(|(name, value)| (name.to_owned(), value.cloned()));
    if kept {
        (theirs.collect(), original.dropped())
    } else {
        (Headers::default(), original.dropped() + theirs.count())
    }
}

fn push_trace(all: &mut Headers, trace: &TraceContext) {
    all.push(headers::TRACEPARENT, Some(trace.traceparent().into()));
    if let Some(state) = &trace.state {
        all.push(headers::TRACESTATE, Some(state.clone()));
    }
}

/// An error text of any length, cut to 4096 bytes.
fn shortened(error: &str) -> String {
    const LONGEST: usize = 4096;
    let end = error.floor_char_boundary(LONGEST);
    if error.len() > end {
        format!("{}…", &error[..end])
    } else {
        error.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer() -> Writer {
        Writer {
            service: "infer",
            prefix: "t-".into(),
        }
    }

    fn record() -> Record {
        let mut record = Record::new(Topic::Tensors, Some("k".into()), Some("v".into()));
        record.partition = 2;
        record.offset = 41;
        record.attempt = 3;
        record.headers.push("mine", None);
        record
            .headers
            .push(headers::TRACEPARENT, Some("stale".into()));
        record
    }

    #[test]
    fn an_output_carries_the_trace_and_the_prefix() {
        let mut output = Output::new(Topic::Predictions, Some("k".into()), "p");
        output.headers.push(("h".into(), "1".into()));
        let record = record();
        let done = writer().done(&record, vec![output.notified_at(5)], Instant::now());
        let writing = &done.writings[0];
        assert_eq!(writing.topic, "t-predictions");
        assert_eq!(writing.headers.text("h"), Some("1"));
        assert_eq!(
            writing.headers.text(headers::TRACEPARENT),
            Some(record.trace.traceparent().as_str())
        );
        assert_eq!(done.notified_ms, Some(5));
    }

    #[test]
    fn a_dead_letter_keeps_the_original_and_says_why() {
        let why = Rejection {
            reason: Reason::WrongShape,
            error: "é".repeat(5000),
        };
        let letter = writer().dead_letter(&record(), &why, LeftOut::Nothing, Instant::now());
        let writing = &letter.writings[0];
        assert_eq!(writing.topic, "t-dead-letters");
        assert_eq!(writing.value.as_deref(), Some(&b"v"[..]));
        let header = |name| writing.headers.text(name);
        assert!(
            writing
                .headers
                .iter()
                .any(|(n, v)| n == "mine" && v.is_none())
        );
        assert_eq!(header(headers::REASON), Some("wrong-shape"));
        assert_eq!(header(headers::STAGE), Some("infer"));
        assert_eq!(header(headers::ATTEMPTS), Some("3"));
        assert_eq!(header(headers::SOURCE_TOPIC), Some("tensors"));
        assert_eq!(header(headers::SOURCE_OFFSET), Some("41"));
        assert_eq!(header(headers::ERROR).map(str::len), Some(4099));
        let traces = writing
            .headers
            .iter()
            .filter(|(n, _)| *n == headers::TRACEPARENT);
        assert_eq!(traces.count(), 1);
    }

    #[test]
    fn a_dead_letter_says_what_it_leaves_out() {
        let why = Rejection {
            reason: Reason::Malformed,
            error: "e".into(),
        };
        let left = |left_out| {
            let letter = writer().dead_letter(&record(), &why, left_out, Instant::now());
            let Writing {
                key,
                value,
                headers: all,
                ..
            } = letter.writings[0].clone();
            let said = [
                headers::VALUE_DROPPED,
                headers::KEY_DROPPED,
                headers::HEADERS_DROPPED,
            ]
            .map(|name| all.text(name).map(str::to_owned));
            let mine = all.iter().any(|(name, _)| name == "mine");
            (key.is_some(), value.is_some(), mine, said)
        };
        let one = || Some("1".to_owned());
        assert_eq!(
            left(LeftOut::Nothing),
            (true, true, true, [None, None, None])
        );
        assert_eq!(
            left(LeftOut::Value),
            (true, false, true, [one(), None, None])
        );
        assert_eq!(
            left(LeftOut::Everything),
            (false, false, false, [one(), one(), one()])
        );
    }
}
