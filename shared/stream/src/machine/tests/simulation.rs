//! Seeded schedules: processes that start, crash, are cloned, lose partitions, commit into a network that fails; and
//! in the end, calm, in which everything has to come out.

use super::{
    broker::{Broker, Fate, Input, Refused},
    process::{Late, Network, Process, Request},
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::{collections::BTreeMap, time::Duration};

/// A mistake that the simulation has to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The consumer commits where it stands, whatever is done.
    AutoCommit,
    /// Offsets are committed beside the transaction.
    OffsetsOutside,
    /// Work of an assignment that is over is committed.
    NoEpochCheck,
    /// The offset committed is the last one's, not the next one's.
    OffByOne,
    /// After a doubt the consumer goes on from what the process remembers.
    SeekFromMemory,
    /// Nobody says that a partition is given back cleanly.
    CountsCleanEnds,
    /// What a process finds of itself after a doubt counts as a death.
    CountsRecoveries,
    /// Who is assigned a partition does not look at what died there.
    ForgetsDeaths,
    /// An alone record is marked after it started.
    MarksLate,
    /// An alone record is marked while it waits for others to end.
    MarksWhileWaiting,
}

const INSTANCES: usize = 2;
const PARTITIONS: usize = 2;
const RECORDS: usize = 5;
const KEYS: usize = 2;
const CHAOS: usize = 150;
/// Calm rounds in which everything has to come out.
const ROUNDS: usize = 1000;

struct Simulation {
    broker: Broker,
    processes: Vec<Process>,
    late: Vec<Late>,
    random: SmallRng,
    now: Duration,
    fault: Fault,
    incarnations: u64,
    /// By input, how often it ran alone and the process died or lost it.
    deaths: BTreeMap<usize, u32>,
}

/// Runs one schedule; says what broke.
pub fn run(seed: u64, fault: Fault) -> Result<(), String> {
    let mut random = SmallRng::seed_from_u64(seed);
    let broker = Broker::new(inputs(&mut random));
    let mut simulation = Simulation {
        broker,
        processes: vec![Process::start(0, 1, fault)],
        late: Vec::new(),
        random,
        now: Duration::ZERO,
        fault,
        incarnations: 1,
        deaths: BTreeMap::new(),
    };
    for _ in 0..CHAOS {
        simulation.step();
    }
    simulation.settle()?;
    simulation.judge()
}

/// Records with gaps between them, where transaction markers would stand. A key stays in its partition. In every fourth
/// schedule one of the records kills, or two do.
fn inputs(random: &mut SmallRng) -> Vec<Vec<Option<Input>>> {
    let mut id = 0;
    let total = PARTITIONS * RECORDS;
    let killers = match random.random_range(0..8) {
        0 => vec![random.random_range(0..total)],
        1 => vec![random.random_range(0..total), random.random_range(0..total)],
        _ => Vec::new(),
    };
    let mut partition = |number: usize| {
        let mut records = Vec::new();
        for _ in 0..RECORDS {
            if random.random_bool(0.2) {
                records.push(None);
            }
            let key = number * KEYS + random.random_range(0..KEYS);
            let kills = killers.contains(&id);
            records.push(Some(Input { id, key, kills }));
            id += 1;
        }
        records
    };
    (0..PARTITIONS).map(&mut partition).collect()
}

impl Simulation {
    fn step(&mut self) {
        self.now += Duration::from_millis(1);
        match self.random.random_range(0..100) {
            0 => self.start(),
            1 => self.crash(),
            2 => self.evict(),
            3 => self.time_out(),
            4..7 => self.arrive(),
            7..17 => self.complete(),
            17 => self.stop(),
            _ if self.processes.is_empty() => self.start(),
            _ => {
                let at = self.random.random_range(0..self.processes.len());
                let network = self.network();
                let what = self.random.random_range(0..8);
                self.act(at, what, network);
            }
        }
        self.processes.iter().for_each(Process::check);
    }

    /// One thread or task of one process does one thing. A process that ends is started again, as an orchestrator
    /// would.
    fn act(&mut self, at: usize, what: u32, network: Network) {
        let process = &mut self.processes[at];
        let ended = match what {
            0 => process.hear(&mut self.broker),
            1 => {
                process.give_back(&mut self.broker);
                Ok(())
            }
            2 | 3 => {
                process.poll(&mut self.broker, &mut self.random, self.now);
                Ok(())
            }
            4 | 5 => process.work(&mut self.random, self.now),
            _ => process.commit(&mut self.broker, network, &mut self.late, self.now),
        };
        if ended.is_err() {
            self.end(at);
        }
    }

    /// A process is no more. One that parted cleanly has told of everything that it still knew how to tell.
    fn end(&mut self, at: usize) {
        let process = self.processes.swap_remove(at);
        for id in process.tasks.unfinished() {
            *self.deaths.entry(id).or_default() += 1;
        }
    }

    /// One is asked to end, and given more or less time to finish.
    fn stop(&mut self) {
        if !self.processes.is_empty() {
            let at = self.random.random_range(0..self.processes.len());
            let patience = self.random.random_range(0..20);
            self.processes[at].stop(patience);
        }
    }

