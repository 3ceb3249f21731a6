//! One process of the service, in the model: the machine, and around it what the real driver's threads do, each step
//! on its own so that anything can happen in between.

use super::{
    broker::{Broker, Member, Refused, TransactionalId, Written},
    simulation::Fault,
    tasks::Tasks,
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
        places: BTreeMap<i32, Place>,
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

/// Why a process ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was fenced, or it died.
    Uncleanly,
    /// It was asked to.
    Cleanly,
}

/// Whether a process was asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopping {
    No,
    /// What is in flight is to be finished, for so many looks of the committer.
    Draining(u32),
    /// The last commit runs.
    Parting,
}

pub struct Process {
    pub instance: usize,
    fault: Fault,
    pub machine: Machine<Written>,
    member: Option<Member>,
    generation: u32,
    /// Where the consumer stands in each partition; none while it has to ask for the committed offset.
    positions: BTreeMap<i32, Option<i64>>,
    /// What this process believes to be committed: for the planted fault only.
    memory: BTreeMap<i32, i64>,
    pub tasks: Tasks,
    producers: Vec<u32>,
    turn: usize,
    running: Option<Running>,
    /// New producers are being made, or the committed offsets read.
    recovering: bool,
    /// What the broker answered, and nobody has looked at yet.
    answer: Option<Vec<Found>>,
    stopping: Stopping,
}

impl Process {
    pub fn start(instance: usize, incarnation: u64, fault: Fault) -> Self {
        let mut machine = Machine::new(
            Incarnation(incarnation),
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
            tasks: Tasks::new(fault),
            producers: Vec::new(),
            turn: 0,
            running: None,
            recovering: true,
            answer: None,
            stopping: Stopping::No,
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
            Err(Refused::Fenced) => return Err(Exit::Uncleanly),
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
                *position = Some(offset);
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
                Ok(place) => {
                    let position = place.map_or(0, |place| place.offset);
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
                self.tasks.add(ticket, input);
            }
            return;
        }
    }

    /// It is asked to end, and given some time.
    pub fn stop(&mut self, patience: u32) {
        if self.stopping == Stopping::No {
            self.stopping = Stopping::Draining(patience);
            self.machine.drain();
        }
    }

    /// One of the tasks makes one step.
    pub fn work(&mut self, random: &mut SmallRng, now: Duration) -> Result<(), Exit> {
        self.tasks.step(&mut self.machine, random, now)
    }

    /// The committer makes one step.
    pub fn commit(
        &mut self,
        broker: &mut Broker,
        network: Network,
        late_requests: &mut Vec<Late>,
        now: Duration,
    ) -> Result<(), Exit> {
        if let Stopping::Draining(patience) = &mut self.stopping {
            *patience = patience.saturating_sub(1);
        }
        let late = self.stopping == Stopping::Draining(0);
        if self.producers.len() < PRODUCERS || self.recovering {
            if late || self.stopping == Stopping::Parting {
                return self.leave(broker);
            }
            if self.producers.len() < PRODUCERS {
                self.recover(broker)
            } else {
                self.read_committed(broker)
            }
            return Ok(());
        }
        match self.running.take() {
            Some(running) => self.advance(running, broker, network, late_requests, now),
            None if self.stopping == Stopping::Parting => self.leave(broker),
            None => {
                if late || self.machine.drained() {
                    self.stopping = Stopping::Parting;
                    self.machine.part();
                }
                self.begin(broker, now);
                Ok(())
            }
        }
    }

    fn leave(&mut self, broker: &mut Broker) -> Result<(), Exit> {
        if self.member.is_some() {
            broker.group.remove(self.instance);
        }
        Err(Exit::Cleanly)
    }

    fn recover(&mut self, broker: &mut Broker) {
        let number = self.producers.len();
        // Refused: the last transaction is not completed yet.
        if let Ok(epoch) = broker.init((self.instance, number)) {
            self.producers.push(epoch);
        }
    }

    fn read_committed(&mut self, broker: &Broker) {
        if self.ask(broker, self.machine.doubtful()) {
            self.recovering = !self.machine.doubtful().is_empty();
        }
    }

    /// Asks in one step, and looks at the answer in the next; true then.
    fn ask(&mut self, broker: &Broker, partitions: Vec<(i32, Epoch)>) -> bool {
        match self.answer.take() {
            Some(found) => {
                self.learn(found);
                true
            }
            None => {
                self.answer = Some(self.find(broker, partitions));
                false
            }
        }
    }

    /// What the broker holds, where that is settled.
    fn find(&self, broker: &Broker, asked: Vec<(i32, Epoch)>) -> Vec<Found> {
        let mut all = Vec::new();
        for (partition, epoch) in asked {
            let Ok(place) = broker.committed(partition) else {
                continue;
            };
            let mark = place.map(|place| place.mark).unwrap_or_default();
            let offset = match self.fault {
                Fault::SeekFromMemory => self.memory.get(&partition).copied(),
                _ => place.map(|place| place.offset),
            };
            let end = broker.inputs[partition as usize].len() as i64;
            all.push(Found {
                partition,
                epoch,
                offset: offset.unwrap_or(0),
                mark,
                end: self.machine.end_matters(mark).then_some(end),
            });
        }
        all
    }

    fn learn(&mut self, mut found: Vec<Found>) {
        for Found { mark, .. } in &mut found {
            match self.fault {
                Fault::CountsRecoveries => mark.owner = mark.owner.map(|_| Incarnation(0)),
                Fault::ForgetsDeaths => *mark = Mark::default(),
                _ => {}
            }
        }
        self.machine.learned(&found);
    }

    fn begin(&mut self, broker: &Broker, now: Duration) {
        let Some(member) = self.member else { return };
        let generation = self.generation;
        let parting = self.stopping == Stopping::Parting;
        if self.machine.due(now) != Due::Now && !parting {
            self.ask(broker, self.machine.unclaimed());
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
                    self.committed(&running.batch.places, now);
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
            Err(Some(Refused::Fenced)) => return Err(Exit::Uncleanly),
            Err(_) => self.doubt(broker, id, epoch),
        }
        Ok(())
    }

    fn committed(&mut self, places: &BTreeMap<i32, Place>, now: Duration) {
        self.machine.committed(now);
        self.turn += 1;
        for (&partition, place) in places {
            self.memory.insert(partition, place.offset);
            self.tasks.committed(partition, place.mark);
        }
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
        let mut places = running.batch.places.clone();
        match self.fault {
            Fault::OffByOne => {
                let back = |place: &mut Place| place.offset = (place.offset - 1).max(0);
                places.values_mut().for_each(back);
            }
            Fault::OffsetsOutside => {
                for (&partition, place) in &places {
                    broker.commit_plainly(member, generation, partition, place.offset);
                }
                return Ok(());
            }
            Fault::CountsCleanEnds => places.retain(|_, place| place.mark.owner.is_some()),
            _ => {}
        }
        match network {
            Network::Lost => Err(None),
            Network::Late => {
                let request = Request::Offsets {
                    member,
                    generation,
                    places,
                };
                late.push(Late { id, epoch, request });
                Err(None)
            }
            _ => {
                broker.send_offsets(id, epoch, member, generation, &places)?;
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
        self.answer = None;
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
        assert!(in_flight.records >= self.tasks.taken(), "{in_flight:?}");
        self.tasks.check();
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
