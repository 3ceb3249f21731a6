//! The machine's part about [marks](super::mark): partitions are claimed before records are taken, a clean end is
//! marked, and records that may have killed a process run alone.

use super::{Epoch, Failed, Flow, Machine, Mark, Place, Producer, Share, Ticket};

/// How a record is to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Concurrently with others.
    Together,
    /// While nothing else runs in the process, after [`Machine::marked`] has said that it may start.
    Alone,
    /// Not at all: this many processes died while they executed it.
    Crashed { died: u32 },
}

/// What the broker holds for a partition that is assigned to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub partition: i32,
    pub epoch: Epoch,
    /// The committed offset; the partition's first offset where none is committed.
    pub offset: i64,
    pub mark: Mark,
    /// The partition's end; none where it was not read, because it [does not matter](Machine::end_matters).
    pub end: Option<i64>,
}

/// Whether the broker holds the mark that a record that runs alone waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marked {
    Yes,
    NotYet,
    /// The record is no longer ours.
    Stale,
}

impl<T> Machine<T> {
    /// The partitions whose committed offset must be read from the broker before anything is committed, after a new
    /// producer has fenced the old one. New partitions are not among them: a transaction that another owner left open
    /// may delay their answer.
    pub fn doubtful(&self) -> Vec<(i32, Epoch)> {
        self.unread(|share| !share.fresh)
    }

    /// New partitions whose committed offset must be read from the broker, where no commit, recovery or drain goes on.
    pub fn unclaimed(&self) -> Vec<(i32, Epoch)> {
        if self.producer == Producer::Idle && !self.draining {
            self.unread(|share| share.fresh)
        } else {
            Vec::new()
        }
    }

    fn unread(&self, which: impl Fn(&Share<T>) -> bool) -> Vec<(i32, Epoch)> {
        self.shares
            .iter()
            .filter(|(_, share)| share.flow == Flow::Unknown && which(share))
            .map(|(&partition, share)| (partition, share.epoch))
            .collect()
    }

    /// Whether [`Found::end`] is needed beside this mark.
    pub fn end_matters(&self, mark: Mark) -> bool {
        mark.claimed(self.incarnation, 1).alone() && !mark.alone()
    }

    /// The broker holds this for partitions that were asked for. Returns the marks that are to be committed, for the
    /// log.
    pub fn learned(&mut self, found: &[Found]) -> Vec<(i32, Place)> {
        let mut claims = Vec::new();
        for found in found {
            let Some(share) = self.shares.get_mut(&found.partition) else {
                continue;
            };
            if share.epoch != found.epoch || share.flow != Flow::Unknown {
                continue;
            }
            let ahead = found.end.map_or(0, |end| end.saturating_sub(found.offset));
            let ahead = usize::try_from(ahead).unwrap_or(0).min(self.limits.records);
            let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
            let place = Place {
                offset: found.offset,
                mark: found.mark.claimed(self.incarnation, ahead),
            };
            if place.mark == found.mark {
                share.claimed(place);
            } else {
                share.flow = Flow::Claiming(place);
                claims.push((found.partition, place));
            }
        }
        if self.producer == Producer::Recovering && self.doubtful().is_empty() {
            self.producer = Producer::Idle;
        }
        claims
    }

    /// A record that runs alone is about to start. [`marked`](Self::marked) says when it may.
    pub fn execute(&mut self, ticket: Ticket) {
        self.execution(ticket, true);
    }

    /// After a failed attempt of a record that runs alone, its mark has to say that the record waits.
    /// [`marked`](Self::marked) tells when it does.
    pub(super) fn rests(&mut self, ticket: Ticket, failed: Failed) {
        if matches!(failed, Failed::Again { .. }) {
            self.execution(ticket, false);
        }
    }

    fn execution(&mut self, ticket: Ticket, executing: bool) {
        if self.current(ticket.partition, ticket.epoch)
            && let Some(share) = self.shares.get_mut(&ticket.partition)
            && let Some(solo) = &mut share.solo
            && solo.offset == ticket.offset
        {
            solo.executing = executing;
        }
    }

    /// Whether the broker holds what was last asked for a record that runs alone: that it starts, that it waits, or its
    /// result.
    pub fn marked(&self, ticket: Ticket) -> Marked {
        let share = self.shares.get(&ticket.partition);
        let Some(share) = share.filter(|share| share.epoch == ticket.epoch) else {
            return Marked::Stale;
        };
        let settled = match share.solo {
            Some(solo) if solo.offset == ticket.offset => {
                !solo.resolved && share.wanted(false).is_none()
            }
            _ => true,
        };
        if settled { Marked::Yes } else { Marked::NotYet }
    }

    /// The loop ends cleanly. The next commit is its last, and marks a clean end for every partition.
    pub fn part(&mut self) {
        self.ending = true;
    }

    /// Partitions whose records run one at a time.
    pub fn alone(&self) -> usize {
        self.shares.values().filter(|share| share.alone()).count()
    }

