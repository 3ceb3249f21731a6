//! What is done about transactions without being asked: finishing after a crash, aborting the overdue, tidying up.

use std::io;

use super::record::Entry;
use super::state::Phase;
use super::{EXPIRY_MS, Transactions, settle};
use crate::clock;
use crate::log::batch::Outcome;
use crate::sync::lock;

impl Transactions {
    /// Writes the markers of every decided transaction that lacks them.
    pub fn finish_decided(&self) -> io::Result<()> {
        for (id, transaction) in self.all() {
            let mut transaction = lock(&transaction);
            if let Phase::Prepared(outcome) = transaction.phase {
                self.finish(&id, &mut transaction, outcome, true)?;
            }
        }
        Ok(())
    }

    /// Aborts what is open in a partition but not known here: possible only after a power cut without syncs.
    pub(super) fn abort_orphans(&self) -> io::Result<()> {
        let mut open = std::collections::HashSet::new();
        for (_, transaction) in self.all() {
            let transaction = lock(&transaction);
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
                    let log = lock(&partition.log);
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

    /// Aborts and fences overdue transactions, finishes decided ones, forgets ids long unused.
    pub fn reap(&self) -> io::Result<()> {
        let now = clock::now_ms();
        for (id, transaction) in self.all() {
            // A transaction that is being worked on is not overdue by much.
            let Ok(mut transaction) = transaction.try_lock() else {
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
                lock(&self.journal).append(&Entry::Forget { id: id.clone() }.encode())?;
                lock(&self.by_id).remove(&id);
            }
        }
        self.maybe_rewrite()
    }

    fn maybe_rewrite(&self) -> io::Result<()> {
        if !lock(&self.journal).wants_rewrite() {
            return Ok(());
        }
        // Locked one after the other and kept, so that nobody writes between the copy and the rewrite.
        let by_id = lock(&self.by_id);
        let held: Vec<_> = by_id.iter().map(|(id, t)| (id, lock(t))).collect();
        let ids = lock(&self.ids);
        let mut entries = vec![Entry::ProducerIds { below: ids.noted }.encode()];
        entries.extend(held.iter().map(|(id, t)| {
            Entry::Put {
                id: (*id).clone(),
                transaction: (**t).clone(),
            }
            .encode()
        }));
        lock(&self.journal).rewrite(entries)
    }
}
