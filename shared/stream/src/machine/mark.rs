//! Marks: the text that is committed with each offset. It names the process that works on from there, and counts how
//! many processes died there.
//!
//! Kafka stores a text with each committed offset, its *metadata*. Marks are kept there, so they survive the process
//! and need no other store. They find the record that processes die of:
//!
//! - A process that is assigned a partition claims it: it commits a mark with its own name. When it ends cleanly, it
//!   commits a mark without a name.
//! - An owner that finds another owner's name counts a death. A commit that moves the offset resets the count to 0.
//! - From the second death on, the records from that offset run alone: nothing else runs in the process meanwhile, and
//!   before a record starts, its mark says that it is executed.
//! - An owner that finds another owner's mark of an executed record counts a death of that record.
//!
//! The text is versioned, short, and parsed strictly. Any other text counts as no mark, so offsets that were committed
//! by hand or by an earlier version start with no deaths.

use std::fmt;

/// How many owners must die at one offset before its records run alone.
const DEATHS_UNTIL_ALONE: u32 = 2;
/// How many owners must die of a record that runs alone before it is set aside.
const DEATHS_ALONE: u32 = 3;
const VERSION: &str = "sightline1";

/// A process, identified by a random number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Incarnation(pub u64);

/// The text committed with an offset, as described above. The default is the mark of a partition that was given back
/// cleanly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    /// The process that works on from the offset; none after a clean end.
    pub owner: Option<Incarnation>,
    pub running: Running,
}

/// How the records from the offset on are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Running {
    /// Concurrently. This many owners in a row died without moving the offset.
    Together { deaths: u32 },
    /// One at a time, for this many records more. The suspect is the record that was executed last.
    Alone { left: u32, suspect: Option<Suspect> },
}

/// A record that runs, or ran, alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Suspect {
    pub offset: i64,
    /// It is executed; false while it waits or backs off.
    pub executing: bool,
    /// Owners that died while it was executed.
    pub died: u32,
}

impl Default for Running {
    fn default() -> Self {
        Self::Together { deaths: 0 }
    }
}

impl Mark {
    /// The mark of an owner that has moved the offset.
    pub fn owned(owner: Incarnation) -> Self {
        Self {
            owner: Some(owner),
            running: Running::default(),
        }
    }

    /// The mark that `owner` commits when the partition is assigned to it. `ahead` is how many records the previous
    /// owner can have had in flight. Where it is 0, no record of the partition can be the cause of the deaths.
    pub fn claimed(self, owner: Incarnation, ahead: u32) -> Self {
        let died = u32::from(self.owner.is_some_and(|before| before != owner));
        let running = match self.running {
            Running::Together { deaths } => match deaths.saturating_add(died) {
                deaths if deaths < DEATHS_UNTIL_ALONE => Running::Together { deaths },
                _ if ahead == 0 => Running::default(),
                _ => Running::Alone {
                    left: ahead,
                    suspect: None,
                },
            },
            Running::Alone { left, suspect } => Running::Alone {
                left,
                suspect: suspect.map(|suspect| Suspect {
                    executing: false,
                    died: if suspect.executing {
                        suspect.died.saturating_add(died)
                    } else {
                        suspect.died
                    },
                    ..suspect
                }),
            },
        };
        Self {
            owner: Some(owner),
            running,
        }
    }

    /// The mark with the offset after a resolved record. `crashed`: the record was set aside for its deaths, so the
    /// cause is found and later records run concurrently again.
    pub fn moved(self, owner: Incarnation, crashed: bool) -> Self {
        let running = match self.running {
            Running::Alone { left, .. } if left > 1 && !crashed => Running::Alone {
                left: left - 1,
                suspect: None,
            },
            _ => Running::default(),
        };
        Self {
            owner: Some(owner),
            running,
        }
    }

    /// The mark of the record at `offset` that says whether it is executed; none where this mark says so already.
    pub fn with_execution(self, offset: i64, executing: bool) -> Option<Self> {
        let Running::Alone { left, suspect } = self.running else {
            return None;
        };
        let same = suspect.filter(|suspect| suspect.offset == offset);
        let says = same.is_some_and(|suspect| suspect.executing);
        (says != executing).then_some(Self {
            running: Running::Alone {
                left,
                suspect: Some(Suspect {
                    offset,
                    executing,
                    died: same.map_or(0, |suspect| suspect.died),
                }),
            },
            ..self
        })
    }

