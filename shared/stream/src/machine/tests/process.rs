//! One process of the service, in the model: the machine, and around it what the real driver's threads do, each step
//! on its own so that anything can happen in between.

use super::{
    broker::{Broker, Input, Member, Refused, TransactionalId, Written},
    simulation::Fault,
};
use crate::machine::*;
use rand::{Rng, rngs::SmallRng};
use std::{collections::BTreeMap, time::Duration};

const PRODUCERS: usize = 2;

/// What the network does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Fine,
    /// The request does not arrive.
    Lost,
    /// It arrives, its answer does not.
    AnswerLost,
    /// It arrives later; the client has given up by then.
    Late,
}

/// A request that is still under way.
#[derive(Debug)]
pub struct Late {
    pub id: TransactionalId,
    pub epoch: u32,
    pub request: Request,
}

#[derive(Debug)]
pub enum Request {
    Offsets {
        member: Member,
        generation: u32,
        offsets: BTreeMap<i32, i64>,
    },
    Commit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begun,
    Produced,
    OffsetsSent,
}

#[derive(Debug)]
struct Running {
    batch: Batch<Written>,
    member: Member,
    generation: u32,
    stage: Stage,
}

#[derive(Debug)]
struct Task {
    ticket: Ticket,
    input: Input,
    attempt: u32,
}

/// Why a process ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Exit;

pub struct Process {
    pub instance: usize,
    fault: Fault,
    machine: Machine<Written>,
    member: Option<Member>,
    generation: u32,
    /// Where the consumer stands in each partition; none while it has to ask for the committed offset.
    positions: BTreeMap<i32, Option<i64>>,
    /// What this process believes to be committed: for the planted fault only.
    memory: BTreeMap<i32, i64>,
    tasks: Vec<Task>,
    producers: Vec<u32>,
    turn: usize,
    running: Option<Running>,
    /// New producers are being made, or the committed offsets read.
    recovering: bool,
}

impl Process {
    pub fn start(instance: usize, fault: Fault) -> Self {
        let mut machine = Machine::new(
            Limits {
                bytes: 6,
                records: 5,
            },
            Pacing {
                interval: Duration::from_millis(3),
                max_records: 3,
                max_bytes: 4,
            },
            Retry {
                budget: 3,
                base: Duration::from_millis(1),
                max: Duration::from_millis(8),
            },
            Breaker::new(1_000, Duration::from_millis(5)),
        );
        machine.blind_to_epochs = fault == Fault::NoEpochCheck;
        Self {
            instance,
            fault,
            machine,
            member: None,
            generation: 0,
            positions: BTreeMap::new(),
            memory: BTreeMap::new(),
            tasks: Vec::new(),
            producers: Vec::new(),
            turn: 0,
            running: None,
            recovering: true,
        }
    }

    /// The poll thread hears from the group.
    pub fn hear(&mut self, broker: &mut Broker) -> Result<(), Exit> {
        if self.producers.len() < PRODUCERS && self.member.is_none() {
            return Ok(());
        }
        let member = match self.member {
            Some(member) => member,
            None => *self.member.insert(broker.group.join(self.instance)),
        };
        match broker.group.sync(member) {
            Ok(news) => {
                self.generation = news.generation;
                if !news.revoked.is_empty() {
                    self.machine.revoked(&news.revoked);
                }
                self.machine.assigned(&news.assigned);
                for partition in news.assigned {
                    self.positions.insert(partition, None);
                }
            }
            Err(Refused::Fenced) => return Err(Exit),
            Err(_) => {
                let lost: Vec<i32> = self.positions.keys().copied().collect();
                self.machine.lost(&lost);
                self.positions.clear();
                self.member = None;
            }
        }
        Ok(())
    }

    /// The poll thread gives back what was revoked, once the machine says so.
    pub fn give_back(&mut self, broker: &mut Broker) {
        let Some(member) = self.member else { return };
        for partition in self.machine.releasable() {
            self.positions.remove(&partition);
            broker.group.release(member, partition);
        }
    }

