//! W3C Trace Context, [level 1](https://www.w3.org/TR/trace-context/), in record headers. It is read strictly, and
//! written whether or not spans are exported. `opentelemetry_sdk`'s propagator is not used to read it: it accepts ids of any
//! length, and ids with a sign.

use bytes::Bytes;
use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState},
};
use sightline_contracts::Reason;
use std::fmt;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The longest `tracestate` that is passed on, in bytes: the length that the recommendation requires at least.
const LONGEST_STATE: usize = 512;

/// The trace that a record belongs to, and the span of the stage that processes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// 16 bytes, not all zero.
    pub trace_id: u128,
    /// The span of this stage, not zero.
    pub span_id: u64,
    /// The span of the stage before; none at the start of a trace.
    pub parent_id: Option<u64>,
    /// The trace flags; bit 0 is "sampled".
    pub flags: u8,
    /// Vendor state, passed on unchanged; none where it has more than 512 bytes.
    pub state: Option<Bytes>,
}

impl TraceContext {
    /// A new trace.
    pub fn root() -> Self {
        Self {
            trace_id: rand::random::<u128>().max(1),
            span_id: new_span_id(),
            parent_id: None,
            flags: 1,
            state: None,
        }
    }

    /// The context of a record with these headers: a child of its `traceparent`. A new trace without `tracestate` where
    /// there is no `traceparent` or it is not valid.
    pub fn from_headers(traceparent: Option<&[u8]>, tracestate: Option<&Bytes>) -> Self {
        match traceparent.and_then(parse) {
            None => Self::root(),
            Some((trace_id, parent, flags)) => Self {
                trace_id,
                span_id: new_span_id(),
                parent_id: Some(parent),
                flags,
                state: tracestate
                    .filter(|state| state.len() <= LONGEST_STATE)
                    .cloned(),
            },
        }
    }

    /// The `traceparent` that an output of this stage carries.
    pub fn traceparent(&self) -> String {
        let Self {
            trace_id,
            span_id,
            flags,
            ..
        } = self;
        format!("00-{trace_id:032x}-{span_id:016x}-{flags:02x}")
    }

    /// The same context with the ids of `span`, where that is exported.
    pub(crate) fn joined(self, span: &Span) -> Self {
        if let Some(parent) = self.parent_id {
            let remote = SpanContext::new(
                TraceId::from_bytes(self.trace_id.to_be_bytes()),
                SpanId::from_bytes(parent.to_be_bytes()),
                TraceFlags::new(self.flags),
                true,
                TraceState::default(),
            );
            // This fails where spans are not exported.
            drop(span.set_parent(Context::new().with_remote_span_context(remote)));
        }
        let context = span.context();
        let exported = context.span().span_context().clone();
        if !exported.is_valid() {
            return self;
        }
        Self {
            trace_id: u128::from_be_bytes(exported.trace_id().to_bytes()),
            span_id: u64::from_be_bytes(exported.span_id().to_bytes()),
            flags: exported.trace_flags().to_u8(),
            ..self
        }
    }

    pub(crate) fn trace_id_text(&self) -> impl fmt::Display + use<> {
        format!("{:032x}", self.trace_id)
    }
}

/// Sets the outcome of a committed record on its exported span.
pub(crate) fn committed(span: &Span, reason: Option<Reason>) {
    match reason {
        None => span.set_attribute("outcome", "done"),
        Some(reason) => {
            span.set_attribute("outcome", "rejected");
            span.set_status(Status::error(reason.as_str()));
        }
    }
}

fn new_span_id() -> u64 {
    rand::random::<u64>().max(1)
}

/// Trace id, parent id and flags; none where the text is not valid by the recommendation.
fn parse(text: &[u8]) -> Option<(u128, u64, u8)> {
    let text = std::str::from_utf8(text).ok()?;
    let version = text.get(0..2)?;
    let known = version == "00";
    if version == "ff" || !lower_hex(version) || (known && text.len() != 55) {
        return None;
    }
    // A later version may append further fields after another dash.
    if !known && text.len() > 55 && text.as_bytes()[55] != b'-' {
        return None;
    }
    let dash = |at: usize| text.as_bytes().get(at) == Some(&b'-');
    let (trace, parent, flags) = (text.get(3..35)?, text.get(36..52)?, text.get(53..55)?);
    let fields_fit = [trace, parent, flags].into_iter().all(lower_hex);
    if !(dash(2) && dash(35) && dash(52) && fields_fit) {
        return None;
    }
    let trace = u128::from_str_radix(trace, 16).ok()?;
    let parent = u64::from_str_radix(parent, 16).ok()?;
    let flags = u8::from_str_radix(flags, 16).ok()?;
    (trace != 0 && parent != 0).then_some((trace, parent, flags))
}

fn lower_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_child_keeps_the_trace_and_names_its_parent() {
        let state = Bytes::from_static(b"vendor=1");
        let context = TraceContext::from_headers(Some(GOOD.as_bytes()), Some(&state));
        assert_eq!(context.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(context.parent_id, Some(0x00f0_67aa_0ba9_02b7));
        assert_eq!(context.state, Some(state));
        let next = TraceContext::from_headers(Some(context.traceparent().as_bytes()), None);
        assert_eq!(next.trace_id, context.trace_id);
        assert_eq!(next.parent_id, Some(context.span_id));
    }

    #[test]
    fn what_breaks_the_rules_starts_a_new_trace_without_state() {
        let state = Bytes::from_static(b"vendor=1");
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            "00-+bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47é-00f067aa0ba902b7-01",
        ] {
            let context = TraceContext::from_headers(Some(bad.as_bytes()), Some(&state));
            assert_eq!(context.parent_id, None, "{bad}");
            assert_eq!(context.state, None, "{bad}");
        }
    }

    #[test]
    fn vendor_state_beyond_512_bytes_is_dropped() {
        let kept = |bytes| {
            let state = Bytes::from(vec![b'a'; bytes]);
            let context = TraceContext::from_headers(Some(GOOD.as_bytes()), Some(&state));
            (context.parent_id.is_some(), context.state.is_some())
        };
        assert_eq!(kept(512), (true, true));
        assert_eq!(kept(513), (true, false));
    }

    #[test]
    fn a_later_version_may_carry_more() {
        let later = format!("cc{}-extra", &GOOD[2..]);
        assert!(parse(later.as_bytes()).is_some());
    }
}