    fn network(&mut self) -> Network {
        match self.random.random_range(0..40) {
            0 => Network::Lost,
            1 => Network::AnswerLost,
            2 => Network::Late,
            _ => Network::Fine,
        }
    }

    /// Another instance, a restart of one that crashed, or a clone of one that runs.
    fn start(&mut self) {
        let instance = self.random.random_range(0..INSTANCES);
        if self.processes.len() < INSTANCES + 1 {
            self.incarnations += 1;
            let process = Process::start(instance, self.incarnations, self.fault);
            self.processes.push(process);
        }
    }

    fn crash(&mut self) {
        if !self.processes.is_empty() {
            let at = self.random.random_range(0..self.processes.len());
            self.end(at);
        }
    }

    /// A session ends: of a process that is gone, or of one that was only silent.
    fn evict(&mut self) {
        let instance = self.random.random_range(0..INSTANCES);
        self.broker.group.remove(instance);
    }

    fn time_out(&mut self) {
        let ids = self.broker.ids();
        if ids.is_empty() {
            return;
        }
        let id = ids[self.random.random_range(0..ids.len())];
        if self.broker.time_out(id) {
            for process in self.processes.iter_mut().filter(|p| p.instance == id.0) {
                process.timed_out();
            }
        }
    }

    /// A late request arrives at last.
    fn arrive(&mut self) {
        if self.late.is_empty() {
            return;
        }
        let at = self.random.random_range(0..self.late.len());
        let Late { id, epoch, request } = self.late.swap_remove(at);
        let answer: Result<(), Refused> = match request {
            Request::Commit => self.broker.end(id, epoch, true),
            Request::Offsets {
                member,
                generation,
                places,
            } => self
                .broker
                .send_offsets(id, epoch, member, generation, &places),
        };
        // Nobody waits for the answer any more.
        answer.ok();
    }

    fn complete(&mut self) {
        for id in self.broker.ids() {
            if self.random.random_bool(0.7) {
                self.broker.complete(id);
            }
        }
    }

    /// No more faults: whoever is left finishes. Processes that were started twice fence each other first.
    fn settle(&mut self) -> Result<(), String> {
        let total = PARTITIONS * RECORDS;
        for round in 0..ROUNDS {
            self.now += Duration::from_millis(5);
            if round % 20 == 0 {
                self.lay_ghosts();
            }
            if self.processes.is_empty() {
                self.start();
            }
            for id in self.broker.ids() {
                // What nobody ends any more is ended by its age.
                if round % 50 == 49 && self.broker.time_out(id) {
                    let theirs = self.processes.iter_mut().filter(|p| p.instance == id.0);
                    theirs.for_each(Process::timed_out);
                }
                self.broker.complete(id);
            }
            for what in [0, 1, 2, 4, 5, 6] {
                for at in (0..self.processes.len()).rev() {
                    self.act(at, what, Network::Fine);
                }
            }
            let through = self.broker.visible().count() >= total && self.broker.quiet();
            if through && self.processes.iter().all(Process::idle) {
                return Ok(());
            }
        }
        // With a planted fault something may be missing for ever; the verdict says what.
        Ok(())
    }

    /// The sessions of members whose process is gone end.
    fn lay_ghosts(&mut self) {
        let members: Vec<usize> = self.broker.group.members.keys().copied().collect();
        for instance in members {
            if !self.processes.iter().any(|p| p.instance == instance) {
                self.broker.group.remove(instance);
            }
        }
    }

    fn judge(&self) -> Result<(), String> {
        let mut seen: BTreeMap<usize, u32> = BTreeMap::new();
        let mut last: BTreeMap<usize, usize> = BTreeMap::new();
        for written in self.broker.visible() {
            *seen.entry(written.input.id).or_default() += 1;
            let key = written.input.key;
            if last.insert(key, written.input.id) > Some(written.input.id) {
                return Err(format!("key {key} is out of order at {}", written.input.id));
            }
            self.judge_fate(written.input, written.fate)?;
        }
        for id in 0..PARTITIONS * RECORDS {
            let times = seen.get(&id).copied().unwrap_or_default();
            if times != 1 {
                return Err(format!("input {id} came out {times} times"));
            }
        }
        if self.processes.iter().all(Process::idle) {
            Ok(())
        } else {
            Err("something is still in flight".to_owned())
        }
    }

    fn judge_fate(&self, input: Input, fate: Fate) -> Result<(), String> {
        let id = input.id;
        let alive = self.processes.iter().flat_map(|p| p.tasks.unfinished());
        let deaths = self.deaths.get(&id).copied().unwrap_or_default()
            + alive.filter(|&unfinished| unfinished == id).count() as u32;
        match fate {
            Fate::Crashed if deaths < 3 => Err(format!("{id} was set aside after {deaths} deaths")),
            Fate::Crashed => Ok(()),
            _ if input.kills => Err(format!("{id} kills and was not set aside")),
            Fate::Done if id % 5 == 4 => Err(format!("{id} should be a dead letter")),
            _ => Ok(()),
        }
    }
}
