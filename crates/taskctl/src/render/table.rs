//! Tables: columns as wide as their widest cell, and cut from the widest flexible column where the terminal is narrower.

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
            "starting" | "running" | "stopping" | "waiting" => Tone::Live,
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
}

impl Column {
    /// Text, never cut.
    pub const fn fixed(head: &'static str) -> Self {
        Column {
            head,
            right: false,
            flexible: false,
        }
    }
    /// Numbers, at the right.
    pub const fn number(head: &'static str) -> Self {
        Column {
            head,
            right: true,
            flexible: false,
        }
    }
    /// Text that may be cut.
    pub const fn flexible(head: &'static str) -> Self {
        Column {
            head,
            right: false,
            flexible: true,
        }
    }
}

/// Rows under heads.
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// Between two columns.
const GAP: usize = 2;

/// A flexible column is not made narrower than this.
const NARROWEST: usize = 8;

impl Table {
    /// Without rows.
    pub fn new(columns: &[Column]) -> Self {
        Table {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, a cell for each column.
    pub fn row(&mut self, mut cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        for cell in &mut cells {
            cell.text = one_line(&cell.text);
        }
        self.rows.push(cells);
    }

    /// Writes it. Columns that are empty in every row are left out.
    pub fn print(&self, out: &mut Out) -> Result<()> {
        let kept: Vec<usize> = (0..self.columns.len())
            .filter(|&i| self.rows.iter().any(|row| !row[i].text.is_empty()))
            .collect();
        let widths = self.widths(&kept, out.width);
        let colour = out.colour;
        let heads = kept
            .iter()
            .map(|&i| Cell::toned(self.columns[i].head, Tone::Strong))
            .collect::<Vec<_>>();
        self.print_row(&kept, &heads.iter().collect::<Vec<_>>(), &widths, colour, out)?;
        for row in &self.rows {
            let cells: Vec<&Cell> = kept.iter().map(|&i| &row[i]).collect();
            self.print_row(&kept, &cells, &widths, colour, out)?;
        }
        Ok(())
    }

    fn print_row(&self, kept: &[usize], cells: &[&Cell], widths: &[usize], colour: bool, out: &mut Out) -> Result<()> {
        let mut line = String::new();
        let mut pending = 0;
        for ((&column, cell), &width) in kept.iter().zip(cells).zip(widths) {
            let text = cut(&cell.text, width);
            let padding = width - chars(&text);
            let right = self.columns[column].right;
            // Blanks are written before the next text only, so that no line ends in blanks.
            line.push_str(&" ".repeat(pending + if right { padding } else { 0 }));
            pending = GAP + if right { 0 } else { padding };
            if !text.is_empty() {
                line.push_str(&cell.tone.paint(&text, colour));
            }
        }
        out.line(line.trim_end())
    }

    fn widths(&self, kept: &[usize], terminal: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = kept
            .iter()
            .map(|&i| {
                let cells = self.rows.iter().map(|row| chars(&row[i].text));
                cells.chain([chars(self.columns[i].head)]).max().unwrap_or(0)
            })
            .collect();
        let Some(terminal) = terminal else { return widths };
        loop {
            let total = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
            let over = total.saturating_sub(terminal);
            let widest = (0..widths.len())
                .filter(|&k| self.columns[kept[k]].flexible && widths[k] > NARROWEST)
                .max_by_key(|&k| widths[k]);
            let (Some(widest), true) = (widest, over > 0) else {
                return widths;
            };
            // Down to the next flexible column at once, then evenly.
            let second = (0..widths.len())
                .filter(|&k| k != widest && self.columns[kept[k]].flexible)
                .map(|k| widths[k])
                .max()
                .unwrap_or(0)
                .max(NARROWEST);
            let step = widths[widest].saturating_sub(second).clamp(1, over);
            widths[widest] -= step;
        }
    }
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

fn cut(text: &str, width: usize) -> String {
    if chars(text) <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Captured;

    fn shown(table: &Table, width: Option<usize>, colour: bool) -> String {
        let captured = Captured::default();
        let mut out = Out::to(captured.clone());
        out.width = width;
        out.colour = colour;
        table
            .print(&mut out)
            .and_then(|()| out.flush())
            .expect("memory takes it");
        captured.text()
    }

    fn sample() -> Table {
        let mut table = Table::new(&[
            Column::fixed("NAME"),
            Column::number("N"),
            Column::fixed("GONE"),
            Column::flexible("COMMAND"),
        ]);
        table.row(vec![
            "a".into(),
            "1".into(),
            "".into(),
            "echo a long line of words".into(),
        ]);
        table.row(vec!["backup".into(), "".into(), "".into(), "x\ny".into()]);
        table.row(vec!["c".into(), "100".into(), "".into(), "".into()]);
        table
    }

    #[test]
    fn columns_align_and_lines_end_without_blanks() {
        assert_eq!(
            shown(&sample(), None, false),
            "NAME      N  COMMAND\n\
             a         1  echo a long line of words\n\
             backup       x\\ny\n\
             c       100\n"
        );
    }

    #[test]
    fn a_narrow_terminal_cuts_the_flexible_column() {
        for line in shown(&sample(), Some(28), false).lines() {
            assert!(line.chars().count() <= 28, "{line:?}");
        }
        assert!(
            shown(&sample(), Some(28), false).contains("echo a long li…\n"),
            "{}",
            shown(&sample(), Some(28), false)
        );
    }

    #[test]
    fn colour_changes_no_column() {
        let mut table = Table::new(&[Column::fixed("A"), Column::fixed("B")]);
        table.row(vec![Cell::toned("x", Tone::Good), "y".into()]);
        let coloured = shown(&table, None, true);
        assert!(coloured.contains("\u{1b}[32mx\u{1b}[0m  y"), "{coloured:?}");
    }
}
