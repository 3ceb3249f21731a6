//! The entries of the groups' journal.

use super::{
    machine::Group,
    member::{Member, Protocol},
    offsets::{Committed, Offsets, TopicPartition},
};
use crate::codec::{Malformed, Reader, Writer};
use bytes::Bytes;

/// One entry.
#[derive(Debug)]
pub(crate) enum Entry {
    Commit {
        group: String,
        offsets: Vec<(TopicPartition, Committed)>,
    },
    Prepare {
        producer_id: i64,
        group: String,
        offsets: Vec<(TopicPartition, Committed)>,
    },
    End {
        producer_id: i64,
        commit: bool,
    },
    /// A generation that has its assignment, or an empty group.
    Generation {
        group: String,
        state: Generation,
    },
    ForgetGroup {
        group: String,
    },
    ForgetPartition {
        group: String,
        partition: TopicPartition,
    },
    ForgetTopic {
        topic: String,
    },
}

/// The state of a group that survives a restart.
#[derive(Debug, Default)]
pub(crate) struct Generation {
    pub number: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub leader: Option<String>,
    pub members: Vec<(String, Member)>,
}

impl Generation {
    pub(crate) fn of(group: &Group) -> Self {
        Self {
            number: group.generation,
            protocol_type: group.protocol_type.clone(),
            protocol: group.protocol.clone(),
            leader: group.leader.clone(),
            members: group
                .members
                .iter()
                .map(|(id, m)| (id.clone(), m.clone()))
                .collect(),
        }
    }

    /// Restores the group; each member's session starts at `now`.
    pub(crate) fn revive(self, group: &mut Group, now: i64) {
        group.generation = self.number;
        group.protocol_type = self.protocol_type;
        group.protocol = self.protocol;
        group.leader = self.leader;
        for (id, mut member) in self.members {
            member.touch(now);
            group.restore(id, member);
        }
    }
}

impl Entry {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Self::Commit { group, offsets } => put_offsets(out.u8(1).str(group), offsets),
            Self::Prepare {
                producer_id,
                group,
                offsets,
            } => put_offsets(out.u8(2).i64(*producer_id).str(group), offsets),
            Self::End {
                producer_id,
                commit,
            } => {
                out.u8(3).i64(*producer_id).u8(u8::from(*commit));
            }
            Self::Generation { group, state } => {
                out.u8(4).str(group).i32(state.number);
                out.optional(state.protocol_type.as_deref())
                    .optional(state.protocol.as_deref())
                    .optional(state.leader.as_deref());
                out.count(state.members.len());
                for (id, member) in &state.members {
                    put_member(&mut out, id, member);
                }
            }
            Self::ForgetGroup { group } => {
                out.u8(5).str(group);
            }
            Self::ForgetPartition { group, partition } => {
                out.u8(6).str(group).str(&partition.0).i32(partition.1);
            }
            Self::ForgetTopic { topic } => {
                out.u8(7).str(topic);
            }
        }
        out.0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Reader(bytes);
        Ok(match input.u8()? {
            1 => Self::Commit {
                group: input.str()?,
                offsets: offsets(&mut input)?,
            },
            2 => Self::Prepare {
                producer_id: input.i64()?,
                group: input.str()?,
                offsets: offsets(&mut input)?,
            },
            3 => Self::End {
                producer_id: input.i64()?,
                commit: input.u8()? == 1,
            },
            4 => Self::Generation {
                group: input.str()?,
                state: generation(&mut input)?,
            },
            5 => Self::ForgetGroup {
                group: input.str()?,
            },
            6 => Self::ForgetPartition {
                group: input.str()?,
                partition: (input.str()?, input.i32()?),
            },
            7 => Self::ForgetTopic {
                topic: input.str()?,
            },
            _ => return Err(Malformed),
        })
    }

    /// Applies an entry about offsets; returns one about a generation.
    pub(crate) fn apply(self, offsets: &mut Offsets) -> Option<(String, Option<Generation>)> {
        match self {
            Self::Commit {
                group,
                offsets: new,
            } => new
                .into_iter()
                .for_each(|(partition, c)| offsets.commit(&group, partition, c)),
            Self::Prepare {
                producer_id,
                group,
                offsets: new,
            } => {
                new.into_iter()
                    .for_each(|(partition, c)| offsets.prepare(producer_id, &group, partition, c));
            }
            Self::End {
                producer_id,
                commit,
            } => offsets.end(producer_id, commit),
            Self::ForgetPartition { group, partition } => offsets.forget(&group, &partition),
            Self::ForgetTopic { topic } => offsets.forget_topic(&topic),
            Self::Generation { group, state } => return Some((group, Some(state))),
            Self::ForgetGroup { group } => {
                offsets.forget_group(&group);
                return Some((group, None));
            }
        }
        None
    }
}

fn put_offsets(out: &mut Writer, offsets: &[(TopicPartition, Committed)]) {
    out.count(offsets.len());
    for ((topic, partition), c) in offsets {
        out.str(topic)
            .i32(*partition)
            .i64(c.offset)
            .i32(c.leader_epoch)
            .str(&c.metadata)
            .i64(c.at_ms);
    }
}

fn offsets(input: &mut Reader<'_>) -> Result<Vec<(TopicPartition, Committed)>, Malformed> {
    let mut out = Vec::new();
    for _ in 0..input.count()? {
        let partition = (input.str()?, input.i32()?);
        let (offset, leader_epoch) = (input.i64()?, input.i32()?);
        out.push((
            partition,
            Committed {
                offset,
                leader_epoch,
                metadata: input.str()?,
                at_ms: input.i64()?,
            },
        ));
    }
    Ok(out)
}

fn put_member(out: &mut Writer, id: &str, member: &Member) {
    out.str(id)
        .optional(member.instance.as_deref())
        .str(&member.client_id)
        .str(&member.client_host);
    out.i64(member.session_timeout_ms)
        .i64(member.rebalance_timeout_ms)
        .bytes(&member.assignment);
    out.count(member.protocols.len());
    for protocol in &member.protocols {
        out.str(&protocol.name).bytes(&protocol.metadata);
    }
}

fn generation(input: &mut Reader<'_>) -> Result<Generation, Malformed> {
    let mut out = Generation {
        number: input.i32()?,
        protocol_type: input.optional()?,
        protocol: input.optional()?,
        leader: input.optional()?,
        members: Vec::new(),
    };
    for _ in 0..input.count()? {
        let id = input.str()?;
        let mut member = Member {
            instance: input.optional()?,
            client_id: input.str()?,
            client_host: input.str()?,
            session_timeout_ms: input.i64()?,
            rebalance_timeout_ms: input.i64()?,
            protocols: Vec::new(),
            assignment: Bytes::copy_from_slice(input.bytes()?),
            awaiting_join: None,
            awaiting_sync: None,
            expires_ms: i64::MAX,
            is_new: false,
            owes_sync: false,
        };
        for _ in 0..input.count()? {
            member.protocols.push(Protocol {
                name: input.str()?,
                metadata: Bytes::copy_from_slice(input.bytes()?),
            });
        }
        out.members.push((id, member));
    }
    Ok(out)
}
