//! Tables: columns as wide as their widest cell. Where the terminal is narrower, flexible columns are cut, the widest
//! first; then columns are left out that say less than others; then all are cut.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::error::Result;
use crate::out::Out;
use crate::render::one_line;

/// A colour with a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As the terminal has it.
    Plain,
    /// Of no great importance.
    Dim,
    /// It went well.
    Good,
    /// It went wrong.
    Bad,
    /// It is going on.
    Live,
    /// Heads.
    Strong,
}

impl Tone {
    /// The text in this tone.
    pub fn paint(self, text: &str, colour: bool) -> String {
        let style = match self {
            Tone::Plain => return text.to_owned(),
            Tone::Dim => anstyle::Style::new().dimmed(),
            Tone::Good => anstyle::AnsiColor::Green.on_default(),
            Tone::Bad => anstyle::AnsiColor::Red.on_default(),
            Tone::Live => anstyle::AnsiColor::Cyan.on_default(),
            Tone::Strong => anstyle::Style::new().bold(),
        };
        if colour {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    /// The tone of an outcome or a state.
    pub fn of(word: &str) -> Tone {
        match word {
            "succeeded" => Tone::Good,
            "failed" | "timed-out" | "spawn-failed" | "missed" | "unknown" => Tone::Bad,
            "starting" | "running" | "stopping" | "waiting" | "backing-off" | "gated" => Tone::Live,
            _ => Tone::Plain,
        }
    }
}

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell {
            text,
            tone: Tone::Plain,
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::from(text.to_owned())
    }
}

impl Cell {
    /// A cell in a tone.
    pub fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Cell {
            text: text.into(),
            tone,
        }
    }
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    head: &'static str,
    right: bool,
    flexible: bool,
    /// In which order it is left out where there is no room; `None` is never.
    dropped: Option<u8>,
}

impl Column {
    /// Text, cut only where nothing else helps.
    pub const fn fixed(head: &'static str) -> Self {
        Column {
            head,
            right: false,
            flexible: false,
            dropped: None,
        }
    }
    /// Numbers, at the right.
    pub const fn number(head: &'static str) -> Self {
        Column {
            right: true,
            ..Self::fixed(head)
        }
    }
    /// Text that may be cut.
    pub const fn flexible(head: &'static str) -> Self {
        Column {
            flexible: true,
            ..Self::fixed(head)
        }
    }
    /// Left out where there is no room for all, those with a lower number first.
    pub const fn dropped(self, order: u8) -> Self {
        Column {
            dropped: Some(order),
            ..self
        }
    }
}

/// Rows under heads. The widths are those of the first rows: later ones are printed as they come, so that a long table
/// needs no memory.
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    /// Once it is settled.
    layout: Option<Layout>,
}

/// Which columns are shown, and how wide.
struct Layout {
    kept: Vec<usize>,
    widths: Vec<usize>,
}

/// Between two columns.
const GAP: usize = 2;

/// A column is not made narrower than this to spare another that may be left out.
const NARROWEST: usize = 8;

/// So many rows say how wide columns are.
const SAMPLE: usize = 1_000;

impl Table {
    /// Without rows.
    pub fn new(columns: &[Column]) -> Self {
        Table {
            columns: columns.to_vec(),
            rows: Vec::new(),
            layout: None,
        }
    }

    /// Adds a row, a cell for each column.
    pub fn row(&mut self, mut cells: Vec<Cell>, out: &mut Out) -> Result<()> {
        debug_assert_eq!(cells.len(), self.columns.len());
        for cell in &mut cells {
            cell.text = one_line(&cell.text);
        }
        if let Some(layout) = &self.layout {
            return self.print_row(layout, &cells, out);
        }
        self.rows.push(cells);
        if self.rows.len() == SAMPLE {
            // A row that is to come may have a cell in any column.
            self.settle(true, out)?;
        }
        Ok(())
    }

    /// Ends it. Columns that are empty in every row of a short table are left out.
    pub fn end(mut self, out: &mut Out) -> Result<()> {
        if self.layout.is_none() {
            self.settle(false, out)?;
        }
        Ok(())
    }

