//! Hides what must not be kept: matches of patterns are replaced before anything is written.
//!
//! A pattern is held against whole lines, so a match is found however the line was read. While a line goes on it is held back;
//! one that is longer than 64 KiB is given on in parts, of which each is looked at together with half of the next, so that
//! no match of up to that half is cut.
//!
//! In doubt more is hidden: a line that takes too much [work](WORK) to search, what comes behind a match that had not
//! ended where a part did, and what matches only when bytes that are no text are taken for letters.

mod automaton;
mod masker;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, Look};

use automaton::{Automaton, TooMuch, Work};
pub(super) use masker::Masker;

use crate::reports::lock;

/// Most patterns of a task.
pub const MASKS_MAX: usize = 16;

/// The longest pattern, in bytes.
pub const MASK_BYTES_MAX: usize = 1024;

/// What a pattern may become in memory, in bytes, before it is used: each of up to four forms of it.
const COMPILED_MAX: usize = 128 * 1024;

/// What all patterns of a task may become together.
const ALL_COMPILED_MAX: usize = 2 * 1024 * 1024;

/// How deep groups and repetitions may lie in each other.
const NEST_MAX: u32 = 50;

/// Steps for each byte of a line, besides those that one look with each pattern takes.
const WORK: usize = 64;

/// The most steps that a pattern takes to look at a byte: forward and back, as it is and as text, with and without a `\r` at
/// the end.
const LOOK: usize = 8;

/// What stands in the place of a match.
const MASK: &[u8] = b"***";

/// What bytes that are no text are taken for.
const LETTER: u8 = b'x';

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
    /// One cannot match within a line.
    #[error("a mask is held against one line at a time, and this one is for more than that")]
    Lines {
        /// Which, from 0.
        index: usize,
    },
}

/// Patterns of what is to be hidden.
#[derive(Debug)]
pub struct Masks {
    patterns: Vec<Pattern>,
    /// One of them says where a line ends.
    has_end: bool,
}

#[derive(Debug)]
struct Pattern {
    exact: Automaton,
    /// For text that is not ASCII, where the other cannot search that.
    loose: Option<Automaton>,
}

impl Masks {
    /// Reads patterns, in the syntax of the `regex` crate.
    ///
    /// # Errors
    /// [`MaskError`] of the first that cannot be used.
    pub fn compile(patterns: &[String]) -> Result<Self, MaskError> {
        if patterns.len() > MASKS_MAX {
            return Err(MaskError::TooMany(patterns.len()));
        }
        let mut size = 0;
        let mut masks = Masks {
            patterns: Vec::with_capacity(patterns.len()),
            has_end: false,
        };
        for (index, text) in patterns.iter().enumerate() {
            let parsed = parse(index, text)?;
            let looks = parsed.properties().look_set();
            masks.has_end |= [Look::End, Look::EndLF].iter().any(|look| looks.contains(*look));
            let mut build = |pattern: &Hir| {
                let built = Automaton::new(pattern, COMPILED_MAX);
                size += built.as_ref().map_or(0, Automaton::size);
                built
                    .filter(|_| size <= ALL_COMPILED_MAX)
                    .ok_or(MaskError::TooLarge { index })
            };
            masks.patterns.push(Pattern {
                exact: build(&parsed)?,
                loose: if looks.contains_word_unicode() {
                    Some(build(&automaton::without_words(&parsed))?)
                } else {
                    None
                },
            });
        }
        Ok(masks)
    }

    /// Where a line has something to hide from an offset on, in order and apart from each other. `is_whole` says that it ends
    /// with what is there of it.
    fn find(&self, line: &[u8], from: usize, is_whole: bool, found: &mut Vec<(usize, usize)>) -> Result<(), TooMuch> {
        found.clear();
        let mut work = Work((line.len() - from) * (WORK + LOOK * self.patterns.len()));
        self.find_in(line, from, is_whole, &mut work, found)?;
        if let Cow::Owned(text) = as_text(line) {
            self.find_in(&text, from, is_whole, &mut work, found)?;
        }
        found.sort_unstable();
        found.dedup_by(|next, before| {
            let joins = next.0 <= before.1;
            if joins {
                before.1 = before.1.max(next.1);
            }
            joins
        });
        Ok(())
    }

    fn find_in(
        &self,
        line: &[u8],
        from: usize,
        is_whole: bool,
        work: &mut Work,
        found: &mut Vec<(usize, usize)>,
    ) -> Result<(), TooMuch> {
        // To some a line ends with both.
        let shorter = line.strip_suffix(b"\r").filter(|_| is_whole && self.has_end);
        let is_ascii = line.is_ascii();
        for text in [Some(line), shorter].into_iter().flatten() {
            for Pattern { exact, loose } in &self.patterns {
                let pattern = loose.as_ref().filter(|_| !is_ascii).unwrap_or(exact);
                pattern.find(text, from, work, found)?;
            }
        }
        Ok(())
    }
}

/// A line with letters in the place of bytes that are no text, which patterns for text stop at.
fn as_text(line: &[u8]) -> Cow<'_, [u8]> {
    if std::str::from_utf8(line).is_ok() {
        return Cow::Borrowed(line);
    }
    let mut text = Vec::with_capacity(line.len());
    for chunk in line.utf8_chunks() {
        text.extend_from_slice(chunk.valid().as_bytes());
        text.resize(text.len() + chunk.invalid().len(), LETTER);
    }
    Cow::Owned(text)
}

fn parse(index: usize, text: &str) -> Result<Hir, MaskError> {
    if text.len() > MASK_BYTES_MAX {
        let bytes = text.len();
        return Err(MaskError::TooLong { index, bytes });
    }
    let parsed = ParserBuilder::new()
        .utf8(false)
        .nest_limit(NEST_MAX)
        .build()
        .parse(text)
        .map_err(|error| unreadable(index, text, &error))?;
    match parsed.properties().minimum_len() {
        Some(0) => Err(MaskError::Empty { index }),
        Some(_) if automaton::spans_lines(&parsed) => Err(MaskError::Lines { index }),
        Some(_) => Ok(parsed),
        // It has a class of no character.
        None => Err(MaskError::Empty { index }),
    }
}

fn unreadable(index: usize, text: &str, error: &regex_syntax::Error) -> MaskError {
    let (problem, span) = match error {
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
    MaskError::Syntax { index, problem, at }
}

fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// The patterns that were used lately, compiled. Whoever starts something may ask.
#[derive(Debug, Default)]
pub(crate) struct KnownMasks {
    latest: Mutex<VecDeque<(Vec<String>, Arc<Masks>)>>,
}

impl KnownMasks {
    /// These patterns; nothing where there are none.
    pub(crate) fn of(&self, patterns: &[String]) -> Result<Option<Arc<Masks>>, MaskError> {
        if patterns.is_empty() {
            return Ok(None);
        }
        let mut latest = lock(&self.latest);
        if let Some(at) = latest.iter().position(|(known, _)| known == patterns) {
            latest.swap(0, at);
            return Ok(latest.front().map(|(_, masks)| Arc::clone(masks)));
        }
        drop(latest);
        let masks = Arc::new(Masks::compile(patterns)?);
        let mut latest = lock(&self.latest);
        latest.truncate(REMEMBERED - 1);
        latest.push_front((patterns.to_vec(), Arc::clone(&masks)));
        Ok(Some(masks))
    }
}

#[cfg(test)]
mod tests;
