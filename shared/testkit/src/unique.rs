//! Names that no other test uses, neither at the same time nor in an earlier run on the same broker.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// `stem` with a unique suffix: valid as the name of a topic, group, transactional id or folder.
pub fn unique(stem: &str) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis());
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{stem}-{now:x}-{:x}-{next}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::unique;

    #[test]
    fn no_name_comes_twice() {
        assert_ne!(unique("topic"), unique("topic"));
        assert!(unique("topic").starts_with("topic-"));
    }
}
