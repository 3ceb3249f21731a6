//! Record headers, and how they are read from a message of the client library.

use bytes::Bytes;
use rdkafka::message;
use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

/// Record headers in their order in the record. A name may occur more than once, a value may be null.
///
/// Kafka's protocol says that names are UTF-8, and no broker checks it. The Rust binding of librdkafka can't read a
/// header with another name; such a header is left out and [counted](Self::dropped).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    all: Vec<(String, Option<Bytes>)>,
    dropped: usize,
}

impl Headers {
    /// Copies of a message's headers.
    pub(crate) fn read(from: &impl message::Headers) -> Self {
        let mut read = Self::default();
        for place in 0..from.count() {
            // The binding panics at a name that is not UTF-8, and has no other call that reads a header.
            match silently(|| from.get(place)) {
                Some(header) => read.push(header.key, header.value.map(Bytes::copy_from_slice)),
                None => read.dropped += 1,
            }
        }
        read
    }

    /// The last value under this name, as Kafka's Java client reads it; none where there is none or it is null.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.iter()
            .filter(|(n, _)| *n == name)
            .last()
            .and_then(|(_, value)| value)
    }

    /// The last value under this name; none where there is none, it is null or not UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// Adds a header after the others.
    pub fn push(&mut self, name: impl Into<String>, value: Option<Bytes>) {
        self.all.push((name.into(), value));
    }

    /// Names and values, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&Bytes>)> {
        self.all.iter().map(|(n, v)| (n.as_str(), v.as_ref()))
    }

    /// How many headers there are, without those that are [left out](Self::dropped).
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many headers of the message are left out, because their names are not UTF-8.
    pub fn dropped(&self) -> usize {
        self.dropped
    }
}

impl FromIterator<(String, Option<Bytes>)> for Headers {
    fn from_iter<I: IntoIterator<Item = (String, Option<Bytes>)>>(pairs: I) -> Self {
        Self {
            all: pairs.into_iter().collect(),
            dropped: 0,
        }
    }
}

#[cfg(not(panic = "unwind"))]
compile_error!(
    "the loop outlives panics of stages and of the binding: build with panic = \"unwind\""
);

thread_local! {
    /// Whether a panic of this thread is expected and must not be printed.
    static SILENT: Cell<bool> = const { Cell::new(false) };
}

/// The result of the call, or none where it panics. The panic is not printed.
fn silently<T>(call: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !SILENT.get() {
                usual(panic);
            }
        }));
    });
    SILENT.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    SILENT.set(false);
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::message::{Header, OwnedHeaders};

    /// Panics at one header, as the binding does where the name is not UTF-8.
    struct Unreadable {
        headers: OwnedHeaders,
        place: usize,
    }

    impl message::Headers for Unreadable {
        fn count(&self) -> usize {
            self.headers.count()
        }

        fn try_get(&self, place: usize) -> Option<Header<'_, &[u8]>> {
            assert_ne!(place, self.place, "not UTF-8");
            self.headers.try_get(place)
        }
    }

    #[test]
    fn a_header_that_can_not_be_read_is_left_out_and_counted() {
        let header = |key, value| Header { key, value };
        let headers = OwnedHeaders::new()
            .insert(header("a", Some("1")))
            .insert(header("b", Some("2")))
            .insert(header("c", None));
        let read = Headers::read(&Unreadable { headers, place: 1 });
        let names: Vec<_> = read.iter().map(|(name, _)| name).collect();
        assert_eq!((names, read.dropped()), (vec!["a", "c"], 1));
        assert_eq!((read.text("a"), read.get("c")), (Some("1"), None));
    }
}