    /// The poll thread seeks, then takes a record from each partition.
    pub fn poll(&mut self, broker: &mut Broker, random: &mut SmallRng, now: Duration) {
        for (partition, epoch, offset) in self.machine.seeks() {
            if let Some(position) = self.positions.get_mut(&partition) {
                *position = Some(offset.unwrap_or(0));
                self.machine.sought(partition, epoch);
            }
        }
        let partitions: Vec<i32> = self.positions.keys().copied().collect();
        for partition in partitions {
            self.take(broker, partition, now);
            if self.fault == Fault::AutoCommit
                && random.random_bool(0.2)
                && let (Some(member), Some(Some(offset))) =
                    (self.member, self.positions.get(&partition))
            {
                broker.commit_plainly(member, self.generation, partition, *offset);
            }
        }
    }

    fn take(&mut self, broker: &Broker, partition: i32, now: Duration) {
        let Some(place) = self.positions.get_mut(&partition) else {
            return;
        };
        let mut position = match *place {
            Some(position) => position,
            None => match broker.committed(partition) {
                Ok(offset) => {
                    let position = offset.unwrap_or(0);
                    self.memory.insert(partition, position);
                    position
                }
                Err(_) => return,
            },
        };
        *place = Some(position);
        if !self.machine.admits(now) || !self.machine.flows(partition) {
            return;
        }
        let records = &broker.inputs[partition as usize];
        while let Some(record) = records.get(position as usize) {
            let offset = position;
            position += 1;
            *place = Some(position);
            let Some(input) = *record else { continue };
            if let Some(ticket) = self.machine.taken(partition, offset, 1, now) {
                let attempt = 1;
                self.tasks.push(Task {
                    ticket,
                    input,
                    attempt,
                });
            }
            return;
        }
    }

    /// One of the tasks makes an attempt. Every fifth input is poison, every seventh always fails, and now and then
    /// any attempt does.
    pub fn work(&mut self, random: &mut SmallRng, now: Duration) {
        if self.tasks.is_empty() {
            return;
        }
        let mut task = self
            .tasks
            .swap_remove(random.random_range(0..self.tasks.len()));
        let poison = task.input.id % 5 == 4;
        let failing = task.input.id % 7 == 6 || random.random_bool(0.1);
        let mut dead_letter = poison;
        if failing && !poison {
            let failed = self
                .machine
                .failed(task.ticket, task.attempt, None, now, 0.5);
            match failed {
                Failed::Again { counts, .. } => {
                    task.attempt += u32::from(counts);
                    self.tasks.push(task);
                    return;
                }
                Failed::Stale => return,
                Failed::Exhausted => dead_letter = true,
            }
        }
        let written = Written {
            input: task.input,
            dead_letter,
        };
        let sign = if dead_letter {
            Sign::Neutral
        } else {
            Sign::Good
        };
        self.machine.resolved(task.ticket, written, 1, sign, now);
    }

    /// The committer makes one step.
    pub fn commit(
        &mut self,
        broker: &mut Broker,
        network: Network,
        late: &mut Vec<Late>,
        now: Duration,
    ) -> Result<(), Exit> {
        if self.producers.len() < PRODUCERS {
            return self.recover(broker);
        }
        if self.recovering {
            self.read_committed(broker);
            return Ok(());
        }
        match self.running.take() {
            None => {
                self.begin(now);
                Ok(())
            }
            Some(running) => self.advance(running, broker, network, late, now),
        }
    }

    fn recover(&mut self, broker: &mut Broker) -> Result<(), Exit> {
        let number = self.producers.len();
        // Refused: the last transaction is not completed yet.
        if let Ok(epoch) = broker.init((self.instance, number)) {
            self.producers.push(epoch);
        }
        Ok(())
    }

    fn read_committed(&mut self, broker: &Broker) {
        let mut offsets = Vec::new();
        for (partition, epoch) in self.machine.unknown() {
            let offset = match self.fault {
                Fault::SeekFromMemory => Ok(self.memory.get(&partition).copied()),
                _ => broker.committed(partition),
            };
            let Ok(offset) = offset else { return };
            offsets.push((partition, epoch, offset));
        }
        self.machine.recovered(&offsets);
        self.recovering = false;
    }

    fn begin(&mut self, now: Duration) {
        let Some(member) = self.member else { return };
        let generation = self.generation;
        if self.machine.due(now) != Due::Now {
            return;
        }
        if let Some(batch) = self.machine.take_batch() {
            self.running = Some(Running {
                batch,
                member,
                generation,
                stage: Stage::Begun,
            });
        }
    }

