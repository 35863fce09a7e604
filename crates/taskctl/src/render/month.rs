//! A month as a calendar with weeks that begin on Monday; on a narrow terminal a day a line.

use jiff::civil::{Date, Time};

use super::heat::compact;
use super::table::Tone;

/// Columns of an output that is no terminal.
const WIDTH: usize = 80;

/// Before the value of a cell: the day, a mark, a blank.
const BEFORE: usize = 4;

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A day of the month.
#[derive(Clone, Copy, Debug)]
pub struct Day {
    /// Which.
    pub date: Date,
    /// How many fire times it has.
    pub count: u64,
    /// When the only one of them is.
    pub time: Option<Time>,
    /// Whether clocks change on it.
    pub is_marked: bool,
    /// Whether it is today.
    pub is_today: bool,
}

impl Day {
    /// What stands beside it: nothing, the time of day of the only fire time where there is so much room, or how many
    /// there are.
    fn value(&self, room: usize, unicode: bool) -> String {
        let time = self.time.filter(|_| self.count == 1).map(|time| match time.second() {
            0 => time.strftime("%H:%M").to_string(),
            _ => time.strftime("%H:%M:%S").to_string(),
        });
        match self.count {
            0 if unicode => "·".to_owned(),
            0 => ".".to_owned(),
            count => time.filter(|time| time.len() <= room).unwrap_or_else(|| compact(count)),
        }
    }

    fn cell(&self, room: usize, unicode: bool) -> String {
        let mark = if self.is_marked { '*' } else { ' ' };
        format!("{:>2}{mark} {}", self.date.day(), self.value(room, unicode))
    }

    fn tone(&self) -> Tone {
        match self.count {
            _ if self.is_today => Tone::Strong,
            _ if self.is_marked => Tone::Live,
            0 => Tone::Dim,
            _ => Tone::Plain,
        }
    }
}

/// The lines of the calendar for the days of a month.
pub fn lines(days: &[Day], width: Option<usize>, unicode: bool, colour: bool) -> Vec<String> {
    let width = width.unwrap_or(WIDTH);
    // Times of day with seconds, without, and none; then what stands between columns.
    for (room, gap) in [(8, 2), (8, 1), (5, 2), (5, 1), (0, 2), (0, 1)] {
        let widest = days
            .iter()
            .map(|day| day.value(room, unicode).chars().count())
            .max()
            .unwrap_or(0);
        let cell = BEFORE + widest;
        if 7 * cell + 6 * gap <= width {
            return grid(days, room, cell + gap, unicode, colour);
        }
    }
    let weekday = |day: &Day| WEEKDAYS[day.date.weekday().to_monday_zero_offset() as usize];
    let line = |day: &Day| {
        day.tone()
            .paint(&format!("{} {}", weekday(day), day.cell(8, unicode)), colour)
    };
    days.iter().map(line).collect()
}

fn grid(days: &[Day], room: usize, column: usize, unicode: bool, colour: bool) -> Vec<String> {
    let heads: String = WEEKDAYS.iter().map(|name| format!("{name:<column$}")).collect();
    let mut lines = vec![Tone::Strong.paint(heads.trim_end(), colour)];
    let (mut line, mut pending) = (String::new(), 0);
    for (n, day) in days.iter().enumerate() {
        let weekday = day.date.weekday().to_monday_zero_offset() as usize;
        if n == 0 {
            pending = weekday * column;
        } else if weekday == 0 {
            lines.push(std::mem::take(&mut line));
            pending = 0;
        }
        let cell = day.cell(room, unicode);
        line.push_str(&" ".repeat(pending));
        line.push_str(&day.tone().paint(&cell, colour));
        pending = column.saturating_sub(cell.chars().count());
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use jiff::civil::{date, time};

    use super::*;

    /// A month with a fire time at 02:30 every day, and more on the 10th.
    fn month(year: i16, month: i8) -> Vec<Day> {
        let first = date(year, month, 1);
        first
            .series(jiff::Span::new().days(1))
            .take(first.days_in_month() as usize)
            .map(|date| Day {
                date,
                count: if date.day() == 10 { 1_440 } else { 1 },
                time: (date.day() != 10).then(|| time(2, 30, 0, 0)),
                is_marked: false,
                is_today: false,
            })
            .collect()
    }

    #[test]
    fn weeks_begin_on_monday_and_days_are_marked() {
        let mut days = month(2027, 3);
        days[27].is_marked = true;
        days[27].time = Some(time(3, 0, 0, 0));
        days[1].count = 0;
        assert_eq!(
            lines(&days, None, true, false).join("\n"),
            "\
Mon        Tue        Wed        Thu        Fri        Sat        Sun
 1  02:30   2  ·       3  02:30   4  02:30   5  02:30   6  02:30   7  02:30
 8  02:30   9  02:30  10  1440   11  02:30  12  02:30  13  02:30  14  02:30
15  02:30  16  02:30  17  02:30  18  02:30  19  02:30  20  02:30  21  02:30
22  02:30  23  02:30  24  02:30  25  02:30  26  02:30  27  02:30  28* 03:00
29  02:30  30  02:30  31  02:30"
        );
        assert!(lines(&days, None, false, false)[1].starts_with(" 1  02:30   2  .  "));
    }

    #[test]
    fn a_leap_february_has_29_days() {
        let shown = lines(&month(2028, 2), Some(80), true, false);
        assert_eq!(shown.len(), 6);
        assert_eq!(
            shown[1].trim_start(),
            " 1  02:30   2  02:30   3  02:30   4  02:30   5  02:30   6  02:30".trim_start()
        );
        assert_eq!(shown[5], "28  02:30  29  02:30");
    }

    #[test]
    fn a_narrow_terminal_gets_counts_and_a_very_narrow_one_a_day_a_line() {
        let days = month(2027, 3);
        for width in [75, 69, 68, 62, 61, 20] {
            let shown = lines(&days, Some(width), true, false);
            assert!(
                shown.iter().all(|line| line.chars().count() <= width),
                "{width}: {shown:#?}"
            );
        }
        assert!(lines(&days, Some(69), true, false)[1].starts_with(" 1  02:30  2  02:30"));
        assert!(lines(&days, Some(68), true, false)[1].starts_with(" 1  1      2  1   "));
        assert_eq!(lines(&days, Some(61), true, false)[9], "Wed 10  1440");
    }

    #[test]
    fn seconds_are_shown_where_there_is_room() {
        let mut days = month(2027, 3);
        days[0].time = Some(time(2, 30, 15, 0));
        assert!(lines(&days, Some(100), true, false)[1].starts_with(" 1  02:30:15   2  02:30"));
        assert!(lines(&days, Some(80), true, false)[1].starts_with(" 1  1       2  02:30"));
    }

    #[test]
    fn colour_leaves_the_columns_where_they_are() {
        let mut days = month(2027, 3);
        (days[0].is_today, days[27].is_marked) = (true, true);
        let painted = lines(&days, None, true, true);
        assert!(painted[1].contains("\u{1b}["));
        let plain: Vec<String> = painted
            .iter()
            .map(|line| anstream::adapter::strip_str(line).to_string())
            .collect();
        assert_eq!(plain, lines(&days, None, true, false));
    }
}
