//! Background work on transactions: finishing them after a crash, aborting overdue ones, forgetting unused ids.

use super::{EXPIRY_MS, Transactions, record::Entry, settle, state::Phase};
use crate::{clock, log::batch::Outcome};
use std::io;

impl Transactions {
    /// Writes the markers of every decided transaction that lacks them.
    pub(crate) fn finish_decided(&self) -> io::Result<()> {
        for (id, transaction) in self.all() {
            let mut transaction = transaction.lock();
            if let Phase::Prepared(outcome) = transaction.phase {
                self.finish(&id, &mut transaction, outcome, true)?;
            }
        }
        Ok(())
    }

    /// Aborts transactions that are open in a partition but not in the journal; possible only after a power cut without
    /// syncs.
    pub(super) fn abort_orphans(&self) -> io::Result<()> {
        let mut open = std::collections::HashSet::new();
        for (_, transaction) in self.all() {
            let transaction = transaction.lock();
            if transaction.phase == Phase::Ongoing {
                open.extend(
                    transaction
                        .partitions
                        .iter()
                        .map(|(t, p)| (t.clone(), *p, transaction.producer_id)),
                );
            }
        }
        for topic in self.topics.all() {
            for (index, partition) in (0i32..).zip(&topic.partitions) {
                let orphans: Vec<_> = {
                    let log = partition.log.lock();
                    let in_transaction = log
                        .producers()
                        .iter()
                        .filter(|(_, p)| p.transaction_start.is_some());
                    in_transaction
                        .map(|(id, p)| (id, p.epoch))
                        .filter(|(id, _)| !open.contains(&(topic.name.clone(), index, *id)))
                        .collect()
                };
                for (producer_id, epoch) in orphans {
                    tracing::warn!(
                        topic = topic.name,
                        partition = index,
                        producer_id,
                        "aborting a transaction nobody knows of"
                    );
                    settle(partition.end_transaction(producer_id, epoch, Outcome::Abort))?;
                }
            }
        }
        Ok(())
    }

    /// Aborts and fences overdue transactions, finishes decided ones, forgets unused ids.
    pub(crate) fn reap(&self) -> io::Result<()> {
        let now = clock::now_ms();
        for (id, transaction) in self.all() {
            // A transaction that is in use is not overdue by much.
            let Some(mut transaction) = transaction.try_lock() else {
                continue;
            };
            if let Phase::Prepared(outcome) = transaction.phase {
                self.finish(&id, &mut transaction, outcome, true)?;
            } else if transaction.is_overdue(now) {
                tracing::info!(
                    transactional_id = id,
                    producer_id = transaction.producer_id,
                    "transaction timed out"
                );
                self.fence(&id, &mut transaction)?;
            } else if transaction.phase != Phase::Ongoing
                && transaction.updated_ms < now - EXPIRY_MS
            {
                self.journal
                    .lock()
                    .append(&Entry::Forget { id: id.clone() }.encode())?;
                self.by_id.lock().remove(&id);
            }
        }
        self.maybe_rewrite()
    }

    fn maybe_rewrite(&self) -> io::Result<()> {
        if !self.journal.lock().wants_rewrite() {
            return Ok(());
        }
        // All are locked until the rewrite is done, so that no change is lost between copy and rewrite.
        let by_id = self.by_id.lock();
        let held: Vec<_> = by_id.iter().map(|(id, t)| (id, t.lock())).collect();
        let ids = self.ids.lock();
        let mut entries = vec![Entry::ProducerIds { below: ids.noted }.encode()];
        entries.extend(held.iter().map(|(id, t)| {
            Entry::Put {
                id: (*id).clone(),
                transaction: (**t).clone(),
            }
            .encode()
        }));
        self.journal.lock().rewrite(entries)
    }
}
