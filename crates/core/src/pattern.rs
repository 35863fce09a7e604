//! Patterns of names and of labels.

use crate::task::{Label, NameError, TaskName};

/// What a pattern begins with that is one of labels; no name has a colon.
pub const OF_LABELS: &str = "label:";

/// Whether a text may stand for more than one task.
#[must_use]
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?']) || text.starts_with(OF_LABELS)
}

/// Checks a text that is to be a pattern.
///
/// # Errors
/// [`NameError`] for what can stand for no name and no label, with its column in the text.
pub fn check(pattern: &str) -> Result<(), NameError> {
    let (before, rest) = match pattern.strip_prefix(OF_LABELS) {
        Some(of_label) => (OF_LABELS.len(), of_label),
        None => (0, pattern),
    };
    if rest.is_empty() {
        return Err(NameError::Empty);
    }
    let fits = |character: char| character.is_ascii_alphanumeric() || "._-*?".contains(character);
    match rest.chars().enumerate().find(|(_, character)| !fits(*character)) {
        Some((column, character)) => Err(NameError::BadCharacter {
            character,
            column: before + column,
        }),
        None => Ok(()),
    }
}

/// Whether a pattern stands for a task: by its name, or behind [`OF_LABELS`] by one of its labels.
#[must_use]
pub fn means(pattern: &str, name: &TaskName, labels: &[Label]) -> bool {
    match pattern.strip_prefix(OF_LABELS) {
        Some(of_label) => labels.iter().any(|label| fits(of_label, label.as_str())),
        None => fits(pattern, name.as_str()),
    }
}

/// Whether a pattern, in which `*` stands for any characters and `?` for one, fits a name. Linear in the product of both
/// lengths at worst, which are short.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows the last star does not fit: one character further.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, n + 1));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => {
                p += 1;
                n += 1;
            }
            Some(_) | None => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    (p, n) = (star + 1, from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_as_a_shell_would() {
        for (pattern, name, matches) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "anything", true),
            ("nightly-*", "nightly-db", true),
            ("nightly-*", "nightly", false),
            ("*-db", "nightly-db", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("?", "a", true),
            ("?", "", false),
            ("a?c*", "abcd", true),
            ("**", "", true),
        ] {
            assert_eq!(fits(pattern, name), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let pattern = "*a".repeat(32);
        assert!(!fits(&pattern, &"a".repeat(31)));
        assert!(!fits(&(pattern + "b"), &"a".repeat(64)));
    }

    #[test]
    fn what_can_stand_for_nothing_is_no_pattern() {
        for right in ["a", "prod-*", "label:db", "label:*", "?.b"] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        let bad = |character, column| Err(NameError::BadCharacter { character, column });
        assert_eq!(check("lable:db"), bad(':', 5));
        assert_eq!(check("label:d b"), bad(' ', 7));
        assert_eq!(check("label:"), Err(NameError::Empty));
        assert_eq!(check(""), Err(NameError::Empty));
    }

    #[test]
    fn behind_its_word_a_pattern_is_one_of_labels() {
        let word = |text: &str| TaskName::parse(text).unwrap();
        let (name, labels) = (word("backup"), [word("db"), word("night-shift")]);
        for (pattern, means_it) in [
            ("backup", true),
            ("db", false),
            ("label:db", true),
            ("label:night-*", true),
            ("label:backup", false),
            ("label:", false),
            ("label:*", true),
        ] {
            assert_eq!(means(pattern, &name, &labels), means_it, "{pattern}");
        }
        assert!(!means("label:*", &name, &[]));
    }
}
