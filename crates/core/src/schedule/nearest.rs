//! Which of the known words a mistyped one was meant to be.

/// The candidate with the fewest edits from `word`, if it is near enough to be a slip. Case does not count.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let limit = (word.len() / 4).clamp(1, 3);
    candidates
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= limit)
        .map(|candidate| {
            (
                edits(word.as_bytes(), candidate.to_ascii_lowercase().as_bytes()),
                candidate,
            )
        })
        .filter(|(edits, _)| *edits <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, removals, replacements and swaps of neighbours that turn one word into the other.
fn edits(from: &[u8], to: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let mut best = (above[j] + usize::from(a != b)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let words = ["Europe/Berlin", "Europe/Dublin", "America/New_York"];
        assert_eq!(nearest("europe/berln", words.into_iter()), Some("Europe/Berlin"));
        assert_eq!(nearest("Europe/Belrin", words.into_iter()), Some("Europe/Berlin"));
        assert_eq!(nearest("Mars/Base", words.into_iter()), None);
        assert_eq!(nearest("", words.into_iter()), None);
    }
}
