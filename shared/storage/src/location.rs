//! A bucket and a key, or a bucket and a prefix.

use crate::Error;
use std::fmt;

/// The longest key that S3 allows, in bytes of UTF-8.
const MAX_KEY_BYTES: usize = 1024;
/// AWS allows 63 for new buckets; older buckets and other servers have up to 255.
const MAX_BUCKET_BYTES: usize = 255;

/// The bucket and key of an object; an empty key stands for the bucket itself. Displayed as `s3://bucket/key`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Location {
    /// The bucket's name.
    pub bucket: String,
    /// The object's key, not encoded, or the prefix of a listing.
    pub key: String,
}

impl Location {
    /// The location as given; names are checked when it is used.
    pub fn new(bucket: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            key: key.into(),
        }
    }

    /// Parses `s3://bucket`, `s3://bucket/` or `s3://bucket/key`; the key is not decoded. `None` for anything else.
    pub fn parse(url: &str) -> Option<Self> {
        let rest = url.strip_prefix("s3://")?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let found = Self::new(bucket, key);
        found.check_bucket().is_ok().then_some(found)
    }

    /// Allows plain names only: the SDK would take an ARN or a URL in the place of a bucket for another endpoint.
    pub(crate) fn check_bucket(&self) -> Result<(), Error> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        let bucket = self.bucket.as_bytes();
        if bucket.is_empty()
            || bucket.len() > MAX_BUCKET_BYTES
            || bucket[0] == b'.'
            || !bucket.iter().copied().all(plain)
        {
            return Err(Error::invalid(self.clone(), "not a bucket name"));
        }
        Ok(())
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        self.check_bucket()?;
        if self.key.is_empty() || self.key.len() > MAX_KEY_BYTES {
            return Err(Error::invalid(
                self.clone(),
                format!("a key has 1 to {MAX_KEY_BYTES} bytes"),
            ));
        }
        Ok(())
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Escaped, so that no control characters reach logs and terminals.
        write!(
            f,
            "s3://{}/{}",
            self.bucket.escape_debug(),
            self.key.escape_debug()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        assert_eq!(
            Location::parse("s3://b/a b/%2F+ü.jpg"),
            Some(Location::new("b", "a b/%2F+ü.jpg"))
        );
        assert_eq!(Location::parse("s3://b"), Some(Location::new("b", "")));
        assert_eq!(Location::parse("s3://b/"), Some(Location::new("b", "")));
        assert_eq!(Location::parse("s3:///k"), None);
        assert_eq!(Location::parse("/b/k"), None);
    }

    #[test]
    fn a_bucket_is_never_an_arn_or_a_path() {
        for bucket in ["arn:aws:s3:::b", "..", "a/b", "", "a b", "ü", ".hidden"] {
            assert!(Location::new(bucket, "k").check().is_err(), "{bucket}");
        }
        assert!(Location::new("my_Bucket.1-x", "k").check().is_ok());
    }

    #[test]
    fn keys_have_1_to_1024_bytes() {
        assert!(Location::new("b", "").check().is_err());
        assert!(Location::new("b", "ü".repeat(512)).check().is_ok());
        assert!(Location::new("b", "ü".repeat(513)).check().is_err());
    }
}
