//! What a process of the model works on: each record a task, each task a few steps, and the gate between records that
//! run beside others and those that run alone.

use super::{
    broker::{Fate, Input, Written},
    process::Exit,
    simulation::Fault,
};
use crate::machine::*;
use rand::{Rng, rngs::SmallRng};
use std::{collections::BTreeMap, time::Duration};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// For its turn, or backing off.
    Waits,
    /// Alone: nothing else runs, and the broker is to know that it starts.
    Starts,
    Runs,
    /// Alone: the broker is to know that it waits.
    Rests,
    /// Alone: what came of it is to be committed.
    Ends,
}

#[derive(Debug)]
struct Task {
    ticket: Ticket,
    input: Input,
    attempt: u32,
    step: Step,
}

impl Task {
    fn alone(&self) -> bool {
        self.ticket.manner == Manner::Alone
    }

    /// Whether it keeps others from running, or would have to.
    fn busy(&self) -> bool {
        self.step != Step::Waits
    }
}

pub struct Tasks {
    fault: Fault,
    tasks: Vec<Task>,
    /// By partition, the input that started alone, of which the broker does not know that it runs no more.
    trials: BTreeMap<i32, usize>,
    /// Inputs that were taken away from us meanwhile.
    lost: Vec<usize>,
}

impl Tasks {
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            tasks: Vec::new(),
            trials: BTreeMap::new(),
            lost: Vec::new(),
        }
    }

    pub fn add(&mut self, ticket: Ticket, input: Input) {
        self.tasks.push(Task {
            ticket,
            input,
            attempt: 1,
            step: Step::Waits,
        });
    }

    /// One of the tasks makes a step.
    pub fn step(
        &mut self,
        machine: &mut Machine<Written>,
        random: &mut SmallRng,
        now: Duration,
    ) -> Result<(), Exit> {
        if self.tasks.is_empty() {
            return Ok(());
        }
        let at = random.random_range(0..self.tasks.len());
        let mut task = self.tasks.swap_remove(at);
        if task.step == Step::Waits {
            self.start(machine, &mut task);
        }
        let goes_on = match task.step {
            Step::Waits => true,
            Step::Starts => until_marked(machine, &mut task, Step::Runs),
            Step::Rests => until_marked(machine, &mut task, Step::Waits),
            Step::Ends => machine.marked(task.ticket) == Marked::NotYet,
            Step::Runs if random.random_bool(0.3) => true,
            Step::Runs => self.attempt(machine, &mut task, random, now)?,
        };
        if goes_on {
            self.tasks.push(task);
        }
        Ok(())
    }

    /// Starts if the gate is open: for an alone record, if nothing runs; for the others, if no alone one does.
    fn start(&mut self, machine: &mut Machine<Written>, task: &mut Task) {
        let late = self.fault == Fault::MarksLate;
        if task.alone() && self.fault == Fault::MarksWhileWaiting {
            machine.execute(task.ticket);
        }
        let closes = |other: &Task| other.busy() && (task.alone() || other.alone());
        if self.tasks.iter().any(closes) {
            return;
        }
        task.step = match task.ticket.manner {
            Manner::Together | Manner::Crashed { .. } => Step::Runs,
            Manner::Alone => {
                let (partition, id) = (task.ticket.partition, task.input.id);
                self.lost.extend(self.trials.insert(partition, id));
                if !late {
                    machine.execute(task.ticket);
                }
                if late { Step::Runs } else { Step::Starts }
            }
        };
    }

    /// An attempt ends; false where the task does, too. Every fifth input is rejected, every seventh always fails, and
    /// now and then any attempt does.
    fn attempt(
        &mut self,
        machine: &mut Machine<Written>,
        task: &mut Task,
        random: &mut SmallRng,
        now: Duration,
    ) -> Result<bool, Exit> {
        let crashed = matches!(task.ticket.manner, Manner::Crashed { .. });
        if task.input.kills && !crashed {
            return Err(Exit::Uncleanly);
        }
        let rejected = task.input.id % 5 == 4;
        let failing = task.input.id % 7 == 6 || random.random_bool(0.1);
        let mut fate = match (crashed, rejected) {
            (true, _) => Fate::Crashed,
            (_, true) => Fate::DeadLetter,
            _ => Fate::Done,
        };
        if failing && fate == Fate::Done {
            match machine.failed(task.ticket, task.attempt, None, now, 0.5) {
                Failed::Again { counts, .. } => {
                    task.attempt += u32::from(counts);
                    task.step = if task.alone() {
                        Step::Rests
                    } else {
                        Step::Waits
                    };
                    return Ok(true);
                }
                Failed::Stale => return Ok(false),
                Failed::Exhausted => fate = Fate::DeadLetter,
            }
        }
        let input = task.input;
        let written = Written { input, fate };
        let sign = match fate {
            Fate::Done => Sign::Good,
            _ => Sign::Neutral,
        };
        machine.resolved(task.ticket, written, 1, sign, now);
        task.step = Step::Ends;
        Ok(task.alone())
    }

    /// The broker holds this mark of ours.
    pub fn committed(&mut self, partition: i32, mark: Mark) {
        let executing = match mark.running {
            Running::Alone { suspect, .. } => suspect.is_some_and(|suspect| suspect.executing),
            Running::Together { .. } => false,
        };
        if !executing {
            self.trials.remove(&partition);
        }
    }

    /// The inputs that ran alone, and nobody said to the broker that they stopped: once for each time.
    pub fn unfinished(&self) -> impl Iterator<Item = usize> + '_ {
        self.trials.values().chain(&self.lost).copied()
    }

    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Records taken and not resolved.
    pub fn taken(&self) -> usize {
        self.tasks.iter().filter(|t| t.step != Step::Ends).count()
    }

    pub fn check(&self) {
        let busy = self.tasks.iter().filter(|task| task.busy());
        let (alone, beside): (Vec<_>, Vec<_>) = busy.partition(|task| task.alone());
        assert!(
            alone.len() <= 1 && (alone.is_empty() || beside.is_empty()),
            "{alone:?} beside {beside:?}"
        );
    }
}

/// Goes on to `then` once the broker holds what was asked for; false where the record is no longer ours.
fn until_marked(machine: &mut Machine<Written>, task: &mut Task, then: Step) -> bool {
    match machine.marked(task.ticket) {
        Marked::Yes => task.step = then,
        Marked::NotYet => {}
        Marked::Stale => {
            machine.forgotten(task.ticket);
            return false;
        }
    }
    true
}
