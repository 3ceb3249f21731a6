//! From a request that makes an object to the object's [`Properties`](crate::record::Properties).

use s3s::dto::{Timestamp, TimestampFormat};

/// The properties of the object that a request's input makes. A macro, because s3s has a type for the input of each
/// such request: they have these fields in common, but no trait.
macro_rules! properties {
    ($input:ident) => {
        $crate::record::Properties {
            content_type: $input.content_type,
            content_encoding: $input
                .content_encoding
                .as_deref()
                .and_then($crate::api::properties::own_encoding),
            content_disposition: $input.content_disposition,
            content_language: $input.content_language,
            cache_control: $input.cache_control,
            expires_ms: $input
                .expires
                .and_then($crate::api::properties::milliseconds),
            metadata: $input.metadata.unwrap_or_default().into_iter().collect(),
        }
    };
}

pub(crate) use properties;

/// The object's own encoding: `aws-chunked` is only the encoding of the request.
pub(crate) fn own_encoding(sent: &str) -> Option<String> {
    let own = sent.split(',').map(str::trim);
    let own: Vec<_> = own
        .filter(|one| !one.is_empty() && !one.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!own.is_empty()).then(|| own.join(","))
}

/// Milliseconds since the Unix epoch.
pub(crate) fn milliseconds(time: Timestamp) -> Option<i64> {
    let mut text = Vec::new();
    time.format(TimestampFormat::EpochSeconds, &mut text).ok()?;
    let seconds: f64 = std::str::from_utf8(&text).ok()?.parse().ok()?;
    Some((seconds * 1000.0) as i64)
}
