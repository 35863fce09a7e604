//! One pattern, as an automaton that is built while it is used: a byte of text takes one step of it, whatever the pattern.
//!
//! Nothing else is fallen back on when that does not go well. Who searches is told, and hides more than was found.

use std::sync::Mutex;

use regex_automata::hybrid::dfa::{Builder, Cache, Config, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::{Anchored, Input, MatchKind};
use regex_syntax::hir::{Hir, HirKind, Look};

use crate::reports::lock;

/// Memory of each of the two halves for what was built of it, in bytes. Words of all alphabets take a third of it.
const CACHE: usize = 128 * 1024;

/// The memory may be full so often before a search must have gone on well since.
const FULL_MAX: usize = 3;

/// What is "well": bytes of text for each state that was built.
const BYTES_PER_STATE: usize = 10;

/// A text was not searched to its end: it takes too much work.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMuch;

/// Steps that may be taken.
#[derive(Debug)]
pub(super) struct Work(pub(super) usize);

impl Work {
    fn take(&mut self, steps: usize) -> Result<(), TooMuch> {
        self.0 = self.0.checked_sub(steps).ok_or(TooMuch)?;
        Ok(())
    }
}

/// Finds matches of one pattern.
#[derive(Debug)]
pub(super) struct Automaton {
    /// Finds ends.
    forward: DFA,
    /// Finds the beginning that belongs to one.
    reverse: DFA,
    /// The memory of both. The loop alone searches.
    caches: Mutex<(Cache, Cache)>,
}

impl Automaton {
    /// Nothing where a half would take more memory than `size` for what it is built from.
    pub(super) fn new(pattern: &Hir, size: usize) -> Option<Self> {
        let half = |reverse: bool, kind: MatchKind| {
            let nfa = thompson::Config::new()
                .utf8(false)
                .reverse(reverse)
                .which_captures(WhichCaptures::None)
                .nfa_size_limit(Some(size));
            let nfa = thompson::Compiler::new().configure(nfa).build_from_hir(pattern).ok()?;
            let dfa = Config::new()
                .match_kind(kind)
                // Where it depends on what letters there are, text that is not ASCII cannot be searched.
                .unicode_word_boundary(true)
                .cache_capacity(CACHE)
                .skip_cache_capacity_check(true)
                .minimum_cache_clear_count(Some(FULL_MAX))
                .minimum_bytes_per_state(Some(BYTES_PER_STATE));
            Builder::new().configure(dfa).build_from_nfa(nfa).ok()
        };
        let (forward, reverse) = (half(false, MatchKind::LeftmostFirst)?, half(true, MatchKind::All)?);
        let caches = Mutex::new((forward.create_cache(), reverse.create_cache()));
        Some(Automaton {
            forward,
            reverse,
            caches,
        })
    }

    /// Bytes that it takes before it is used.
    pub(super) fn size(&self) -> usize {
        self.forward.get_nfa().memory_usage() + self.reverse.get_nfa().memory_usage()
    }

    /// Adds the matches in `text` from an offset on.
    pub(super) fn find(
        &self,
        text: &[u8],
        mut from: usize,
        work: &mut Work,
        found: &mut Vec<(usize, usize)>,
    ) -> Result<(), TooMuch> {
        let mut caches = lock(&self.caches);
        let (forward, reverse) = &mut *caches;
        while let Some(end) = self.end(forward, text, from, work)? {
            work.take(end - from)?;
            let before = Input::new(text).span(from..end).anchored(Anchored::Yes);
            let start = self.reverse.try_search_rev(reverse, &before).map_err(|_| TooMuch)?;
            // Where it ends, it begins.
            let start = start.map_or(from, |half| half.offset());
            found.push((start, end));
            // No pattern matches nothing.
            from = end.max(from + 1);
        }
        Ok(())
    }

    /// Where the first match from an offset on ends. Steps are counted one by one: a search may look far ahead for a match
    /// that is short, and again for the next one.
    fn end(&self, cache: &mut Cache, text: &[u8], from: usize, work: &mut Work) -> Result<Option<usize>, TooMuch> {
        if from >= text.len() {
            return Ok(None);
        }
        let dfa = &self.forward;
        let input = Input::new(text).span(from..text.len());
        let mut state = dfa.start_state_forward(cache, &input).map_err(|_| TooMuch)?;
        let mut end = None;
        cache.search_start(from);
        for (at, byte) in text.iter().enumerate().skip(from) {
            work.take(1)?;
            let known = (!state.is_tagged()).then(|| dfa.next_state_untagged(cache, state, *byte));
            state = match known.filter(|state| !state.is_unknown()) {
                Some(next) => next,
                None => {
                    cache.search_update(at);
                    dfa.next_state(cache, state, *byte).map_err(|_| TooMuch)?
                }
            };
            if state.is_match() {
                // It is told one byte late.
                end = Some(at);
            } else if state.is_dead() {
                cache.search_finish(at);
                return Ok(end);
            } else if state.is_quit() {
                cache.search_finish(at);
                return Err(TooMuch);
            }
        }
        cache.search_finish(text.len());
        let last = dfa.next_eoi_state(cache, state).map_err(|_| TooMuch)?;
        Ok(if last.is_match() { Some(text.len()) } else { end })
    }
}

/// The same pattern without the places where words of any alphabet begin and end: it matches all that the other matches, and
/// can search any text.
pub(super) fn without_words(pattern: &Hir) -> Hir {
    let all = |parts: &[Hir]| parts.iter().map(without_words).collect();
    match pattern.kind() {
        HirKind::Look(
            Look::WordUnicode
            | Look::WordUnicodeNegate
            | Look::WordStartUnicode
            | Look::WordEndUnicode
            | Look::WordStartHalfUnicode
            | Look::WordEndHalfUnicode,
        ) => Hir::empty(),
        HirKind::Look(
            Look::Start
            | Look::End
            | Look::StartLF
            | Look::EndLF
            | Look::StartCRLF
            | Look::EndCRLF
            | Look::WordAscii
            | Look::WordAsciiNegate
            | Look::WordStartAscii
            | Look::WordEndAscii
            | Look::WordStartHalfAscii
            | Look::WordEndHalfAscii,
        )
        | HirKind::Empty
        | HirKind::Literal(_)
        | HirKind::Class(_) => pattern.clone(),
        HirKind::Repetition(repetition) => {
            let sub = Box::new(without_words(&repetition.sub));
            Hir::repetition(regex_syntax::hir::Repetition {
                sub,
                ..repetition.clone()
            })
        }
        HirKind::Capture(capture) => without_words(&capture.sub),
        HirKind::Concat(parts) => Hir::concat(all(parts)),
        HirKind::Alternation(parts) => Hir::alternation(all(parts)),
    }
}

/// Whether a part of a pattern is there for more than one line: it is the end of one, or anything at all with that.
pub(super) fn spans_lines(pattern: &Hir) -> bool {
    use regex_syntax::hir::Class;
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => false,
        HirKind::Literal(literal) => literal.0.contains(&b'\n'),
        HirKind::Class(Class::Unicode(class)) => {
            matches!(class.ranges(), [all] if all.start() == '\0' && all.end() == char::MAX)
        }
        HirKind::Class(Class::Bytes(class)) => {
            matches!(class.ranges(), [all] if all.start() == 0 && all.end() == u8::MAX)
        }
        HirKind::Repetition(repetition) => spans_lines(&repetition.sub),
        HirKind::Capture(capture) => spans_lines(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(spans_lines),
    }
}
