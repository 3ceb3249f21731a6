//! From a page of S3's listing to [`Entry`].

use crate::{Entry, Error, Location, objects::bare};
use aws_sdk_s3::{
    operation::list_objects_v2::ListObjectsV2Output,
    primitives::DateTime,
    types::{EncodingType, Object as Listed},
};

/// The entries of one page, in its order. `at` is the bucket and the prefix, for errors.
pub(crate) fn entries(at: &Location, page: ListObjectsV2Output) -> Vec<Result<Entry, Error>> {
    let encoded = page.encoding_type == Some(EncodingType::Url);
    let entry = |listed: Listed| {
        let key = listed.key.unwrap_or_default();
        let key = if encoded {
            decode(&key).ok_or_else(|| {
                Error::invalid(at.clone(), format!("a listed key is badly encoded: {key}"))
            })?
        } else {
            key
        };
        Ok(Entry {
            key,
            size: size(listed.size),
            etag: bare(listed.e_tag.as_deref().unwrap_or_default()).to_owned(),
            last_modified_ms: millis(listed.last_modified.as_ref()),
        })
    };
    page.contents
        .unwrap_or_default()
        .into_iter()
        .map(entry)
        .collect()
}

/// Decodes a key that was listed with `encoding-type=url`: percent-encoded UTF-8 with `+` for a blank.
fn decode(key: &str) -> Option<String> {
    let mut out = Vec::with_capacity(key.len());
    let mut rest = key.bytes();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (high, low) = (rest.next()?, rest.next()?);
                let digit = |b: u8| char::from(b).to_digit(16);
                u8::try_from(digit(high)? * 16 + digit(low)?).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(out).ok()
}

pub(crate) fn size(length: Option<i64>) -> u64 {
    length.and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}

pub(crate) fn millis(time: Option<&DateTime>) -> Option<i64> {
    time.and_then(|time| time.to_millis().ok())
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn listed_keys_decode_once() {
        assert_eq!(
            decode("a+b%2F%C3%BC%2B1%252F.jpg").as_deref(),
            Some("a b/ü+1%2F.jpg")
        );
        assert_eq!(decode("%zz"), None);
        assert_eq!(decode("%2"), None);
        assert_eq!(decode("%FF"), None);
    }
}