    fn settle(&mut self, with_empty: bool, out: &mut Out) -> Result<()> {
        let kept: Vec<usize> = (0..self.columns.len())
            .filter(|&i| with_empty || self.rows.iter().any(|row| !row[i].text.is_empty()))
            .collect();
        let layout = self.layout(kept, out.width);
        let heads: Vec<Cell> = self
            .columns
            .iter()
            .map(|column| Cell::toned(column.head, Tone::Strong))
            .collect();
        self.print_row(&layout, &heads, out)?;
        for row in std::mem::take(&mut self.rows) {
            self.print_row(&layout, &row, out)?;
        }
        self.layout = Some(layout);
        Ok(())
    }

    fn print_row(&self, layout: &Layout, cells: &[Cell], out: &mut Out) -> Result<()> {
        let mut line = String::new();
        let mut pending = 0;
        for (&column, &width) in layout.kept.iter().zip(&layout.widths) {
            let cell = &cells[column];
            let text = match out.width {
                Some(_) => cut(&cell.text, width),
                None => Cow::Borrowed(cell.text.as_str()),
            };
            let padding = width.saturating_sub(text.width());
            let right = self.columns[column].right;
            // Blanks are written before the next text only, so that no line ends in blanks.
            line.push_str(&" ".repeat(pending + if right { padding } else { 0 }));
            pending = GAP + if right { 0 } else { padding };
            if !text.is_empty() {
                line.push_str(&cell.tone.paint(&text, out.colour));
            }
        }
        out.line(line.trim_end())
    }

