//! Decoding a request, calling its handler, encoding the reply.

use super::lengths;
use crate::{
    api::{self, Context, Node, versions},
    reply::Reply,
};
use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::{
    messages::{ApiKey, RequestHeader, ResponseHeader},
    protocol::{Decodable, Encodable},
};

/// A request whose header is decoded.
pub(crate) struct Request {
    pub api: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: String,
    body: Bytes,
}

impl Request {
    /// Reads the header of a frame.
    ///
    /// # Errors
    /// If it is not a Kafka request or not a supported one. The connection must be closed, as Kafka does.
    pub(crate) fn parse(mut frame: Bytes) -> anyhow::Result<Self> {
        anyhow::ensure!(
            frame.len() >= 8,
            "a frame of {} bytes is no request",
            frame.len()
        );
        let (key, version) = (frame.slice(0..2).get_i16(), frame.slice(2..4).get_i16());
        let api = ApiKey::try_from(key).map_err(|()| anyhow::anyhow!("unknown api key {key}"))?;
        if api == ApiKey::ApiVersions && !versions::is_served(api, version) {
            let correlation_id = frame.slice(4..8).get_i32();
            return Ok(Self {
                api,
                version,
                correlation_id,
                client_id: String::new(),
                body: Bytes::new(),
            });
        }
        anyhow::ensure!(
            versions::is_served(api, version),
            "{api:?} {version} is not served"
        );
        let header = RequestHeader::decode(&mut frame, api.request_header_version(version))?;
        let client_id = header
            .client_id
            .map(|id| id.to_string())
            .unwrap_or_default();
        Ok(Self {
            api,
            version,
            correlation_id: header.correlation_id,
            client_id,
            body: frame,
        })
    }

    /// The header of the reply.
    pub(crate) fn answer_header(&self) -> anyhow::Result<BytesMut> {
        let mut out = BytesMut::new();
        let header = ResponseHeader::default().with_correlation_id(self.correlation_id);
        header.encode(&mut out, self.api.response_header_version(self.version))?;
        Ok(out)
    }

    /// The body.
    ///
    /// # Errors
    /// If it is malformed. The connection must be closed, as Kafka does.
    pub(crate) fn decode<T: Decodable>(&self) -> anyhow::Result<T> {
        lengths::decode(&self.body, self.version)
    }
}

fn plain(version: i16, response: &impl Encodable) -> anyhow::Result<Option<Reply>> {
    let mut out = BytesMut::new();
    response.encode(&mut out, version)?;
    let mut reply = Reply::default();
    reply.push(out.freeze());
    Ok(Some(reply))
}

/// Carries out a request; `None` if the client wants no reply.
///
/// # Errors
/// If the request can't be decoded. The connection must be closed.
pub(crate) async fn answer(
    node: &Node,
    context: &Context,
    r: &Request,
) -> anyhow::Result<Option<Reply>> {
    let v = r.version;
    match r.api {
        ApiKey::Produce => match api::produce::answer(node, v, r.decode()?) {
            Some(response) => plain(v, &response),
            None => Ok(None),
        },
        ApiKey::Fetch => api::fetch::answer(node, v, r.decode()?).await.map(Some),
        ApiKey::JoinGroup => plain(v, &api::groups::join(node, context, r.decode()?).await),
        ApiKey::SyncGroup => plain(v, &api::groups::sync(node, r.decode()?).await),
        ApiKey::ApiVersions => {
            let known = versions::is_served(r.api, v);
            plain(if known { v } else { 0 }, &versions::answer(known))
        }
        _ => answer_at_once(node, context, r),
    }
}

fn answer_at_once(node: &Node, context: &Context, r: &Request) -> anyhow::Result<Option<Reply>> {
    let v = r.version;
    match r.api {
        ApiKey::ListOffsets => plain(v, &api::offsets::list(node, v, r.decode()?)),
        ApiKey::Metadata => plain(v, &api::metadata::answer(node, context, r.decode()?)),
        ApiKey::OffsetCommit => plain(v, &api::commits::commit(node, v, r.decode()?)),
        ApiKey::OffsetFetch => plain(v, &api::commits::fetch(node, v, r.decode()?)),
        ApiKey::FindCoordinator => {
            plain(v, &api::metadata::find_coordinator(context, &r.decode()?))
        }
        ApiKey::Heartbeat => plain(v, &api::groups::heartbeat(node, &r.decode()?)),
        ApiKey::LeaveGroup => plain(v, &api::groups::leave(node, v, r.decode()?)),
        ApiKey::DescribeGroups => plain(v, &api::groups::describe(node, v, r.decode()?)),
        ApiKey::ListGroups => plain(v, &api::groups::list(node, &r.decode()?)),
        ApiKey::DeleteGroups => plain(v, &api::groups::delete(node, r.decode()?)),
        ApiKey::CreateTopics => plain(v, &api::topics::create(node, r.decode()?)),
        ApiKey::DeleteTopics => plain(v, &api::topics::delete(node, v, r.decode()?)),
        ApiKey::CreatePartitions => plain(v, &api::topics::grow(node, r.decode()?)),
        ApiKey::DeleteRecords => plain(v, &api::offsets::delete_records(node, r.decode()?)),
        ApiKey::OffsetForLeaderEpoch => {
            plain(v, &api::offsets::for_leader_epoch(node, r.decode()?))
        }
        ApiKey::InitProducerId => plain(v, &api::transactions::init(node, v, &r.decode()?)),
        ApiKey::AddPartitionsToTxn => {
            plain(v, &api::transactions::add_partitions(node, v, r.decode()?))
        }
        ApiKey::AddOffsetsToTxn => plain(v, &api::transactions::add_offsets(node, v, &r.decode()?)),
        ApiKey::EndTxn => plain(v, &api::transactions::end(node, v, &r.decode()?)),
        ApiKey::TxnOffsetCommit => {
            plain(v, &api::commits::commit_in_transaction(node, r.decode()?))
        }
        ApiKey::DescribeTransactions => plain(v, &api::transactions::describe(node, r.decode()?)),
        ApiKey::ListTransactions => plain(v, &api::transactions::list(node, &r.decode()?)),
        ApiKey::DescribeConfigs => plain(v, &api::configs::describe(node, r.decode()?)),
        ApiKey::IncrementalAlterConfigs => plain(v, &api::configs::alter(node, r.decode()?)),
        ApiKey::AlterConfigs => plain(v, &api::configs::replace(node, r.decode()?)),
        ApiKey::OffsetDelete => plain(v, &api::commits::delete(node, r.decode()?)),
        ApiKey::DescribeCluster => plain(v, &api::metadata::describe_cluster(node, context)),
        other => anyhow::bail!("{other:?} is not served"),
    }
}