    /// The mark of a clean end. The counts stay, and the next owner adds no death.
    pub fn released(self) -> Self {
        let running = match self.running {
            Running::Alone {
                left,
                suspect: Some(suspect),
            } => Running::Alone {
                left,
                suspect: Some(Suspect {
                    executing: false,
                    ..suspect
                }),
            },
            running => running,
        };
        Self {
            owner: None,
            running,
        }
    }

    /// Whether records from the offset on run alone.
    pub fn alone(self) -> bool {
        matches!(self.running, Running::Alone { .. })
    }

    /// How many processes died while they executed this record alone, where that is enough to set it aside.
    pub fn crashed(self, offset: i64) -> Option<u32> {
        match self.running {
            Running::Alone {
                suspect: Some(suspect),
                ..
            } if suspect.offset == offset && suspect.died >= DEATHS_ALONE => Some(suspect.died),
            _ => None,
        }
    }

    /// The mark of a text; the default where the text is not exactly what a mark is written as.
    pub fn parse(text: &str) -> Self {
        read(text)
            .filter(|mark| mark.to_string() == text)
            .unwrap_or_default()
    }
}

/// Parses leniently. The caller checks that the mark is written as the same text.
fn read(text: &str) -> Option<Mark> {
    let words = text.strip_prefix(VERSION)?;
    let value = |name: &str| {
        words
            .split(' ')
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    };
    let number = |name: &str| value(name)?.parse::<u32>().ok();
    let owner = match value("owner")? {
        "none" => None,
        owner => Some(Incarnation(u64::from_str_radix(owner, 16).ok()?)),
    };
    let running = match number("left") {
        None => Running::Together {
            deaths: number("deaths")?,
        },
        Some(left) => Running::Alone {
            left,
            suspect: value("record").and_then(|offset| {
                Some(Suspect {
                    offset: offset.parse().ok()?,
                    executing: number("executing")? == 1,
                    died: number("died")?,
                })
            }),
        },
    };
    Some(Mark { owner, running })
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return Ok(());
        }
        write!(f, "{VERSION} owner=")?;
        match self.owner {
            Some(Incarnation(number)) => write!(f, "{number:016x}")?,
            None => write!(f, "none")?,
        }
        match self.running {
            Running::Together { deaths } => write!(f, " deaths={deaths}"),
            Running::Alone { left, suspect } => {
                write!(f, " alone left={left}")?;
                let Some(suspect) = suspect else {
                    return Ok(());
                };
                let Suspect {
                    offset,
                    executing,
                    died,
                } = suspect;
                let executing = u8::from(executing);
                write!(f, " record={offset} executing={executing} died={died}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ME: Incarnation = Incarnation(0xa1);
    const OTHER: Incarnation = Incarnation(0xb2);

    fn alone(owner: Option<Incarnation>, suspect: Option<Suspect>) -> Mark {
        Mark {
            owner,
            running: Running::Alone { left: 7, suspect },
        }
    }

    fn suspect(executing: bool, died: u32) -> Option<Suspect> {
        Some(Suspect {
            offset: 40,
            executing,
            died,
        })
    }

    #[test]
    fn what_is_written_can_be_read_by_people() {
        let texts = [
            Mark::default(),
            Mark::owned(ME),
            alone(None, None),
            alone(Some(ME), suspect(true, 2)),
        ]
        .map(|mark| mark.to_string());
        assert_eq!(
            texts,
            [
                "",
                "sightline1 owner=00000000000000a1 deaths=0",
                "sightline1 owner=none alone left=7",
                "sightline1 owner=00000000000000a1 alone left=7 record=40 executing=1 died=2",
            ]
        );
    }

    #[test]
    fn the_second_death_without_progress_has_the_records_run_alone() {
        let first = Mark::owned(OTHER).claimed(ME, 9);
        assert_eq!(first.running, Running::Together { deaths: 1 });
        let second = first.claimed(OTHER, 9);
        let left_9 = Running::Alone {
            left: 9,
            suspect: None,
        };
        assert_eq!(second.running, left_9);
        assert_eq!(first.moved(ME, false), Mark::owned(ME));
    }

    #[test]
    fn owners_of_a_partition_in_which_nothing_waits_did_not_die_of_it() {
        let second = Mark::owned(OTHER).claimed(ME, 0).claimed(OTHER, 0);
        assert_eq!(second, Mark::owned(OTHER));
    }

    #[test]
    fn clean_ends_and_recoveries_of_the_same_process_count_nothing() {
        let marks = [
            Mark::owned(OTHER),
            Mark::owned(OTHER).claimed(ME, 9),
            alone(Some(ME), suspect(true, 2)),
        ];
        for mark in marks {
            let given_back = mark.released().claimed(Incarnation(3), 9);
            let again = mark.claimed(mark.owner.unwrap(), 9);
            assert_eq!(given_back.running, again.running, "{mark:?}");
        }
    }

    #[test]
    fn only_deaths_while_executing_count_against_a_record() {
        let mut mark = alone(Some(OTHER), None);
        for (owner, died) in [(1, 1), (2, 2), (3, 3)] {
            // Before it starts, and while it backs off, a death says nothing.
            mark = mark.claimed(Incarnation(owner + 10), 9);
            assert_eq!(mark.crashed(40), None);
            mark = mark.with_execution(40, true).unwrap();
            mark = mark.with_execution(40, false).unwrap();
            mark = mark.claimed(Incarnation(owner + 20), 9);
            mark = mark.with_execution(40, true).unwrap();
            assert_eq!(mark.with_execution(40, true), None, "it says so already");
            mark = mark.claimed(Incarnation(owner), 9);
            assert_eq!(mark.running, alone(None, suspect(false, died)).running);
        }
        assert_eq!(mark.crashed(40), Some(3));
        assert_eq!(mark.crashed(41), None, "another record stands there now");
        assert!(mark.moved(ME, false).alone());
        assert_eq!(mark.moved(ME, true), Mark::owned(ME));
    }

    #[test]
    fn records_run_alone_until_as_many_are_through_as_can_have_been_in_hand() {
        let mut mark = alone(Some(ME), suspect(true, 1));
        for _ in 0..6 {
            mark = mark.moved(ME, false);
            assert!(mark.alone());
        }
        assert_eq!(mark.moved(ME, false), Mark::owned(ME));
    }

    fn marks() -> impl Strategy<Value = Mark> {
        let owner = prop::option::of(any::<u64>().prop_map(Incarnation));
        let suspect = prop::option::of((0..i64::MAX, any::<bool>(), any::<u32>()));
        let suspect = suspect.prop_map(|suspect| {
            suspect.map(|(offset, executing, died)| Suspect {
                offset,
                executing,
                died,
            })
        });
        let running = prop_oneof![
            any::<u32>().prop_map(|deaths| Running::Together { deaths }),
            (any::<u32>(), suspect).prop_map(|(left, suspect)| Running::Alone { left, suspect }),
        ];
        (owner, running).prop_map(|(owner, running)| Mark { owner, running })
    }

    proptest! {
        #[test]
        fn every_mark_is_read_as_it_was_written(mark in marks()) {
            let text = mark.to_string();
            prop_assert!(text.len() <= 120, "{text}");
            prop_assert_eq!(Mark::parse(&text), mark);
        }

        #[test]
        fn anything_else_is_no_mark(mark in marks(), at in 0usize..120, with in any::<char>()) {
            let mut text: Vec<char> = mark.to_string().chars().collect();
            let at = at.min(text.len());
            text.insert(at, with);
            let text: String = text.into_iter().collect();
            let read = Mark::parse(&text);
            prop_assert!(read == Mark::default() || read.to_string() == text);
        }

        #[test]
        fn foreign_text_is_no_mark(text in ".*") {
            prop_assert_eq!(Mark::parse(&text), Mark::default());
        }
    }
}