    fn layout(&self, mut kept: Vec<usize>, terminal: Option<usize>) -> Layout {
        let needed = |&i: &usize| {
            let cells = self.rows.iter().map(|row| row[i].text.width());
            cells.chain([self.columns[i].head.width()]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = kept.iter().map(needed).collect();
        let Some(terminal) = terminal else {
            return Layout { kept, widths };
        };
        loop {
            let flexible: Vec<bool> = kept.iter().map(|&i| self.columns[i].flexible).collect();
            shrink(&mut widths, &flexible, NARROWEST, terminal);
            if over(&widths, terminal) == 0 {
                return Layout { kept, widths };
            }
            let order = |&k: &usize| self.columns[kept[k]].dropped;
            let Some(least) = (0..kept.len()).filter(|k| order(k).is_some()).min_by_key(order) else {
                break;
            };
            kept.remove(least);
            widths = kept.iter().map(needed).collect();
        }
        shrink(&mut widths, &vec![true; kept.len()], NARROWEST, terminal);
        shrink(&mut widths, &vec![true; kept.len()], 1, terminal);
        Layout { kept, widths }
    }
}

/// How many columns of the terminal are missing.
fn over(widths: &[usize], terminal: usize) -> usize {
    let total = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
    total.saturating_sub(terminal)
}

/// Takes from the widest that may be cut, until all fits or none is left to take from.
fn shrink(widths: &mut [usize], may_be_cut: &[bool], narrowest: usize, terminal: usize) {
    loop {
        let over = over(widths, terminal);
        let widest = (0..widths.len())
            .filter(|&k| may_be_cut[k] && widths[k] > narrowest)
            .max_by_key(|&k| widths[k]);
        let (Some(widest), true) = (widest, over > 0) else {
            return;
        };
        // Down to the next widest at once, then evenly.
        let second = (0..widths.len())
            .filter(|&k| k != widest && may_be_cut[k])
            .map(|k| widths[k])
            .max()
            .unwrap_or(0)
            .max(narrowest);
        let step = widths[widest].saturating_sub(second).clamp(1, over);
        widths[widest] -= step;
    }
}

/// As much of a text as fits.
pub fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }
    let mut cut = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used + 1 > width {
            break;
        }
        cut.push(c);
    }
    if width > 0 {
        cut.push('…');
    }
    Cow::Owned(cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Captured;

    fn shown(columns: &[Column], rows: Vec<Vec<Cell>>, width: Option<usize>, colour: bool) -> String {
        let captured = Captured::default();
        let mut out = Out::to(captured.clone());
        out.width = width;
        out.colour = colour;
        let mut table = Table::new(columns);
        for row in rows {
            table.row(row, &mut out).expect("memory takes it");
        }
        table.end(&mut out).and_then(|()| out.flush()).expect("memory takes it");
        captured.text()
    }

    const SAMPLE_COLUMNS: [Column; 4] = [
        Column::fixed("NAME"),
        Column::number("N"),
        Column::fixed("GONE"),
        Column::flexible("COMMAND"),
    ];

    fn sample() -> Vec<Vec<Cell>> {
        vec![
            vec!["a".into(), "1".into(), "".into(), "echo a long line of words".into()],
            vec!["backup".into(), "".into(), "".into(), "x\ny".into()],
            vec!["c".into(), "100".into(), "".into(), "".into()],
        ]
    }

    #[test]
    fn columns_align_and_lines_end_without_blanks() {
        assert_eq!(
            shown(&SAMPLE_COLUMNS, sample(), None, false),
            "NAME      N  COMMAND\n\
             a         1  echo a long line of words\n\
             backup       x\\ny\n\
             c       100\n"
        );
    }

    #[test]
    fn a_narrow_terminal_cuts_the_flexible_column() {
        for line in shown(&SAMPLE_COLUMNS, sample(), Some(28), false).lines() {
            assert!(line.chars().count() <= 28, "{line:?}");
        }
        assert!(
            shown(&SAMPLE_COLUMNS, sample(), Some(28), false).contains("echo a long li…\n"),
            "{}",
            shown(&SAMPLE_COLUMNS, sample(), Some(28), false)
        );
    }

    #[test]
    fn colour_changes_no_column() {
        let row = vec![Cell::toned("x", Tone::Good), "y".into()];
        let coloured = shown(&[Column::fixed("A"), Column::fixed("B")], vec![row], None, true);
        assert!(coloured.contains("\u{1b}[32mx\u{1b}[0m  y"), "{coloured:?}");
    }

    #[test]
    fn what_says_least_is_left_out_and_the_rest_cut_where_the_terminal_is_narrow() {
        let columns = [
            Column::fixed("NAME"),
            Column::fixed("MORE").dropped(2),
            Column::fixed("LEAST").dropped(1),
            Column::fixed("LAST"),
        ];
        let row: Vec<Cell> = ["a-long-name", "some-more", "the-least", "yesterday"]
            .map(Cell::from)
            .into();
        let at = |width| shown(&columns, vec![row.clone()], Some(width), false);
        assert_eq!(at(44), at(99));
        assert!(at(43).contains("some-more  yesterday\n"), "{}", at(43));
        assert!(at(22).contains("a-long-name  yesterday\n"), "{}", at(22));
        for width in 5..44 {
            for line in at(width).lines() {
                assert!(line.width() <= width, "{line:?} is wider than {width}");
            }
        }
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let columns = [Column::flexible("A"), Column::fixed("B")];
        let row = |a: &str| vec![a.into(), "x".into()];
        let text = shown(&columns, vec![row("日本語"), row("abc")], None, false);
        assert_eq!(text, "A       B\n日本語  x\nabc     x\n");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
    }

    #[test]
    fn a_long_table_is_printed_as_it_comes() {
        let captured = Captured::default();
        let mut out = Out::to(captured.clone());
        let mut table = Table::new(&[Column::fixed("NAME"), Column::fixed("STATE"), Column::fixed("LAST")]);
        for n in 0..SAMPLE + 1 {
            let state = if n == SAMPLE { "disabled" } else { "" };
            table
                .row(vec![format!("{n:04}").into(), state.into(), "x".into()], &mut out)
                .expect("memory takes it");
            assert!(table.rows.len() < SAMPLE);
        }
        out.flush().expect("memory takes it");
        let text = captured.text();
        assert_eq!(text.lines().count(), SAMPLE + 2);
        assert!(
            text.starts_with("NAME  STATE  LAST\n0000         x\n"),
            "{}",
            &text[..60]
        );
        assert!(
            text.ends_with("1000  disabled  x\n"),
            "a column that was empty so far is there"
        );
    }
}
