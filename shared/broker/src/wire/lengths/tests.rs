//! The decoders are held to what the survey takes them for: whatever they read, in every version served.

use super::*;
use crate::{
    api::versions::SERVED,
    wire::check::{Typed, typed},
};
use bytes::{BufMut, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, JoinGroupRequest, MetadataRequest, OffsetCommitRequest, ProduceRequest, TopicName,
    },
    protocol::{Encodable, StrBytes},
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::fmt::Debug;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Number,
    /// A byte of a varint, or a boolean.
    Short,
    /// And by how much the number before it is more than its length.
    Slice(usize),
    Other,
}

/// A read of the decoder, and the bytes that it was given.
#[derive(Clone)]
struct Read(Kind, Bytes);

/// A buffer that makes up whatever it is asked for, so that what a decoder takes of it is a valid request; or gives again
/// what another made up, and fails where it is asked for anything else.
struct Dream {
    random: SmallRng,
    reads: Vec<Read>,
    /// What is given again, last first.
    again: Option<Vec<Read>>,
}

impl Dream {
    fn of(seed: u64) -> Self {
        Self {
            random: SmallRng::seed_from_u64(seed),
            reads: Vec::new(),
            again: None,
        }
    }

    /// Whether a decoder reads all of `reads` and nothing else; what it makes of them.
    fn again<T: Decodable>(version: i16, mut reads: Vec<Read>) -> Option<T> {
        reads.reverse();
        let mut dream = Self::of(0);
        dream.again = Some(reads);
        let decoded = T::decode(&mut dream, version).ok();
        decoded.filter(|_| dream.again.is_some_and(|left| left.is_empty()))
    }

    fn give<const N: usize>(&mut self, kind: Kind, new: [u8; N]) -> Result<[u8; N], TryGetError> {
        let bytes = self.read(kind, Bytes::copy_from_slice(&new));
        let bytes = bytes.and_then(|b| b[..].try_into().ok());
        bytes.ok_or(TryGetError {
            requested: N,
            available: 0,
        })
    }

    fn read(&mut self, kind: Kind, new: Bytes) -> Option<Bytes> {
        if let Some(again) = &mut self.again {
            let next = again.pop()?;
            return (next.0 == kind && next.1.len() == new.len()).then_some(next.1);
        }
        self.reads.push(Read(kind, new.clone()));
        Some(new)
    }

    fn small(&mut self) -> u8 {
        [0, 1, 1, 1, 2, 2, 3][self.random.random_range(0..7)]
    }
}

impl Buf for Dream {
    fn remaining(&self) -> usize {
        usize::MAX
    }
    fn chunk(&self) -> &[u8] {
        unimplemented!("each read is overridden")
    }
    fn advance(&mut self, _: usize) {
        unimplemented!("each read is overridden")
    }
    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        let new = [self.small()];
        self.give(Kind::Short, new).map(u8::from_be_bytes)
    }
    fn try_get_i8(&mut self) -> Result<i8, TryGetError> {
        let new: i8 = self.random.random();
        let given = self.give(Kind::Other, new.to_be_bytes());
        given.map(i8::from_be_bytes)
    }
    fn try_get_i16(&mut self) -> Result<i16, TryGetError> {
        let new = i16::from(self.small());
        let given = self.give(Kind::Other, new.to_be_bytes());
        given.map(i16::from_be_bytes)
    }
    fn try_get_i32(&mut self) -> Result<i32, TryGetError> {
        let new = i32::from(self.small()) - i32::from(self.random.random_ratio(1, 10));
        let given = self.give(Kind::Number, new.to_be_bytes());
        given.map(i32::from_be_bytes)
    }
    fn try_get_i64(&mut self) -> Result<i64, TryGetError> {
        let new: i64 = self.random.random();
        let given = self.give(Kind::Other, new.to_be_bytes());
        given.map(i64::from_be_bytes)
    }
    fn try_copy_to_slice(&mut self, to: &mut [u8]) -> Result<(), TryGetError> {
        // Only UUIDs are read so.
        to.copy_from_slice(&self.give(Kind::Other, [5; 16])?);
        Ok(())
    }
}