    fn advance(
        &mut self,
        mut running: Running,
        broker: &mut Broker,
        network: Network,
        late: &mut Vec<Late>,
        now: Duration,
    ) -> Result<(), Exit> {
        let number = self.turn % PRODUCERS;
        let (id, epoch) = ((self.instance, number), self.producers[number]);
        let answer = match running.stage {
            Stage::Begun => running
                .batch
                .results
                .iter()
                .try_for_each(|written| broker.produce(id, epoch, *written))
                .map(|()| Stage::Produced)
                .map_err(Some),
            Stage::Produced => self
                .send_offsets(&running, broker, id, network, late)
                .map(|()| Stage::OffsetsSent),
            Stage::OffsetsSent => {
                let answer = end(broker, id, epoch, network, late);
                if answer.is_ok() {
                    self.machine.committed(now);
                    self.memory.extend(&running.batch.offsets);
                    self.turn += 1;
                    return Ok(());
                }
                answer.map(|()| Stage::OffsetsSent)
            }
        };
        match answer {
            Ok(stage) => {
                running.stage = stage;
                self.running = Some(running);
            }
            // Nothing was done: the client library asks again. A batch is produced in one step, so none is doubled.
            Err(Some(Refused::Concurrent)) => self.running = Some(running),
            Err(Some(Refused::Fenced)) => return Err(Exit),
            Err(_) => self.doubt(broker, id, epoch),
        }
        Ok(())
    }

    fn send_offsets(
        &self,
        running: &Running,
        broker: &mut Broker,
        id: TransactionalId,
        network: Network,
        late: &mut Vec<Late>,
    ) -> Result<(), Option<Refused>> {
        let epoch = self.producers[id.1];
        let (member, generation) = (running.member, running.generation);
        let mut offsets = running.batch.offsets.clone();
        if self.fault == Fault::OffByOne {
            offsets.values_mut().for_each(|offset| *offset -= 1);
        }
        if self.fault == Fault::OffsetsOutside {
            for (&partition, &offset) in &offsets {
                broker.commit_plainly(member, generation, partition, offset);
            }
            return Ok(());
        }
        match network {
            Network::Lost => Err(None),
            Network::Late => {
                let request = Request::Offsets {
                    member,
                    generation,
                    offsets,
                };
                late.push(Late { id, epoch, request });
                Err(None)
            }
            _ => {
                broker.send_offsets(id, epoch, member, generation, &offsets)?;
                match network {
                    Network::AnswerLost => Err(None),
                    _ => Ok(()),
                }
            }
        }
    }

    /// What the driver does after any failure: abort as far as possible, new producers, ask the broker.
    fn doubt(&mut self, broker: &mut Broker, id: TransactionalId, epoch: u32) {
        // Refused where the transaction ended otherwise: then there is nothing to abort.
        broker.end(id, epoch, false).ok();
        self.start_over();
    }

    fn start_over(&mut self) {
        self.machine.doubted();
        self.producers.clear();
        self.turn = 0;
        self.recovering = true;
    }

    /// The broker aborted this producer's transaction for its age: the driver starts over, too.
    pub fn timed_out(&mut self) {
        if self.running.take().is_some() {
            self.start_over();
        }
    }

    pub fn idle(&self) -> bool {
        self.tasks.is_empty()
            && self.running.is_none()
            && self.machine.in_flight() == InFlight::default()
    }

    /// What must hold at any time.
    pub fn check(&self) {
        let in_flight = self.machine.in_flight();
        assert!(in_flight.records <= 5 + 3, "{in_flight:?}");
        assert!(in_flight.records >= self.tasks.len(), "{in_flight:?}");
    }
}

fn end(
    broker: &mut Broker,
    id: TransactionalId,
    epoch: u32,
    network: Network,
    late: &mut Vec<Late>,
) -> Result<(), Option<Refused>> {
    match network {
        Network::Lost => Err(None),
        Network::Late => {
            let request = Request::Commit;
            late.push(Late { id, epoch, request });
            Err(None)
        }
        Network::Fine | Network::AnswerLost => {
            broker.end(id, epoch, true)?;
            match network {
                Network::AnswerLost => Err(None),
                _ => Ok(()),
            }
        }
    }
}