    /// Offsets with marks that wait to be committed.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (i32, Place)> + '_ {
        self.shares
            .iter()
            .filter_map(|(&partition, share)| Some((partition, share.wanted(self.ending)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Breaker, Incarnation, Limits, Pacing, Retry, Running, Sign};
    use std::time::Duration;

    const ME: Incarnation = Incarnation(1);
    const DEAD: Incarnation = Incarnation(2);
    const NOW: Duration = Duration::from_secs(9);

    fn machine() -> Machine<i64> {
        let second = Duration::from_secs(1);
        let mut machine = Machine::new(
            ME,
            Limits {
                bytes: 100,
                records: 3,
            },
            Pacing {
                interval: Duration::ZERO,
                max_records: 10,
                max_bytes: 100,
            },
            Retry {
                budget: 3,
                base: second,
                max: second,
            },
            Breaker::new(20, second),
        );
        machine.learned(&[]);
        machine
    }

    /// Assigns partition 0, of which the broker holds this mark at offset 5; it ends at 25.
    fn assign(machine: &mut Machine<i64>, mark: Mark) {
        machine.assigned(&[0]);
        let [(partition, epoch)] = machine.unclaimed()[..] else {
            panic!("nothing to read");
        };
        let end = machine.end_matters(mark).then_some(25);
        machine.learned(&[Found {
            partition,
            epoch,
            offset: 5,
            mark,
            end,
        }]);
    }

    /// Commits what there is; the offset and mark of partition 0.
    fn commit(machine: &mut Machine<i64>) -> Place {
        let batch = machine.take_batch().unwrap();
        machine.committed(NOW);
        batch.places[&0]
    }

    fn deaths(owner: Incarnation, deaths: u32) -> Mark {
        Mark {
            owner: Some(owner),
            running: Running::Together { deaths },
        }
    }

    #[test]
    fn records_flow_once_the_broker_holds_our_mark() {
        let mut machine = machine();
        assign(&mut machine, Mark::owned(DEAD));
        assert!(!machine.flows(0));
        let batch = machine.take_batch().unwrap();
        let (offset, mark) = (5, deaths(ME, 1));
        assert_eq!(batch.places[&0], Place { offset, mark });
        assert!(!machine.flows(0), "not before it is committed");
        machine.committed(NOW);
        assert!(machine.flows(0));
        let ticket = machine.taken(0, 6, 1, NOW).unwrap();
        assert_eq!(ticket.manner, Manner::Together);
        machine.resolved(ticket, 6, 0, Sign::Good, NOW);
        let (offset, mark) = (7, Mark::owned(ME));
        assert_eq!(commit(&mut machine), Place { offset, mark });
    }

    #[test]
    fn a_record_that_runs_alone_is_marked_before_it_starts_and_before_it_rests() {
        let mut machine = machine();
        assign(&mut machine, deaths(DEAD, 1));
        commit(&mut machine);
        let ticket = machine.taken(0, 6, 1, NOW).unwrap();
        assert_eq!(ticket.manner, Manner::Alone);
        assert!(!machine.flows(0), "the next one waits");
        machine.execute(ticket);
        assert_eq!(machine.marked(ticket), Marked::NotYet);
        let text = commit(&mut machine).mark.to_string();
        assert!(text.ends_with("alone left=3 record=6 executing=1 died=0"));
        assert_eq!(machine.marked(ticket), Marked::Yes);
        machine.failed(ticket, 1, None, NOW, 0.5);
        assert_eq!(machine.marked(ticket), Marked::NotYet);
        assert!(
            commit(&mut machine)
                .mark
                .to_string()
                .contains(" executing=0 ")
        );
        assert_eq!(machine.marked(ticket), Marked::Yes);
        machine.resolved(ticket, 6, 0, Sign::Good, NOW);
        assert_eq!(machine.marked(ticket), Marked::NotYet);
        let place = commit(&mut machine);
        assert_eq!((place.offset, machine.marked(ticket)), (7, Marked::Yes));
        assert!(place.mark.to_string().ends_with("alone left=2"));
        assert!(machine.flows(0));
    }

    #[test]
    fn a_revoked_partition_leaves_with_a_word_and_after_a_doubt_without() {
        for doubt in [false, true] {
            let mut machine = machine();
            assign(&mut machine, deaths(DEAD, 0));
            commit(&mut machine);
            machine.revoked(&[0]);
            assert_eq!(machine.releasable(), Vec::<i32>::new());
            let batch = machine.take_batch().unwrap();
            let text = batch.places[&0].mark.to_string();
            assert_eq!(text, "sightline1 owner=none deaths=1");
            if doubt {
                machine.doubted()
            } else {
                machine.committed(NOW)
            }
            assert_eq!(machine.releasable(), [0]);
        }
    }

    /// Its release would have moved the offset back to where this owner once left it.
    #[test]
    fn a_partition_that_went_and_came_back_during_a_commit_is_not_taken_for_what_it_was() {
        let mut machine = machine();
        assign(&mut machine, Mark::default());
        commit(&mut machine);
        let ticket = machine.taken(0, 6, 1, NOW).unwrap();
        machine.resolved(ticket, 6, 0, Sign::Good, NOW);
        machine.take_batch().unwrap();
        machine.lost(&[0]);
        machine.assigned(&[0]);
        machine.revoked(&[0]);
        machine.committed(NOW);
        assert!(machine.take_batch().is_none());
        assert_eq!(machine.releasable(), [0]);
    }

    #[test]
    fn the_consumer_is_wanted_again_once_there_is_room() {
        let mut machine = machine();
        assign(&mut machine, Mark::default());
        commit(&mut machine);
        let tickets = [6, 7, 8].map(|offset| machine.taken(0, offset, 1, NOW).unwrap());
        assert!(!machine.wants_poller(), "it has not asked");
        assert!(!machine.admits(NOW));
        for ticket in tickets {
            machine.resolved(ticket, ticket.offset, 0, Sign::Good, NOW);
        }
        assert!(!machine.wants_poller(), "nothing is committed");
        commit(&mut machine);
        assert!(machine.wants_poller());
        assert!(machine.admits(NOW));
        assert!(!machine.wants_poller(), "it knows");
    }
}