impl ByteBuf for Dream {
    fn peek_bytes(&mut self, _: std::ops::Range<usize>) -> Bytes {
        unimplemented!("no decoder of a request looks ahead")
    }
    fn get_bytes(&mut self, _: usize) -> Bytes {
        unimplemented!("decoders ask whether there are as many")
    }
    fn try_get_bytes(&mut self, size: usize) -> Result<Bytes, NotEnoughBytesError> {
        let more = match self.reads.last() {
            Some(Read(Kind::Short, told)) => usize::from(told[0]) - size,
            _ => 0,
        };
        let kind = match self.again.as_deref() {
            Some([.., Read(kind @ Kind::Slice(_), _)]) => *kind,
            _ => Kind::Slice(more),
        };
        let new = Bytes::from(vec![b'a'; size]);
        self.read(kind, new).ok_or(NotEnoughBytesError)
    }
}

fn put_varint(out: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn written(reads: &[Read]) -> Bytes {
    let parts: Vec<&[u8]> = reads.iter().map(|r| &r.1[..]).collect();
    parts.concat().into()
}

/// `reads` with other bytes given for one of them.
fn with(reads: &[Read], at: usize, bytes: &[u8]) -> Vec<Read> {
    let mut changed = reads.to_vec();
    changed[at].1 = Bytes::copy_from_slice(bytes);
    changed
}

/// The same request with every slice grown to `size` bytes.
fn grown(reads: &[Read], size: usize) -> Bytes {
    let mut out = BytesMut::new();
    for (at, read) in reads.iter().enumerate() {
        match (read.0, reads.get(at + 1).map(|r| r.0)) {
            (Kind::Slice(_), _) => out.put_bytes(b'b', size),
            (Kind::Short, Some(Kind::Slice(more))) => put_varint(&mut out, size + more),
            (Kind::Number, Some(Kind::Slice(_))) => out.put_i32(i32::try_from(size).unwrap()),
            (_, Some(Kind::Slice(_))) => out.put_i16(i16::try_from(size).unwrap()),
            _ => out.put_slice(&read.1),
        }
    }
    out.freeze()
}

/// Decodes, as `T`, the requests that some seeds give; how many there were.
struct Dreams(i16);

impl Typed for Dreams {
    type Out = usize;

    fn with<T: Decodable + PartialEq + Debug>(self) -> usize {
        let valid = (0..200).filter_map(|seed| {
            let mut dream = Dream::of(seed);
            // Else a string is null that may not be, or a tag is none of this version.
            T::decode(&mut dream, self.0).ok()?;
            Some(dream.reads)
        });
        valid.map(|reads| show::<T>(self.0, reads)).count()
    }
}

fn show<T: Decodable + PartialEq + Debug>(version: i16, reads: Vec<Read>) {
    let few = Limits {
        elements: 3,
        reads: 100_000,
    };
    let expected: T = Dream::again(version, reads.clone()).unwrap();
    let body = written(&reads);
    assert_eq!(decode::<T>(&body, version).unwrap(), expected);
    assert_eq!(decode_within::<T>(few, &body, version).unwrap(), expected);
    // Slices may be longer than arrays.
    let body = grown(&reads, 200);
    let longer = T::decode(&mut body.clone(), version).unwrap();
    assert_eq!(decode_within::<T>(few, &body, version).unwrap(), longer);
    for (at, read) in reads.iter().enumerate() {
        match read.0 {
            Kind::Number => {
                // No length, if and only if nothing is missing where it says more than all there is.
                let more = i32::try_from(reads.len() + 1).unwrap();
                let changed = with(&reads, at, &more.to_be_bytes());
                let is_length = Dream::again::<T>(version, changed).is_none();
                let body = written(&with(&reads, at, &i32::MAX.to_be_bytes()));
                let outcome = decode::<T>(&body, version);
                assert_eq!(outcome.is_err(), is_length, "read {at} of {expected:?}");
                if let Ok(decoded) = outcome {
                    assert_eq!(decoded, T::decode(&mut body.clone(), version).unwrap());
                }
            }
            Kind::Short => {
                let body = written(&with(&reads, at, &[0xff, 0xff, 0xff, 0xff, 0x0f]));
                assert!(decode::<T>(&body, version).is_err());
            }
            Kind::Slice(_) | Kind::Other => {}
        }
    }
}

#[test]
fn every_valid_request_of_every_version_decodes_and_no_length_is_believed() {
    for &(api, least, greatest) in SERVED {
        for version in least..=greatest {
            let valid = typed(api, Dreams(version)).unwrap();
            assert!(valid >= 10, "{valid} valid requests of {api:?} {version}");
        }
    }
}

#[test]
fn a_request_of_large_records_decodes_in_every_version() {
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    let records = Bytes::from(vec![7; 3 * LIMITS.elements]);
    let partitions = (0..4).map(|i| {
        PartitionProduceData::default()
            .with_index(i)
            .with_records((i != 2).then(|| records.clone()))
    });
    let topic = TopicProduceData::default().with_partition_data(partitions.collect());
    let request = ProduceRequest::default()
        .with_timeout_ms(i32::MAX)
        .with_topic_data(vec![topic]);
    for version in 3..=11 {
        let mut body = BytesMut::new();
        request.encode(&mut body, version).unwrap();
        let body = body.freeze();
        assert_eq!(decode::<ProduceRequest>(&body, version).unwrap(), request);
        let cut = body.slice(..body.len() - 1);
        assert!(decode::<ProduceRequest>(&cut, version).is_err());
    }
}

#[test]
fn a_length_after_large_numbers_is_still_found() {
    // JoinGroup 1: group, session and rebalance timeouts, member, protocol type; then the array.
    let mut body = BytesMut::new();
    body.put_slice(&[0, 1, b'g']);
    body.put_i32(i32::MAX);
    body.put_i32(i32::MAX);
    body.put_slice(&[0, 0, 0, 0]);
    let good = [&body[..], &[0, 0, 0, 0]].concat();
    assert!(decode::<JoinGroupRequest>(&good.into(), 1).is_ok());
    body.put_i32(i32::MAX);
    let error = decode::<JoinGroupRequest>(&body.freeze(), 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a length of 2147483647 where 0 bytes are left, or of more elements than an array may have"
    );
}

#[test]
fn an_array_of_more_elements_than_it_may_have_is_refused_whole_as_it_is() {
    for (version, length) in [(0, &[0, 1, 0x86, 0xa1][..]), (9, &[0xa2, 0x8d, 6])] {
        // 100,001 topics of two empty bytes of name, and of tags.
        let body = [length, &vec![0; 400_000]].concat();
        let error = decode::<MetadataRequest>(&body.into(), version).unwrap_err();
        assert!(error.to_string().contains("more elements"), "{error}");
    }
}

#[test]
fn a_request_of_more_fields_than_it_may_have_is_refused() {
    use kafka_protocol::messages::offset_commit_request::{
        OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    };
    let partition = OffsetCommitRequestPartition::default();
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(StrBytes::from_static_str("t")))
        .with_partitions(vec![partition; 1000]);
    let request = |topics| OffsetCommitRequest::default().with_topics(vec![topic.clone(); topics]);
    for version in 6..=9 {
        for (topics, taken) in [(150, true), (400, false)] {
            let mut body = BytesMut::new();
            request(topics).encode(&mut body, version).unwrap();
            let outcome = decode::<OffsetCommitRequest>(&body.freeze(), version);
            assert_eq!(outcome.is_ok(), taken, "{topics} topics in {version}");
        }
    }
}

#[test]
fn every_request_served_has_its_type() {
    struct Name;
    impl Typed for Name {
        type Out = &'static str;
        fn with<T: Decodable + PartialEq + Debug>(self) -> &'static str {
            std::any::type_name::<T>()
        }
    }
    for &(api, _, _) in SERVED {
        let name = typed(api, Name).unwrap();
        assert!(
            name.ends_with(&format!("::{api:?}Request")),
            "{api:?}: {name}"
        );
    }
    assert!(typed(ApiKey::Vote, Name).is_none());
}
