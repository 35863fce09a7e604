//! How much in how little room: numbers of four characters, and glyphs that say more or less.

/// A number in at most four characters, rounded down: `9999`, `10k`, `1.5M`, `12M`.
pub fn compact(n: u64) -> String {
    const UNITS: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    if n < 10_000 {
        return n.to_string();
    }
    let (mut whole, mut tenth, mut unit) = (n / 1_000, n / 100 % 10, 0);
    // The largest number there is has 18 of the last unit.
    while whole >= 1_000 {
        (tenth, whole, unit) = (whole / 100 % 10, whole / 1_000, unit + 1);
    }
    match whole {
        0..10 => format!("{whole}.{tenth}{}", UNITS[unit]),
        _ => format!("{whole}{}", UNITS[unit]),
    }
}

/// The glyph of a part of the most there is.
pub fn glyph(n: u64, most: u64, unicode: bool) -> char {
    let glyphs = if unicode {
        [' ', '░', '▒', '▓', '█']
    } else {
        [' ', '.', ':', '*', '#']
    };
    // OK to index: n is at most `most`, and so this at most 4.
    let level = (u128::from(n.min(most)) * 4).div_ceil(u128::from(most.max(1)));
    glyphs[level as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_characters_at_most() {
        let shown = [
            0,
            7,
            9_999,
            10_000,
            12_999,
            999_999,
            1_000_000,
            1_560_000,
            99_999_999,
            86_400_000_000,
        ]
        .map(compact);
        assert_eq!(
            shown,
            ["0", "7", "9999", "10k", "12k", "999k", "1.0M", "1.5M", "99M", "86G"]
        );
        assert_eq!(compact(u64::MAX), "18E");
    }

    #[test]
    fn glyphs_are_quarters_and_nothing_is_nothing() {
        let shown = |unicode| {
            [0, 1, 25, 26, 50, 51, 75, 76, 100]
                .map(|n| glyph(n, 100, unicode))
                .iter()
                .collect::<String>()
        };
        assert_eq!(shown(true), " ░░▒▒▓▓██");
        assert_eq!(shown(false), " ..::**##");
        assert_eq!((glyph(0, 0, true), glyph(u64::MAX, u64::MAX, true)), (' ', '█'));
    }
}
