//! Sets of whole numbers, as spans that neither touch nor overlap.

/// Half-open spans, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Spans(Box<[(i64, i64)]>);

impl Spans {
    /// The union of half-open spans, none of which is empty.
    pub fn new(mut spans: Vec<(i64, i64)>) -> Self {
        spans.sort_unstable();
        spans.dedup_by(|later, earlier| {
            let touches = later.0 <= earlier.1;
            if touches {
                earlier.1 = earlier.1.max(later.1);
            }
            touches
        });
        Spans(spans.into_boxed_slice())
    }

    /// The end of the span that holds `at`.
    pub fn end_of(&self, at: i64) -> Option<i64> {
        let after = self.0.partition_point(|span| span.0 <= at);
        let (_, end) = self.0[..after].last()?;
        (at < *end).then_some(*end)
    }

    /// The start of the first span that begins after `at`.
    pub fn start_after(&self, at: i64) -> Option<i64> {
        let after = self.0.partition_point(|span| span.0 <= at);
        self.0.get(after).map(|span| span.0)
    }

    pub fn iter(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.0.iter().copied()
    }
}
