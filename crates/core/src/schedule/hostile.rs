//! Texts that try to break a reader: what it reads, with a few characters changed.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// What has a meaning somewhere, what looks like it, and characters of two to four bytes.
const CHARACTERS: &[char] = &[
    '0', '1', '2', '3', '5', '6', '7', '9', ':', '.', ',', '-', '+', '/', '*', '#', '?', '@', '[', ']', ' ', '\t',
    '\n', 'T', 'Z', 'P', 'L', 'W', 'M', 'd', 's', '\0', '\u{85}', '\u{a0}', 'é', 'µ', 'İ', '٣', '\u{301}', '\u{3000}',
    '€', '−', '：', '１', 'ﬀ', '😀', '𝟗',
];

/// A change of one place.
#[derive(Clone, Debug)]
enum Change {
    Insert(char),
    Replace(char),
    Remove,
    /// What follows comes from another text.
    Join(&'static str, Index),
}

fn change(texts: &'static [&'static str]) -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => select(CHARACTERS).prop_map(Change::Insert),
        3 => select(CHARACTERS).prop_map(Change::Replace),
        1 => Just(Change::Remove),
        1 => (select(texts), any::<Index>()).prop_map(|(text, at)| Change::Join(text, at)),
    ]
}

/// One of these texts after one to five changes, or characters in any order.
pub(super) fn hostile(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    let changes = prop::collection::vec((any::<Index>(), change(texts)), 1..6);
    let changed = (select(texts), changes).prop_map(|(text, changes)| {
        let mut characters: Vec<char> = text.chars().collect();
        for (place, change) in changes {
            let at = place.index(characters.len() + 1);
            let rest = characters.split_off(at);
            match change {
                Change::Insert(character) => characters.extend([character].into_iter().chain(rest)),
                Change::Replace(character) => {
                    characters.extend([character].into_iter().chain(rest.into_iter().skip(1)))
                }
                Change::Remove => characters.extend(rest.into_iter().skip(1)),
                Change::Join(text, from) => characters.extend(text.chars().skip(from.index(text.len()))),
            }
        }
        characters.into_iter().collect()
    });
    let any_order = prop::collection::vec(select(CHARACTERS), 0..24).prop_map(String::from_iter);
    prop_oneof![7 => changed, 1 => any_order]
}

/// Enough to come upon what needs three characters to be just so.
pub(super) fn many() -> ProptestConfig {
    ProptestConfig {
        cases: 8192,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}
