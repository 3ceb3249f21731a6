//! Deserializes a list of records up to a limit.

use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use std::fmt;

/// The records of a message, each as its own JSON.
#[derive(Debug)]
pub(crate) enum Records {
    /// At most as many as the limit.
    Few(Vec<Box<RawValue>>),
    /// More than the limit; none is kept.
    TooMany,
}

/// Deserializes a list with at most this many records.
#[derive(Clone, Copy)]
pub(crate) struct AtMost(pub(crate) usize);

impl<'de> DeserializeSeed<'de> for AtMost {
    type Value = Records;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Records, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for AtMost {
    type Value = Records;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Records, A::Error> {
        let mut records = Vec::new();
        while records.len() < self.0 {
            match list.next_element()? {
                Some(record) => records.push(record),
                None => return Ok(Records::Few(records)),
            }
        }
        if list.next_element::<IgnoredAny>()?.is_none() {
            return Ok(Records::Few(records));
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Records::TooMany)
    }
}
