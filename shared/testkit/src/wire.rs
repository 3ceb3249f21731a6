//! Raw Kafka requests over TCP: for faulty requests that a client would not send, and for responses that it would hide.

use crate::{Bootstrap, eventually};
use anyhow::{Context as _, Result, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        RequestHeader, ResponseHeader, TopicName,
        find_coordinator_request::FindCoordinatorRequest,
        metadata_request::{MetadataRequest, MetadataRequestTopic},
    },
    protocol::{Decodable as _, Encodable as _, HeaderVersion, Request, StrBytes},
};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

/// One connection; one request at a time.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    correlation: i32,
}

impl Connection {
    /// # Errors
    /// Nothing listens there.
    pub fn open(address: &str) -> Result<Self> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(40)))?;
        Ok(Self {
            stream,
            correlation: 0,
        })
    }

    /// Sends `request` at `version` and awaits its answer.
    ///
    /// # Errors
    /// The connection broke, the answer doesn't decode, or bytes of it are left over.
    pub fn call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        self.send(request, version)?;
        let mut answer = self.receive()?;
        let header = R::Response::header_version(version);
        let header = ResponseHeader::decode(&mut answer, header)?;
        ensure!(
            header.correlation_id == self.correlation,
            "answer to another request"
        );
        let response = R::Response::decode(&mut answer, version)?;
        ensure!(answer.is_empty(), "{} bytes after the answer", answer.len());
        Ok(response)
    }

    /// Sends without awaiting an answer.
    ///
    /// # Errors
    /// The request doesn't encode at `version`, or the connection broke.
    pub fn send<R: Request>(&mut self, request: &R, version: i16) -> Result<()> {
        self.correlation += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(StrBytes::from_static_str("testkit")));
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        header.encode(&mut frame, R::header_version(version))?;
        request.encode(&mut frame, version)?;
        let length = i32::try_from(frame.len() - 4)?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&frame)?;
        Ok(())
    }

    /// The next frame, without its length.
    ///
    /// # Errors
    /// The connection ended or stayed silent for 40 seconds.
    pub fn receive(&mut self) -> Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length))?];
        self.stream.read_exact(&mut frame)?;
        Ok(frame.into())
    }
}

/// The kind of a coordinator.
#[derive(Clone, Copy, Debug)]
pub enum Coordinates {
    Group,
    Transaction,
}

/// A connection to the leader of a partition. Waits until there is one, as for a new topic.
#[track_caller]
pub fn leader(bootstrap: &Bootstrap, topic: &str, partition: i32) -> Connection {
    let name = TopicName(StrBytes::from_string(topic.to_owned()));
    let asked = MetadataRequestTopic::default().with_name(Some(name));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![asked]))
        .with_allow_auto_topic_creation(false);
    eventually(&format!("a leader of {topic}/{partition}"), || {
        let answer = Connection::open(bootstrap.first())
            .and_then(|mut connection| connection.call(&request, 8))
            .ok()?;
        let found = answer.topics.first()?;
        let leader = found
            .partitions
            .iter()
            .find(|p| p.partition_index == partition && p.error_code == 0)?
            .leader_id;
        let broker = answer.brokers.iter().find(|b| b.node_id == leader)?;
        Connection::open(&format!("{}:{}", broker.host, broker.port)).ok()
    })
}

/// A connection to the coordinator of a group or a transactional id. Waits until there is one.
#[track_caller]
pub fn coordinator(bootstrap: &Bootstrap, of: Coordinates, key: &str) -> Connection {
    let request = FindCoordinatorRequest::default()
        .with_key(StrBytes::from_string(key.to_owned()))
        .with_key_type(match of {
            Coordinates::Group => 0,
            Coordinates::Transaction => 1,
        });
    eventually(&format!("a coordinator of {key}"), || {
        let answer = Connection::open(bootstrap.first())
            .and_then(|mut connection| connection.call(&request, 2))
            .ok()?;
        (answer.error_code == 0).then_some(())?;
        Connection::open(&format!("{}:{}", answer.host, answer.port)).ok()
    })
}
