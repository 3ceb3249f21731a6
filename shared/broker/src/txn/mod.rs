//! The transaction coordinator: the producer of each transactional id, and its transaction.
//!
//! A decision is written to the journal first. The markers follow before the reply, so that a producer's next transaction
//! never finds the last one unfinished. After a crash, start-up finishes decided transactions; open ones stay open until
//! their producer returns or their timeout passes.

pub(crate) mod record;
pub(crate) mod state;
mod upkeep;

use crate::{
    clock,
    config::Fsync,
    group::Groups,
    journal::Journal,
    log::{AppendError, batch::Outcome},
    topics::Topics,
};
use parking_lot::{Mutex, MutexGuard};
use record::Entry;
use state::{Phase, Refused, Transaction};
use std::{collections::HashMap, io, path::Path, sync::Arc};

/// Milliseconds after which an unused id is forgotten (Kafka's `transactional.id.expiration.ms`).
const EXPIRY_MS: i64 = 7 * 86_400_000;
/// Producer ids that are reserved in the journal at a time.
const ID_BLOCK: i64 = 1000;

/// Why a request fails.
#[derive(Debug)]
pub(crate) enum Error {
    Refused(Refused),
    /// The journal or a log can't be written. A decision that is in the journal is finished later.
    Storage(io::Error),
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Storage(error)
    }
}

#[derive(Debug)]
struct Ids {
    next: i64,
    noted: i64,
}

/// All transactional ids, with their journal.
#[derive(Debug)]
pub(crate) struct Transactions {
    by_id: Mutex<HashMap<String, Arc<Mutex<Transaction>>>>,
    ids: Mutex<Ids>,
    journal: Mutex<Journal>,
    topics: Arc<Topics>,
    groups: Arc<Groups>,
    max_timeout_ms: i64,
}

impl Transactions {
    /// Opens the journal and finishes the transactions that a crash interrupted.
    pub(crate) fn open(
        data: &Path,
        fsync: Fsync,
        topics: Arc<Topics>,
        groups: Arc<Groups>,
        max_timeout_ms: i64,
    ) -> io::Result<Self> {
        let mut by_id: HashMap<String, Transaction> = HashMap::new();
        let mut below = 0;
        let journal = Journal::open(&data.join("transactions.log"), fsync, |payload| {
            match Entry::decode(payload)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?
            {
                Entry::Put { id, transaction } => drop(by_id.insert(id, transaction)),
                Entry::ProducerIds { below: noted } => below = noted,
                Entry::Forget { id } => drop(by_id.remove(&id)),
            }
            Ok(())
        })?;
        let by_id = by_id
            .into_iter()
            .map(|(id, t)| (id, Arc::new(Mutex::new(t))))
            .collect();
        let ids = Mutex::new(Ids {
            next: below,
            noted: below,
        });
        let out = Self {
            by_id: Mutex::new(by_id),
            ids,
            journal: Mutex::new(journal),
            topics,
            groups,
            max_timeout_ms,
        };
        out.finish_decided()?;
        out.abort_orphans()?;
        Ok(out)
    }

    fn all(&self) -> Vec<(String, Arc<Mutex<Transaction>>)> {
        self.by_id
            .lock()
            .iter()
            .map(|(id, t)| (id.clone(), t.clone()))
            .collect()
    }

    fn get(&self, id: &str) -> Result<Arc<Mutex<Transaction>>, Refused> {
        self.by_id
            .lock()
            .get(id)
            .cloned()
            .ok_or(Refused::InvalidProducerIdMapping)
    }

    /// A copy of every transaction, for listings.
    pub(crate) fn list(&self) -> Vec<(String, Transaction)> {
        self.all()
            .into_iter()
            .map(|(id, t)| (id, t.lock().clone()))
            .collect()
    }

    fn write(
        &self,
        id: &str,
        current: &mut MutexGuard<'_, Transaction>,
        next: Transaction,
    ) -> io::Result<()> {
        let entry = Entry::Put {
            id: id.to_owned(),
            transaction: next,
        };
        self.journal.lock().append(&entry.encode())?;
        if let Entry::Put { transaction, .. } = entry {
            **current = transaction;
        }
        Ok(())
    }

    /// A new producer id.
    pub(crate) fn fresh_id(&self) -> io::Result<i64> {
        let mut ids = self.ids.lock();
        if ids.next >= ids.noted {
            let below = ids.next + ID_BLOCK;
            self.journal
                .lock()
                .append(&Entry::ProducerIds { below }.encode())?;
            ids.noted = below;
        }
        let id = ids.next;
        ids.next += 1;
        Ok(id)
    }

