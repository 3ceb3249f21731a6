//! Transactions: who produces under which transactional id, what is open, and how it ends.
//!
//! A decision is written to the journal first; the markers follow, before the client is answered, so that its next
//! transaction never meets the last one. What a crash leaves decided is finished at start-up; what it leaves open stays
//! open until its producer returns or its time is up.

pub mod record;
pub mod state;
mod upkeep;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::clock;
use crate::config::Fsync;
use crate::group::Groups;
use crate::journal::Journal;
use crate::log::AppendError;
use crate::log::batch::Outcome;
use crate::sync::lock;
use crate::topics::Topics;
use record::Entry;
use state::{Phase, Refused, Transaction};

/// An id not used for so long is forgotten (Kafka's `transactional.id.expiration.ms`).
const EXPIRY_MS: i64 = 7 * 86_400_000;
/// Producer ids noted as handed out at a time.
const ID_BLOCK: i64 = 1000;

/// Why a request fails.
#[derive(Debug)]
pub enum Error {
    Refused(Refused),
    /// The journal or a log can't be written; what was decided is finished later.
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

/// See the module.
#[derive(Debug)]
pub struct Transactions {
    by_id: Mutex<HashMap<String, Arc<Mutex<Transaction>>>>,
    ids: Mutex<Ids>,
    journal: Mutex<Journal>,
    topics: Arc<Topics>,
    groups: Arc<Groups>,
    max_timeout_ms: i64,
}

impl Transactions {
    /// Opens the journal and finishes what a crash interrupted.
    pub fn open(
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
        lock(&self.by_id)
            .iter()
            .map(|(id, t)| (id.clone(), t.clone()))
            .collect()
    }

    fn get(&self, id: &str) -> Result<Arc<Mutex<Transaction>>, Refused> {
        lock(&self.by_id)
            .get(id)
            .cloned()
            .ok_or(Refused::InvalidProducerIdMapping)
    }

    /// A copy of every transaction, for listings.
    pub fn list(&self) -> Vec<(String, Transaction)> {
        self.all()
            .into_iter()
            .map(|(id, t)| (id, lock(&t).clone()))
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
        lock(&self.journal).append(&entry.encode())?;
        if let Entry::Put { transaction, .. } = entry {
            **current = transaction;
        }
        Ok(())
    }

    /// A producer id that was never handed out before.
    pub fn fresh_id(&self) -> io::Result<i64> {
        let mut ids = lock(&self.ids);
        if ids.next >= ids.noted {
            let below = ids.next + ID_BLOCK;
            lock(&self.journal).append(&Entry::ProducerIds { below }.encode())?;
            ids.noted = below;
        }
        let id = ids.next;
        ids.next += 1;
        Ok(id)
    }

    /// Gives the producer of a transactional id its epoch, aborting what its predecessor left open.
    pub fn initialise(
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
        let known = lock(&self.by_id).get(id).cloned();
        let transaction = match known {
            Some(transaction) => transaction,
            None => {
                let new = Arc::new(Mutex::new(Transaction::new(
                    self.fresh_id()?,
                    clock::now_ms(),
                )));
                lock(&self.by_id)
                    .entry(id.to_owned())
                    .or_insert(new)
                    .clone()
            }
        };
        let mut transaction = lock(&transaction);
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

    /// Takes partitions into the producer's transaction.
    pub fn add_partitions(
        &self,
        id: &str,
        producer: (i64, i16),
        partitions: &[(String, i32)],
    ) -> Result<(), Error> {
        self.add(id, producer, partitions, None)
    }

    /// Takes a group's offsets into the producer's transaction.
    pub fn add_group(&self, id: &str, producer: (i64, i16), group: &str) -> Result<(), Error> {
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
        let mut transaction = lock(&transaction);
        if let Some(next) = transaction.add(producer, partitions, group, clock::now_ms())? {
            self.write(id, &mut transaction, next)?;
        }
        Ok(())
    }

    /// Ends the producer's transaction; when this returns its records and offsets are visible or gone.
    pub fn end(&self, id: &str, producer: (i64, i16), outcome: Outcome) -> Result<(), Error> {
        if id.is_empty() {
            return Err(Refused::InvalidRequest.into());
        }
        let transaction = self.get(id)?;
        let mut transaction = lock(&transaction);
        if let Some(next) = transaction.end(producer, outcome, clock::now_ms())? {
            self.write(id, &mut transaction, next)?;
            if let Err(error) = self.finish(id, &mut transaction, outcome, false) {
                // The decision stands, and the next round of the reaper finishes it.
                tracing::error!(transactional_id = id, %error, "can't write transaction markers");
            }
        }
        Ok(())
    }

    /// Runs `act` while the producer's transaction can't end, if it is open and `holds`.
    pub fn within<T>(
        &self,
        id: &str,
        producer: (i64, i16),
        holds: impl FnOnce(&Transaction) -> bool,
        act: impl FnOnce() -> T,
    ) -> Result<T, Refused> {
        let transaction = self.get(id)?;
        let transaction = lock(&transaction);
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

    /// Writes the markers and notes that the transaction is over. After a crash (`again`) a partition that has its
    /// marker already is left alone.
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
                let log = lock(&partition.log);
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

    pub fn sync(&self) -> io::Result<()> {
        lock(&self.journal).sync()
    }
}

/// A partition that is gone, or already at a higher epoch, needs no marker.
fn settle(ended: Result<(), AppendError>) -> io::Result<()> {
    match ended {
        Err(AppendError::Storage(error)) => Err(error),
        _ => Ok(()),
    }
}
