//! What the threads and tasks of one loop share.

use super::{backlog::Backlog, refused::Refused, signal::Signal, writing::Resolved};
use crate::{LoopSettings, Metrics, Status, machine::*};
use std::{
    sync::{
        Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// What the marks of this process say: it is the process that dies, so all of its loops are one owner, and one that is
/// started again within it has not died.
static THIS_PROCESS: LazyLock<Incarnation> = LazyLock::new(|| Incarnation(rand::random()));

/// Threads look around at least this often, whatever the wake-ups say.
pub(crate) const TICK: Duration = Duration::from_millis(100);

pub(crate) struct Shared {
    start: Instant,
    machine: Mutex<Machine<Resolved>>,
    /// Goes with the machine's mutex: something may be due for the committer.
    due: Condvar,
    pub poller: Arc<Signal>,
    backlog: Mutex<Backlog>,
    pub metrics: Metrics,
    pub status: Status,
    pub refused: Refused,
    /// The committer has a producer: the consumer may join the group.
    pub joined: AtomicBool,
    /// The poller stopped taking for want of room.
    pub full: AtomicBool,
    /// The time to drain is over: the committer is to come to its end.
    pub late: AtomicBool,
    /// What alone records wait for may be settled, or they are no longer ours.
    pub marks: Notify,
    /// The committer is through: the consumer may leave the group.
    pub finished: AtomicBool,
    killed: AtomicBool,
}

impl Shared {
    pub fn new(settings: &LoopSettings, metrics: Metrics, status: Status) -> Self {
        let machine = Machine::new(
            *THIS_PROCESS,
            Limits {
                bytes: settings.max_in_flight_bytes,
                records: settings.max_in_flight_records,
            },
            Pacing {
                interval: settings.commit_interval,
                max_records: settings.commit_max_records,
                max_bytes: settings.commit_max_bytes,
            },
            Retry {
                budget: settings.retry_budget,
                base: settings.retry_base,
                max: settings.retry_max,
            },
            Breaker::new(settings.breaker_min_records, settings.breaker_pause),
        );
        Self {
            start: Instant::now(),
            machine: Mutex::new(machine),
            due: Condvar::new(),
            poller: Arc::new(Signal::default()),
            backlog: Mutex::default(),
            metrics,
            status,
            refused: Refused::default(),
            joined: AtomicBool::new(false),
            full: AtomicBool::new(false),
            late: AtomicBool::new(false),
            marks: Notify::new(),
            finished: AtomicBool::new(false),
            killed: AtomicBool::new(false),
        }
    }

    /// The machine's time.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn machine(&self) -> MutexGuard<'_, Machine<Resolved>> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Not to be held while the machine is.
    pub fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits, for the gauges.
    pub fn measure(&self) {
        let measured = self
            .backlog()
            .measure(self.now(), sightline_contracts::now_ms());
        for (partition, records) in measured.lag {
            self.metrics.lag(partition, records);
        }
        self.metrics.oldest.set(measured.age.as_secs_f64());
        self.metrics.drain.set(measured.drain);
        self.metrics.alone.set(self.machine().alone() as i64);
    }

    /// A partition is not ours any more, or ours anew.
    pub fn forget(&self, partition: i32) {
        self.backlog().forget(partition, self.now());
        self.metrics.no_lag(partition);
    }

    /// Gives up the machine until the committer is woken or `longest` is over.
    pub fn wait_due<'a>(
        &self,
        machine: MutexGuard<'a, Machine<Resolved>>,
        longest: Duration,
    ) -> MutexGuard<'a, Machine<Resolved>> {
        let waited = self.due.wait_timeout(machine, longest);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    pub fn wake_committer(&self) {
        self.due.notify_one();
    }

    /// Waits until the broker holds what an alone record last asked for; false where the record is no longer ours.
    pub async fn marked(&self, ticket: Ticket) -> bool {
        loop {
            let changed = self.marks.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            match self.machine().marked(ticket) {
                Marked::Yes => return true,
                Marked::Stale => return false,
                Marked::NotYet => {}
            }
            self.wake_committer();
            changed.await;
        }
    }

    /// Wakes the poller if the machine has work for it, or room where there was none.
    pub fn wake_poller_if_wanted(&self, wanted: bool) {
        if wanted || self.full.load(SeqCst) {
            self.poller.wake();
        }
    }

    /// After a change: gauges, and the circuit's state.
    pub fn publish(&self, in_flight: InFlight, circuit_open: bool) {
        self.metrics.in_flight_bytes.set(in_flight.bytes as i64);
        self.metrics.in_flight_records.set(in_flight.records as i64);
        self.metrics.circuit_open(circuit_open);
        self.status.circuit_open(circuit_open);
    }

    /// Everybody stops where they are, as if the process died.
    pub fn kill(&self) {
        self.killed.store(true, SeqCst);
        self.poller.wake();
        self.wake_committer();
    }

    pub fn killed(&self) -> bool {
        self.killed.load(SeqCst)
    }
}
