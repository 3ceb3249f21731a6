//! Pages of a listing: keys in the order of their UTF-8 bytes, under a prefix, grouped by a delimiter.

use std::{collections::BTreeSet, ops::Bound};

/// What to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query<'a> {
    pub prefix: &'a str,
    /// Not empty.
    pub delimiter: Option<&'a str>,
    /// The last key or common prefix of the page before.
    pub after: &'a str,
    pub limit: usize,
}

/// Keys and common prefixes, each in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub keys: Vec<String>,
    pub prefixes: Vec<String>,
    /// The last key or prefix of the page, if more follow.
    pub next: Option<String>,
}

pub(crate) fn page(keys: &BTreeSet<String>, query: &Query<'_>) -> Page {
    let mut page = Page::default();
    if query.limit == 0 {
        return page;
    }
    let mut last = String::new();
    let mut from = if query.after < query.prefix {
        Bound::Included(query.prefix.to_owned())
    } else {
        Bound::Excluded(query.after.to_owned())
    };
    while let Some(key) = keys
        .range::<String, _>((from.clone(), Bound::Unbounded))
        .next()
    {
        if !key.starts_with(query.prefix) {
            break;
        }
        let group = group(key, query);
        from = match group {
            None => Bound::Excluded(key.clone()),
            // Skips the group's keys, except those that continue with the highest character.
            Some(group) if key.as_str() <= past(group).as_str() => Bound::Excluded(past(group)),
            Some(_) => Bound::Excluded(key.clone()),
        };
        let item = group.unwrap_or(key);
        if item <= query.after || (group.is_some() && item == last) {
            continue;
        }
        if page.keys.len() + page.prefixes.len() == query.limit {
            page.next = Some(last);
            break;
        }
        last = item.to_owned();
        match group {
            Some(group) => page.prefixes.push(group.to_owned()),
            None => page.keys.push(key.clone()),
        }
    }
    page
}

/// The key up to the first delimiter after the prefix.
fn group<'a>(key: &'a str, query: &Query<'_>) -> Option<&'a str> {
    let delimiter = query.delimiter?;
    let rest = &key[query.prefix.len()..];
    let end = query.prefix.len() + rest.find(delimiter)? + delimiter.len();
    Some(&key[..end])
}

fn past(group: &str) -> String {
    format!("{group}{}", char::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(all: &[&str]) -> BTreeSet<String> {
        all.iter().map(|key| (*key).to_owned()).collect()
    }

    /// Every page, one after another.
    fn walk(
        keys: &BTreeSet<String>,
        prefix: &str,
        delimiter: Option<&str>,
        limit: usize,
    ) -> Vec<String> {
        let (mut after, mut all) = (String::new(), Vec::new());
        loop {
            let query = Query {
                prefix,
                delimiter,
                after: &after,
                limit,
            };
            let found = page(keys, &query);
            assert!(found.keys.len() + found.prefixes.len() <= limit);
            all.extend(found.keys);
            all.extend(found.prefixes);
            match found.next {
                Some(next) => after = next,
                None => break,
            }
        }
        all.sort();
        all
    }

    #[test]
    fn pages_of_any_size_add_up() {
        let all = keys(&[
            "a",
            "a/",
            "a/b",
            "a/c/d",
            "a0",
            "b/\u{10FFFF}",
            "b/\u{10FFFF}x",
            "b/x",
            "ü/1",
            "z",
        ]);
        for limit in 1..12 {
            let whole: Vec<_> = all.iter().cloned().collect();
            assert_eq!(walk(&all, "", None, limit), whole, "limit {limit}");
            assert_eq!(
                walk(&all, "", Some("/"), limit),
                ["a", "a/", "a0", "b/", "z", "ü/"],
                "limit {limit}"
            );
            assert_eq!(
                walk(&all, "a/", Some("/"), limit),
                ["a/", "a/b", "a/c/"],
                "limit {limit}"
            );
            assert_eq!(walk(&all, "b", None, limit).len(), 3);
        }
    }

    #[test]
    fn bytes_order_not_dictionaries() {
        let all = keys(&["Z", "a", "a-b", "a/b", "ab", "é"]);
        let found = page(
            &all,
            &Query {
                limit: 10,
                ..Query::default()
            },
        );
        assert_eq!(found.keys, ["Z", "a", "a-b", "a/b", "ab", "é"]);
        assert_eq!(found.next, None);
    }

    #[test]
    fn a_full_last_page_has_no_next() {
        let all = keys(&["a", "b/1", "b/2"]);
        let found = page(
            &all,
            &Query {
                delimiter: Some("/"),
                limit: 2,
                ..Query::default()
            },
        );
        assert_eq!(
            (found.keys.len(), found.prefixes.len(), found.next),
            (1, 1, None)
        );
        assert_eq!(page(&all, &Query::default()), Page::default());
    }
}
