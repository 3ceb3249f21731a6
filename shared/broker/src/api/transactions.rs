//! Requests about producer ids and transactions.

use super::{NONE, Node, storage, text};
use crate::{
    clock,
    log::batch::Outcome,
    txn::{
        Error,
        state::{Phase, Refused, Transaction},
    },
};
use kafka_protocol::{
    ResponseError,
    messages::{
        AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest,
        AddPartitionsToTxnResponse, DescribeTransactionsRequest, DescribeTransactionsResponse,
        EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse,
        ListTransactionsRequest, ListTransactionsResponse, ProducerId, TopicName, TransactionalId,
        add_partitions_to_txn_response::{
            AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
        },
        describe_transactions_response::{TopicData, TransactionState as Described},
        list_transactions_response::TransactionState as Listed,
    },
};

/// In request versions before `fenced_since`, a fenced producer gets INVALID_PRODUCER_EPOCH.
fn code(error: &Error, version: i16, fenced_since: i16) -> i16 {
    let refused = match error {
        Error::Refused(refused) => *refused,
        Error::Storage(error) => {
            storage(error);
            return ResponseError::CoordinatorNotAvailable.code();
        }
    };
    match refused {
        Refused::InvalidProducerIdMapping => ResponseError::InvalidProducerIdMapping,
        Refused::ProducerFenced if version < fenced_since => ResponseError::InvalidProducerEpoch,
        Refused::ProducerFenced => ResponseError::ProducerFenced,
        Refused::ConcurrentTransactions => ResponseError::ConcurrentTransactions,
        Refused::InvalidTxnState => ResponseError::InvalidTxnState,
        Refused::InvalidTransactionTimeout => ResponseError::InvalidTransactionTimeout,
        Refused::InvalidRequest => ResponseError::InvalidRequest,
    }
    .code()
}

pub(crate) fn init(
    node: &Node,
    version: i16,
    request: &InitProducerIdRequest,
) -> InitProducerIdResponse {
    let expected = match (request.producer_id.0, request.producer_epoch) {
        (-1, -1) => None,
        pair => Some(pair),
    };
    let given = match &request.transactional_id {
        None => node
            .transactions
            .fresh_id()
            .map(|id| (id, 0))
            .map_err(Error::Storage),
        Some(id) => node
            .transactions
            .initialise(id, request.transaction_timeout_ms, expected),
    };
    match given {
        Ok((id, epoch)) => InitProducerIdResponse::default()
            .with_producer_id(ProducerId(id))
            .with_producer_epoch(epoch),
        Err(error) => InitProducerIdResponse::default()
            .with_error_code(code(&error, version, 4))
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1),
    }
}

pub(crate) fn add_partitions(
    node: &Node,
    version: i16,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    let topics = request.v3_and_below_topics;
    let partitions: Vec<_> = topics
        .iter()
        .flat_map(|t| t.partitions.iter().map(|&p| (t.name.to_string(), p)))
        .collect();
    let exists = |(topic, p): &(String, i32)| node.topics.partition(topic, *p).is_some();
    let all_exist = partitions.iter().all(exists);
    let error = if all_exist {
        let producer = (
            request.v3_and_below_producer_id.0,
            request.v3_and_below_producer_epoch,
        );
        let added = node.transactions.add_partitions(
            &request.v3_and_below_transactional_id,
            producer,
            &partitions,
        );
        added.err().map_or(NONE, |e| code(&e, version, 2))
    } else {
        ResponseError::OperationNotAttempted.code()
    };
    let results = topics.into_iter().map(|topic| {
        let results = topic.partitions.iter().map(|&p| {
            let known = exists(&(topic.name.to_string(), p));
            let code = if known {
                error
            } else {
                ResponseError::UnknownTopicOrPartition.code()
            };
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(p)
                .with_partition_error_code(code)
        });
        let results = results.collect();
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name)
            .with_results_by_partition(results)
    });
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results.collect())
}

pub(crate) fn add_offsets(
    node: &Node,
    version: i16,
    request: &AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let producer = (request.producer_id.0, request.producer_epoch);
    let added = node
        .transactions
        .add_group(&request.transactional_id, producer, &request.group_id);
    AddOffsetsToTxnResponse::default()
        .with_error_code(added.err().map_or(NONE, |e| code(&e, version, 2)))
}

pub(crate) fn end(node: &Node, version: i16, request: &EndTxnRequest) -> EndTxnResponse {
    let producer = (request.producer_id.0, request.producer_epoch);
    let outcome = if request.committed {
        Outcome::Commit
    } else {
        Outcome::Abort
    };
    let ended = node
        .transactions
        .end(&request.transactional_id, producer, outcome);
    EndTxnResponse::default().with_error_code(ended.err().map_or(NONE, |e| code(&e, version, 2)))
}

pub(crate) fn describe(
    node: &Node,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let known = node.transactions.list();
    let states = request.transactional_ids.into_iter().map(|id| {
        match known.iter().find(|(known, _)| known == id.as_str()) {
            Some((_, transaction)) => described(id, transaction),
            None => Described::default()
                .with_transactional_id(id)
                .with_error_code(ResponseError::TransactionalIdNotFound.code()),
        }
    });
    DescribeTransactionsResponse::default().with_transaction_states(states.collect())
}

fn described(id: TransactionalId, transaction: &Transaction) -> Described {
    let mut topics: Vec<TopicData> = Vec::new();
    for (topic, partition) in &transaction.partitions {
        match topics
            .last_mut()
            .filter(|last| last.topic.as_str() == topic)
        {
            Some(last) => last.partitions.push(*partition),
            None => topics.push(
                TopicData::default()
                    .with_topic(TopicName(text(topic)))
                    .with_partitions(vec![*partition]),
            ),
        }
    }
    Described::default()
        .with_transactional_id(id)
        .with_transaction_state(text(transaction.phase.name()))
        .with_transaction_timeout_ms(transaction.timeout_ms)
        .with_transaction_start_time_ms(transaction.started_ms)
        .with_producer_id(ProducerId(transaction.producer_id))
        .with_producer_epoch(transaction.epoch)
        .with_topics(topics)
}

pub(crate) fn list(node: &Node, request: &ListTransactionsRequest) -> ListTransactionsResponse {
    let now = clock::now_ms();
    let fits = |t: &Transaction| {
        let state = request.state_filters.is_empty()
            || request
                .state_filters
                .iter()
                .any(|s| s.as_str() == t.phase.name());
        let producer = request.producer_id_filters.is_empty()
            || request
                .producer_id_filters
                .iter()
                .any(|p| p.0 == t.producer_id);
        let long = request.duration_filter < 0
            || (t.phase == Phase::Ongoing && now - t.started_ms > request.duration_filter);
        state && producer && long
    };
    let listed = node
        .transactions
        .list()
        .into_iter()
        .filter(|(_, t)| fits(t))
        .map(|(id, t)| {
            Listed::default()
                .with_transactional_id(TransactionalId(text(&id)))
                .with_producer_id(ProducerId(t.producer_id))
                .with_transaction_state(text(t.phase.name()))
        });
    ListTransactionsResponse::default().with_transaction_states(listed.collect())
}