    /// Gives the producer of a transactional id its epoch and aborts its predecessor's open transaction.
    pub(crate) fn initialise(
        &self,
        id: &str,
        timeout_ms: i32,
        expected: Option<(i64, i16)>,
    ) -> Result<(i64, i16), Error> {
        if id.is_empty() {
            return Err(Refused::InvalidRequest.into());
        }
        if timeout_ms <= 0 || i64::from(timeout_ms) > self.max_timeout_ms {
            return Err(Refused::InvalidTransactionTimeout.into());
        }
        let known = self.by_id.lock().get(id).cloned();
        let transaction = match known {
            Some(transaction) => transaction,
            None => {
                let new = Arc::new(Mutex::new(Transaction::new(
                    self.fresh_id()?,
                    clock::now_ms(),
                )));
                self.by_id
                    .lock()
                    .entry(id.to_owned())
                    .or_insert(new)
                    .clone()
            }
        };
        let mut transaction = transaction.lock();
        transaction.check_expected(expected)?;
        let mut expected = expected;
        match transaction.phase {
            Phase::Prepared(_) => return Err(Refused::ConcurrentTransactions.into()),
            Phase::Ongoing => {
                self.fence(id, &mut transaction)?;
                expected = expected.map(|_| (transaction.producer_id, transaction.epoch));
            }
            Phase::Empty | Phase::Complete(_) => {}
        }
        let fresh = if transaction.is_exhausted() {
            self.fresh_id()?
        } else {
            -1
        };
        let next = transaction.initialise(expected, timeout_ms, clock::now_ms(), || fresh);
        self.write(id, &mut transaction, next)?;
        Ok((transaction.producer_id, transaction.epoch))
    }

    /// Adds partitions to the producer's transaction.
    pub(crate) fn add_partitions(
        &self,
        id: &str,
        producer: (i64, i16),
        partitions: &[(String, i32)],
    ) -> Result<(), Error> {
        self.add(id, producer, partitions, None)
    }

    /// Adds a group's offsets to the producer's transaction.
    pub(crate) fn add_group(
        &self,
        id: &str,
        producer: (i64, i16),
        group: &str,
    ) -> Result<(), Error> {
        self.add(id, producer, &[], Some(group))
    }

    fn add(
        &self,
        id: &str,
        producer: (i64, i16),
        partitions: &[(String, i32)],
        group: Option<&str>,
    ) -> Result<(), Error> {
        if id.is_empty() {
            return Err(Refused::InvalidRequest.into());
        }
        let transaction = self.get(id)?;
        let mut transaction = transaction.lock();
        if let Some(next) = transaction.add(producer, partitions, group, clock::now_ms())? {
            self.write(id, &mut transaction, next)?;
        }
        Ok(())
    }

    /// Ends the producer's transaction. On return, its records and offsets are visible or discarded.
    pub(crate) fn end(
        &self,
        id: &str,
        producer: (i64, i16),
        outcome: Outcome,
    ) -> Result<(), Error> {
        if id.is_empty() {
            return Err(Refused::InvalidRequest.into());
        }
        let transaction = self.get(id)?;
        let mut transaction = transaction.lock();
        if let Some(next) = transaction.end(producer, outcome, clock::now_ms())? {
            self.write(id, &mut transaction, next)?;
            if let Err(error) = self.finish(id, &mut transaction, outcome, false) {
                // The decision is in the journal; the reaper finishes it in its next round.
                tracing::error!(transactional_id = id, %error, "can't write transaction markers");
            }
        }
        Ok(())
    }

    /// Runs `act` if the producer's transaction is open and `holds`; the transaction can't end meanwhile.
    pub(crate) fn within<T>(
        &self,
        id: &str,
        producer: (i64, i16),
        holds: impl FnOnce(&Transaction) -> bool,
        act: impl FnOnce() -> T,
    ) -> Result<T, Refused> {
        let transaction = self.get(id)?;
        let transaction = transaction.lock();
        transaction.check(producer.0, producer.1)?;
        match transaction.phase {
            Phase::Prepared(_) => Err(Refused::ConcurrentTransactions),
            Phase::Ongoing if holds(&transaction) => Ok(act()),
            _ => Err(Refused::InvalidTxnState),
        }
    }

    fn fence(&self, id: &str, transaction: &mut MutexGuard<'_, Transaction>) -> io::Result<()> {
        let next = transaction.fence(clock::now_ms());
        self.write(id, transaction, next)?;
        self.finish(id, transaction, Outcome::Abort, false)
    }

    /// Writes the markers, then the end of the transaction to the journal. After a crash (`again`), partitions that have
    /// their marker are skipped.
    fn finish(
        &self,
        id: &str,
        transaction: &mut MutexGuard<'_, Transaction>,
        outcome: Outcome,
        again: bool,
    ) -> io::Result<()> {
        let (producer_id, epoch) = (transaction.producer_id, transaction.epoch);
        for (topic, index) in &transaction.partitions {
            let Some(partition) = self.topics.partition(topic, *index) else {
                continue;
            };
            if again {
                let log = partition.log.lock();
                let open = log
                    .producers()
                    .get(producer_id)
                    .is_some_and(|p| p.transaction_start.is_some());
                if !open && log.producer_epoch(producer_id).is_some_and(|e| e >= epoch) {
                    continue;
                }
            }
            settle(partition.end_transaction(producer_id, epoch, outcome))?;
        }
        self.groups
            .end_transaction(producer_id, outcome == Outcome::Commit)?;
        let next = transaction.complete(outcome, clock::now_ms());
        self.write(id, transaction, next)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.journal.lock().sync()
    }
}

/// A partition that was deleted or has a higher epoch needs no marker.
fn settle(ended: Result<(), AppendError>) -> io::Result<()> {
    match ended {
        Err(AppendError::Storage(error)) => Err(error),
        _ => Ok(()),
    }
}
