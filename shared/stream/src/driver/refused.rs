//! Records whose outputs or dead letters the broker refuses for their size.
//!
//! A refusal is known only after the transaction has failed, and the record is read again. What is noted here decides
//! what is written for it then. Each refusal makes that smaller, so that the record is committed in the end.

use parking_lot::Mutex;
use std::collections::HashMap;

/// What a dead letter leaves out of the original.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum LeftOut {
    #[default]
    Nothing,
    Value,
    /// Key, value and headers.
    Everything,
}

/// What was refused of one record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The error, where its outputs were refused: it becomes a dead letter.
    pub outputs: Option<String>,
    /// What its dead letter must leave out.
    pub left_out: LeftOut,
}

/// Refusals by partition and offset.
#[derive(Default)]
pub(crate) struct Refused(Mutex<HashMap<(i32, i64), Refusal>>);

impl Refused {
    /// The record's outputs were refused.
    pub fn outputs(&self, record: (i32, i64), error: String) {
        self.0.lock().entry(record).or_default().outputs = Some(error);
    }

    /// The record's dead letter was refused. Returns what the next one leaves out.
    pub fn dead_letter(&self, record: (i32, i64)) -> LeftOut {
        let mut refused = self.0.lock();
        let refusal = refused.entry(record).or_default();
        refusal.left_out = match refusal.left_out {
            LeftOut::Nothing => LeftOut::Value,
            LeftOut::Value | LeftOut::Everything => LeftOut::Everything,
        };
        refusal.left_out
    }

    /// What was refused of a record so far.
    pub fn of(&self, record: (i32, i64)) -> Refusal {
        self.0.lock().get(&record).cloned().unwrap_or_default()
    }

    /// The record is committed.
    pub fn settled(&self, record: (i32, i64)) {
        self.0.lock().remove(&record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_leaves_more_out_until_the_record_is_committed() {
        let refused = Refused::default();
        let record = (1, 7);
        refused.outputs(record, "too large".into());
        assert_eq!(refused.of(record).left_out, LeftOut::Nothing);
        assert_eq!(refused.dead_letter(record), LeftOut::Value);
        assert_eq!(refused.dead_letter(record), LeftOut::Everything);
        assert_eq!(refused.dead_letter(record), LeftOut::Everything);
        assert_eq!(refused.of(record).outputs.as_deref(), Some("too large"));
        assert_eq!(refused.of((1, 8)), Refusal::default());
        refused.settled(record);
        assert_eq!(refused.of(record), Refusal::default());
    }
}
