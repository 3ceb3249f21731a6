//! What the threads and tasks of one loop share: the machine, and how they wake each other.

use super::{
    lag::Lag,
    phase::{Phase, Progress},
    refused::Refused,
    signal::Signal,
    writing::Resolved,
};
use crate::{LoopSettings, Metrics, Status, machine::*};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// The owner that this process's marks name. It is the process that dies of a record, so all of its loops are one
/// owner, and a loop that is started again in the same process has not died.
static THIS_PROCESS: LazyLock<Incarnation> = LazyLock::new(|| Incarnation(rand::random()));

/// Both threads look for work at least this often, whether they are woken or not.
pub(crate) const TICK: Duration = Duration::from_millis(100);

pub(crate) struct Shared {
    start: Instant,
    machine: Mutex<Machine<Resolved>>,
    /// Wakes the committer, which waits with the machine's lock.
    due: Condvar,
    /// Wakes the poller.
    poller: Arc<Signal>,
    /// Wakes the tasks of records that run alone.
    marks: Notify,
    progress: Progress,
    lag: Lag,
    refused: Refused,
    metrics: Metrics,
    status: Status,
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
            poller: Arc::default(),
            marks: Notify::new(),
            progress: Progress::new(),
            lag: Lag::new(metrics.clone()),
            refused: Refused::default(),
            metrics,
            status,
        }
    }

    /// The machine's time.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The machine, to look at it or to note what concerns the calling thread alone. Everything else is a
    /// [change](Self::change).
    pub fn machine(&self) -> MutexGuard<'_, Machine<Resolved>> {
        self.machine.lock()
    }

    /// Changes the machine. Sets the gauges and the status accordingly, and wakes whoever may now have something to do.
    pub fn change<T>(&self, change: impl FnOnce(&mut Machine<Resolved>) -> T) -> T {
        let mut machine = self.machine.lock();
        let (was_open, flowed) = (machine.circuit_open(), machine.flowing());
        let result = change(&mut machine);
        let open = machine.circuit_open();
        let wants_poller = machine.wants_poller() || machine.flowing() > flowed;
        self.publish(machine.in_flight(), open);
        drop(machine);
        match (was_open, open) {
            (false, true) => tracing::error!(
                "circuit opened: more than half of the last minute's records failed"
            ),
            (true, false) => tracing::info!("circuit closed"),
            _ => {}
        }
        self.due.notify_one();
        self.marks.notify_waiters();
        if wants_poller {
            self.poller.wake();
        }
        result
    }

    fn publish(&self, in_flight: InFlight, circuit_open: bool) {
        self.metrics.in_flight_bytes.set(in_flight.bytes as i64);
        self.metrics.in_flight_records.set(in_flight.records as i64);
        self.metrics.circuit_open(circuit_open);
        self.status.circuit_open(circuit_open);
    }

    /// Gives up the committer's lock until something changes or `longest` is over.
    pub fn wait_for_change(
        &self,
        machine: &mut MutexGuard<'_, Machine<Resolved>>,
        longest: Duration,
    ) {
        self.due.wait_for(machine, longest);
    }

    /// Waits until the broker holds the mark that was last asked for a record that runs alone. False where the record
    /// is no longer ours.
    pub async fn marked(&self, ticket: Ticket) -> bool {
        loop {
            let changed = self.marks.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let marked = self.machine().marked(ticket);
            match marked {
                Marked::Yes => return true,
                Marked::Stale => return false,
                Marked::NotYet => changed.await,
            }
        }
    }

    /// What wakes the poll thread.
    pub fn poller(&self) -> &Arc<Signal> {
        &self.poller
    }

    pub fn phase(&self) -> Phase {
        self.progress.phase()
    }

    /// Moves on to a phase, unless the loop is past it, and has both threads look at it.
    pub fn advance(&self, to: Phase) {
        self.progress.advance(to);
        self.poller.wake();
        self.due.notify_one();
    }

    /// Sets the gauges that no change sets.
    pub fn measure(&self) {
        self.lag.publish();
        self.metrics.alone.set(self.machine().alone() as i64);
    }

    /// Not to be used while the machine is locked.
    pub fn lag(&self) -> &Lag {
        &self.lag
    }

    pub fn refused(&self) -> &Refused {
        &self.refused
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub fn status(&self) -> &Status {
        &self.status
    }
}
