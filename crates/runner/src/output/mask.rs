//! Hides what must not be kept: matches of patterns are replaced before anything is written.
//!
//! A pattern is held against whole lines, so a match is found however the line was read. While a line goes on it is held back;
//! one that is longer than [`LINE_MAX`] is given on in parts, of which each is looked at together with half of the next, so that
//! no match of up to that half is cut.

use std::collections::VecDeque;
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;

use super::Stream;
use crate::sys;

/// Most patterns of a task.
pub const MASKS_MAX: usize = 16;

/// The longest pattern, in bytes.
pub const MASK_BYTES_MAX: usize = 1024;

/// What a pattern may become in memory, in bytes: once compiled, and for looking quickly.
const COMPILED_MAX: usize = 256 * 1024;

/// How deep groups and repetitions may lie in each other.
const NEST_MAX: u32 = 50;

/// Bytes of a line from which it is not held back as a whole.
const LINE_MAX: usize = 64 * 1024;

/// What of such a line is given on at once.
const PART: usize = LINE_MAX / 2;

/// What stands in the place of a match.
const MASK: &[u8] = b"***";

/// Sets of patterns that are kept compiled.
const REMEMBERED: usize = 16;

/// Why patterns cannot be held against lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// There are too many.
    #[error("a task has at most {MASKS_MAX} masks, these are {0}")]
    TooMany(usize),
    /// One is too long.
    #[error("a mask has at most {MASK_BYTES_MAX} bytes, this one has {bytes}")]
    TooLong {
        /// Which, from 0.
        index: usize,
        /// How many it has.
        bytes: usize,
    },
    /// One is no regular expression.
    #[error("{problem}")]
    Syntax {
        /// Which, from 0.
        index: usize,
        /// What is wrong.
        problem: String,
        /// Where: the first column in characters from 0, and how many.
        at: (u32, u32),
    },
    /// One would take too much memory.
    #[error("this pattern grows too large: its repetitions multiply")]
    TooLarge {
        /// Which, from 0.
        index: usize,
    },
    /// One matches where there is nothing.
    #[error("this pattern matches nothing at all, and so it would match everywhere")]
    Empty {
        /// Which, from 0.
        index: usize,
    },
}

/// Patterns of what is to be hidden.
#[derive(Debug)]
pub struct Masks {
    patterns: Vec<Regex>,
}

impl Masks {
    /// Reads patterns, as of the `regex` crate: it takes time in proportion to the bytes it looks at, whatever the pattern.
    ///
    /// # Errors
    /// [`MaskError`] of the first that cannot be used.
    pub fn compile(patterns: &[String]) -> Result<Self, MaskError> {
        if patterns.len() > MASKS_MAX {
            return Err(MaskError::TooMany(patterns.len()));
        }
        let compiled = patterns.iter().enumerate().map(|(index, text)| compile(index, text));
        Ok(Masks {
            patterns: compiled.collect::<Result<_, _>>()?,
        })
    }

    /// Where a line has something to hide, in order and apart from each other.
    fn find(&self, line: &[u8], found: &mut Vec<(usize, usize)>) {
        found.clear();
        for pattern in &self.patterns {
            let matches = pattern.find_iter(line).map(|hit| (hit.start(), hit.end()));
            found.extend(matches.filter(|(from, to)| from < to));
        }
        found.sort_unstable();
        found.dedup_by(|next, before| {
            let joins = next.0 <= before.1;
            if joins {
                before.1 = before.1.max(next.1);
            }
            joins
        });
    }
}

fn compile(index: usize, text: &str) -> Result<Regex, MaskError> {
    if text.len() > MASK_BYTES_MAX {
        let bytes = text.len();
        return Err(MaskError::TooLong { index, bytes });
    }
    let parsed = ParserBuilder::new()
        .utf8(false)
        .nest_limit(NEST_MAX)
        .build()
        .parse(text);
    if let Err(error) = parsed {
        let (problem, span) = match &error {
            regex_syntax::Error::Parse(error) => (error.kind().to_string(), Some(error.span())),
            regex_syntax::Error::Translate(error) => (error.kind().to_string(), Some(error.span())),
            error => (error.to_string(), None),
        };
        let column = |offset: usize| text.get(..offset).map_or(0, |before| before.chars().count());
        let at = span.map_or((0, 1), |span| {
            let from = column(span.start.offset);
            (
                narrow(from),
                narrow(column(span.end.offset).saturating_sub(from).max(1)),
            )
        });
        return Err(MaskError::Syntax { index, problem, at });
    }
    let regex = RegexBuilder::new(text)
        .nest_limit(NEST_MAX)
        .size_limit(COMPILED_MAX)
        .dfa_size_limit(COMPILED_MAX)
        .build()
        .map_err(|_| MaskError::TooLarge { index })?;
    if regex.is_match(b"") {
        return Err(MaskError::Empty { index });
    }
    Ok(regex)
}

fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// The patterns that were used lately, compiled.
#[derive(Debug, Default)]
pub(crate) struct KnownMasks {
    latest: VecDeque<(Vec<String>, Arc<Masks>)>,
}

impl KnownMasks {
    /// These patterns; nothing where there are none.
    pub(crate) fn of(&mut self, patterns: &[String]) -> Result<Option<Arc<Masks>>, MaskError> {
        if patterns.is_empty() {
            return Ok(None);
        }
        if let Some(at) = self.latest.iter().position(|(known, _)| known == patterns) {
            self.latest.swap(0, at);
            return Ok(self.latest.front().map(|(_, masks)| Arc::clone(masks)));
        }
        let masks = Arc::new(Masks::compile(patterns)?);
        self.latest.truncate(REMEMBERED - 1);
        self.latest.push_front((patterns.to_vec(), Arc::clone(&masks)));
        Ok(Some(masks))
    }
}

/// Hides what an attempt writes.
#[derive(Debug)]
pub(super) struct Masker {
    masks: Arc<Masks>,
    /// The lines that go on, of stdout and of stderr.
    held: [Vec<u8>; 2],
    found: Vec<(usize, usize)>,
    /// What may be written.
    pub(super) out: Vec<u8>,
}

impl Masker {
    pub(super) fn new(masks: Arc<Masks>) -> Self {
        Masker {
            masks,
            held: [Vec::new(), Vec::new()],
            found: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Takes bytes in. What of them, and of those before, may be written is in `out` then.
    pub(super) fn feed(&mut self, stream: Stream, mut bytes: &[u8]) {
        self.out.clear();
        let mut held = std::mem::take(self.held_of(stream));
        while let Some(at) = sys::find(b'\n', bytes) {
            let (line, rest) = bytes.split_at(at);
            if held.is_empty() {
                self.put(line);
            } else {
                held.extend_from_slice(line);
                self.put(&held);
                held.clear();
            }
            self.out.push(b'\n');
            bytes = &rest[1..];
        }
        held.extend_from_slice(bytes);
        while held.len() >= LINE_MAX {
            let part = self.put_part(&held);
            held.drain(..part);
        }
        *self.held_of(stream) = held;
    }

    /// The stream has ended: what was held back of it is in `out` then.
    pub(super) fn end(&mut self, stream: Stream) {
        self.out.clear();
        let held = std::mem::take(self.held_of(stream));
        self.put(&held);
    }

    /// Whether something is held back.
    pub(super) fn holds(&self) -> bool {
        self.held.iter().any(|held| !held.is_empty())
    }

    fn held_of(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Stdout => &mut self.held[0],
            Stream::Stderr => &mut self.held[1],
        }
    }

    fn put(&mut self, line: &[u8]) {
        self.masks.find(line, &mut self.found);
        self.put_found(line, line.len());
    }

    /// Writes the first part of a long line, as far as no match goes on behind it, and says how long that is.
    fn put_part(&mut self, line: &[u8]) -> usize {
        self.masks.find(line, &mut self.found);
        let over = self.found.iter().find(|(from, to)| *from < PART && PART < *to);
        let end = over.map_or(PART, |(_, to)| *to);
        self.put_found(line, end);
        end
    }

    fn put_found(&mut self, line: &[u8], end: usize) {
        let mut done = 0;
        for &(from, to) in self.found.iter().take_while(|(from, _)| *from < end) {
            self.out.extend_from_slice(&line[done..from]);
            self.out.extend_from_slice(MASK);
            done = to;
        }
        self.out.extend_from_slice(&line[done..end]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(patterns: &[&str]) -> Result<Masks, MaskError> {
        Masks::compile(&patterns.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    fn masker(patterns: &[&str]) -> Masker {
        Masker::new(Arc::new(masks(patterns).expect("they are right")))
    }

    /// What is written of some reads from one stream.
    fn written(patterns: &[&str], reads: &[&[u8]]) -> String {
        let mut masker = masker(patterns);
        let mut all = Vec::new();
        for read in reads {
            masker.feed(Stream::Stdout, read);
            all.extend_from_slice(&masker.out);
        }
        masker.end(Stream::Stdout);
        all.extend_from_slice(&masker.out);
        String::from_utf8_lossy(&all).into_owned()
    }

    #[test]
    fn matches_are_hidden_however_they_are_read() {
        let text = b"user=ann password=hunter2 ok\nnothing\nlast password=hunter3";
        let hidden = "user=ann *** ok\nnothing\nlast ***";
        for at in 0..text.len() {
            let (one, two) = text.split_at(at);
            assert_eq!(written(&[r"password=\S+"], &[one, two]), hidden, "{at}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(written(&[r"password=\S+"], &bytes), hidden);
    }

    #[test]
    fn what_several_patterns_match_is_hidden_once() {
        assert_eq!(written(&["abc", "cd", "f"], &[b"xabcdef\nf"]), "x***e***\n***");
        // Both are held against what was written, not against what the other has left.
        assert_eq!(written(&["ab", "bc"], &[b"abc"]), "***");
    }

    #[test]
    fn bytes_that_are_no_text_are_looked_at_too() {
        assert_eq!(
            written(&["key"], &[b"\xff\xfekey\xff\n"]),
            "\u{fffd}\u{fffd}***\u{fffd}\n"
        );
        assert_eq!(written(&[r"(?-u:\xff)+"], &[b"a\xff\xffb\n"]), "a***b\n");
    }

    #[test]
    fn the_streams_do_not_mix() {
        let mut masker = masker(&["secret"]);
        masker.feed(Stream::Stdout, b"sec");
        masker.feed(Stream::Stderr, b"ret\n");
        assert_eq!(masker.out, b"ret\n");
        masker.feed(Stream::Stdout, b"ret\n");
        assert_eq!(masker.out, b"***\n");
        assert!(!masker.holds());
    }

    #[test]
    fn a_line_without_end_is_given_on_in_parts_that_cut_no_match() {
        let secret = "s".repeat(20_000) + "!";
        for before in [PART - 1, PART - 10_000, LINE_MAX - 5, 3 * PART - 7] {
            let line = format!("{}{secret}{}", "x".repeat(before), "y".repeat(2 * LINE_MAX));
            let reads: Vec<&[u8]> = line.as_bytes().chunks(4096).collect();
            let shown = written(&["s+!"], &reads);
            let whole = format!("{}***{}", "x".repeat(before), "y".repeat(2 * LINE_MAX));
            assert!(shown == whole, "{before}: {} bytes", shown.len());
        }
        let mut masker = masker(&["k"]);
        for _ in 0..100 {
            masker.feed(Stream::Stdout, &[b'x'; 10_000]);
            assert!(masker.held[0].len() < LINE_MAX, "it is not bounded");
        }
    }

    #[test]
    fn what_cannot_be_used_says_where_and_why() {
        let error = |pattern: &str| masks(&["fine", pattern]).expect_err("it is wrong");
        let MaskError::Syntax { index, problem, at } = error("ä(b") else {
            panic!("it is no expression")
        };
        assert_eq!((index, problem.as_str(), at), (1, "unclosed group", (1, 1)));
        assert_eq!(error("x*"), MaskError::Empty { index: 1 });
        assert_eq!(error(r"(\w{100}){100}"), MaskError::TooLarge { index: 1 });
        let long = "x".repeat(MASK_BYTES_MAX + 1);
        assert_eq!(
            error(&long),
            MaskError::TooLong {
                index: 1,
                bytes: MASK_BYTES_MAX + 1
            }
        );
        assert!(masks(&["x"; MASKS_MAX]).is_ok());
        assert_eq!(
            masks(&["x"; MASKS_MAX + 1]).err(),
            Some(MaskError::TooMany(MASKS_MAX + 1))
        );
    }

    #[test]
    fn what_was_compiled_lately_is_known() {
        let mut known = KnownMasks::default();
        let patterns = |n: usize| vec![format!("secret-{n}")];
        assert!(known.of(&[]).expect("none").is_none());
        let first = known.of(&patterns(0)).expect("right").expect("one");
        let again = known.of(&patterns(0)).expect("right").expect("one");
        assert!(Arc::ptr_eq(&first, &again));
        for n in 0..3 * REMEMBERED {
            known.of(&patterns(n)).expect("right");
        }
        assert_eq!(known.latest.len(), REMEMBERED);
    }
}
