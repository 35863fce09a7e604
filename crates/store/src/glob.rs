//! Name patterns: `*`, `?`, and classes such as `[a-f]` or `[!0-9]`. The time taken is bounded by the product of the
//! two lengths, whatever the pattern.

/// Whether the whole of `name` fits `pattern`.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows the last star does not fit: one more character goes to that star.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, n));
            p += 1;
            continue;
        }
        let step = match name.get(n) {
            Some(&byte) => one(&pattern[p..], byte),
            None if p == pattern.len() => return true,
            None => return false,
        };
        match (step, star) {
            (Some(width), _) => {
                p += width;
                n += 1;
            }
            (None, Some((after, from))) => {
                star = Some((after, from + 1));
                p = after;
                n = from + 1;
            }
            (None, None) => return false,
        }
    }
}

/// The width of the pattern's first element if it fits this byte. An unclosed `[` stands for itself.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => match class(&pattern[1..], byte) {
            Some((width, fits)) => fits.then_some(width + 1),
            None => (byte == b'[').then_some(1),
        },
        literal => (literal == byte).then_some(1),
    }
}

/// The width of a class after its `[`, and whether the byte is in it; `None` if it is not closed.
fn class(pattern: &[u8], byte: u8) -> Option<(usize, bool)> {
    let negated = matches!(pattern.first(), Some(b'!' | b'^'));
    let first = usize::from(negated);
    let mut at = first;
    let mut within = false;
    loop {
        match pattern.get(at..)? {
            [] => return None,
            [b']', ..] if at > first => return Some((at + 1, within != negated)),
            [low, b'-', high, ..] if *high != b']' => {
                within |= (*low..=*high).contains(&byte);
                at += 3;
            }
            [single, ..] => {
                within |= *single == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("backup", "backup", true),
            ("backup", "backup2", false),
            ("back*", "backup", true),
            ("*", "a", true),
            ("*up", "backup", true),
            ("*up", "backups", false),
            ("b?ckup", "backup", true),
            ("b?", "b", false),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxcxxb", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[!a-c]x", "dx", true),
            ("[]x", "[]x", true),
            ("[a", "[a", true),
            ("[a-]", "-", true),
            ("", "", true),
            ("", "a", false),
            ("**", "abc", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern:?} on {name:?}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_long_time() {
        let pattern = "*a".repeat(2_000) + "b";
        assert!(!matches(&pattern, &"a".repeat(64)));
    }
}
