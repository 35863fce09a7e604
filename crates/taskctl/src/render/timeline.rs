//! The hours of a day in a row, with how crowded they are.

use super::heat::{compact, glyph};

/// Columns of an output that is no terminal.
const WIDTH: usize = 80;

/// Columns from one hour to the next: two, and a blank. So a day of 26 hours fits 80.
const HOUR: usize = 3;

/// An hour as clocks show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hour {
    /// Which of the day.
    pub hour: i8,
    /// How many fire times it has.
    pub count: u64,
}

/// The lines of a day: hours, how crowded they are, how many fire times they have. Where the terminal is too narrow, there
/// are several rows of hours.
pub fn lines(hours: &[Hour], width: Option<usize>, unicode: bool) -> Vec<String> {
    let width = width.unwrap_or(WIDTH);
    let count = |hour: &Hour| match hour.count {
        0 => String::new(),
        count => compact(count),
    };
    let are_wide = hours.iter().any(|hour| count(hour).len() >= HOUR);
    // A number of four characters under the last hour needs two columns more than the hour.
    let in_row = ((width + 1).saturating_sub(if are_wide { 2 } else { 0 }) / HOUR).max(1);
    let most = hours.iter().map(|hour| hour.count).max().unwrap_or(0);
    let mut lines = Vec::new();
    for row in hours.chunks(in_row) {
        let heat = |hour: &Hour| glyph(hour.count, most, unicode).to_string().repeat(2);
        lines.push(joined(row.iter().map(|hour| format!("{:02}", hour.hour))));
        lines.push(joined(row.iter().map(heat)));
        if !are_wide {
            lines.push(joined(row.iter().map(count)));
            continue;
        }
        // Such numbers find room beneath two hours, those of every other hour a line lower.
        for parity in [0, 1] {
            let cells = row.iter().enumerate().map(|(n, hour)| {
                let is_here = n % 2 == parity;
                if is_here { count(hour) } else { String::new() }
            });
            lines.push(staggered(cells));
        }
    }
    lines
}

fn joined(cells: impl Iterator<Item = String>) -> String {
    let line: String = cells.map(|cell| format!("{cell:<HOUR$}")).collect();
    line.trim_end().to_owned()
}

/// Cells of which every other one is empty, and may be written into.
fn staggered(cells: impl Iterator<Item = String>) -> String {
    let mut line = String::new();
    for (n, cell) in cells.enumerate().filter(|(_, cell)| !cell.is_empty()) {
        line.push_str(&" ".repeat((n * HOUR).saturating_sub(line.len())));
        line.push_str(&cell);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(hours: impl Iterator<Item = i8>, count: impl Fn(i8) -> u64) -> Vec<Hour> {
        hours
            .map(|hour| Hour {
                hour,
                count: count(hour),
            })
            .collect()
    }

    #[test]
    fn a_day_fits_80_columns() {
        let counts = |hour| match hour {
            2 => 60,
            9..=17 => 12,
            _ => 0,
        };
        assert_eq!(
            lines(&day(0..24, counts), Some(80), true).join("\n"),
            "\
00 01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16 17 18 19 20 21 22 23
      ██                   ░░ ░░ ░░ ░░ ░░ ░░ ░░ ░░ ░░
      60                   12 12 12 12 12 12 12 12 12"
        );
        assert_eq!(
            lines(&day(0..24, counts), None, false)[1],
            "      ##                   .. .. .. .. .. .. .. .. .."
        );
        let longest: Vec<Hour> = (0..26)
            .map(|n| Hour {
                hour: n % 24,
                count: 123_456,
            })
            .collect();
        for line in lines(&longest, Some(80), true) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn on_a_day_with_a_change_of_the_clock_hours_are_missing_or_there_twice() {
        let spring = lines(&day((0..2).chain(3..24), |_| 1), Some(80), true);
        assert!(spring[0].starts_with("00 01 03 04"), "{spring:?}");
        let autumn = lines(&day((0..3).chain(2..24), |_| 1), Some(80), true);
        assert!(autumn[0].starts_with("00 01 02 02 03"), "{autumn:?}");
        assert_eq!(autumn[1].split(' ').count(), 25);
    }

    #[test]
    fn large_numbers_take_turns() {
        assert_eq!(
            lines(
                &day(0..5, |hour| [3_600, 120, 0, 12_345, 7][hour as usize]),
                Some(80),
                true
            )
            .join("\n"),
            "00 01 02 03 04\n▒▒ ░░    ██ ░░\n3600        7\n   120   12k"
        );
    }

    #[test]
    fn a_narrow_terminal_gets_several_rows() {
        for width in [79, 77, 71, 70, 40, 10, 5, 2, 1] {
            for count in [5, 1_234] {
                let shown = lines(&day(0..24, |_| count), Some(width), true);
                // A number alone may be wider than a terminal of one column.
                let most = width.max(4);
                assert!(
                    shown.iter().all(|line| line.chars().count() <= most),
                    "{width}: {shown:#?}"
                );
            }
        }
        let shown = lines(&day(0..24, |_| 5), Some(40), true);
        assert_eq!(shown.len(), 6);
        assert!(shown[3].starts_with("13 14"), "{shown:#?}");
    }
}
