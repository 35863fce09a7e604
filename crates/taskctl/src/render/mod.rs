//! How things look to people: tables that fit the terminal, instants in the reader's zone, lengths and sizes in
//! round numbers.

pub mod fate;
pub mod gates;
pub mod graph;
pub mod heat;
pub mod month;
pub mod process;
pub mod table;
pub mod task;
pub mod time;
pub mod timeline;

/// Bytes in round numbers: `512 B`, `1.5 MiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 and above would be shown as 1024.0.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `1 task`, `2 tasks`.
pub fn counted(n: u64, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}

/// The name of a signal, as `kill -l` has it.
pub fn signal(number: i32) -> String {
    let name = match number {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        9 => "KILL",
        10 => "USR1",
        11 => "SEGV",
        12 => "USR2",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        24 => "XCPU",
        25 => "XFSZ",
        _ => return format!("signal {number}"),
    };
    format!("SIG{name}")
}

/// One character stands for what steers a terminal, or the order in which it shows others, or is not to be seen, so that
/// columns stay right and text is what it seems to be.
pub fn plain(c: char) -> char {
    match c {
        // Marks and overrides of direction, blanks and joiners without width.
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => '\u{fffd}',
        '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// Text for one line of a terminal: nothing in it is obeyed, see [`plain`].
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            '\t' => line.push_str("\\t"),
            c => line.push(plain(c)),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_round() {
        let shown = [0, 1023, 1024, 1536, 1 << 20, (1 << 30) - 1, u64::MAX].map(bytes);
        assert_eq!(
            shown,
            [
                "0 B",
                "1023 B",
                "1.0 KiB",
                "1.5 KiB",
                "1.0 MiB",
                "1.0 GiB",
                "16384.0 PiB"
            ]
        );
    }

    #[test]
    fn a_line_stays_a_line() {
        assert_eq!(one_line("a\nb\tc\u{1b}[2J"), "a\\nb\\tc\u{fffd}[2J");
        assert_eq!(one_line("a\u{202e}b\u{200b}c"), "a\u{fffd}b\u{fffd}c");
    }
}
