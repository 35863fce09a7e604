//! Whom a command runs as.

use super::Unreadable;
use crate::schedule::nearest::nearest;

/// Most bytes of the name of a user.
pub const USER_MAX: usize = 256;

/// Reads the name of a user, or a number that is the id of one; that is written without zeros before it.
///
/// # Errors
/// [`Unreadable`] says what is wrong, and where. Whether there is such a user only the system knows.
pub fn parse_user(text: &str) -> Result<String, Unreadable> {
    let cure = "write the name of an account, such as www-data, or its number";
    if !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit()) {
        // The highest number is what the system has for no user at all.
        let id = text.parse().ok().filter(|id: &u32| *id < u32::MAX);
        return id
            .map(|id| id.to_string())
            .ok_or_else(|| Unreadable::new(text, text, "this is the number of no user", cure));
    }
    let is_odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, ':' | '/' | ',');
    if let Some((at, odd)) = text.char_indices().find(|(_, c)| is_odd(*c)) {
        let part = text.get(at..at + odd.len_utf8()).unwrap_or(text);
        return Err(Unreadable::new(text, part, "no name of a user has this", cure));
    }
    if text.is_empty() || text.len() > USER_MAX || text.starts_with(['-', '+']) {
        return Err(Unreadable::new(text, text, "this is no name of a user", cure));
    }
    Ok(text.to_owned())
}

/// The name that a mistyped one was meant to be, if one of these is near enough.
#[must_use]
pub fn nearest_user<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    nearest(typed, names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_read() {
        for (text, read) in [
            ("nobody", "nobody"),
            ("www-data", "www-data"),
            ("_apt", "_apt"),
            ("CORP\\ann", "CORP\\ann"),
            ("ann@corp", "ann@corp"),
            ("host$", "host$"),
            ("7up", "7up"),
            ("0", "0"),
            ("0065534", "65534"),
            ("4294967294", "4294967294"),
        ] {
            assert_eq!(parse_user(text).as_deref(), Ok(read), "{text}");
        }
        assert!(parse_user(&"n".repeat(USER_MAX)).is_ok());
    }

    #[test]
    fn what_names_no_user_is_refused_at_its_column() {
        for (text, span) in [
            ("", (0, 1)),
            ("-1", (0, 2)),
            ("+x", (0, 2)),
            ("ann:staff", (3, 4)),
            ("ä b", (1, 2)),
            ("a/b", (1, 2)),
            ("a,b", (1, 2)),
            ("a\0", (1, 2)),
            ("4294967295", (0, 10)),
            ("99999999999999999999", (0, 20)),
        ] {
            assert_eq!(parse_user(text).expect_err(text).span, span, "{text}");
        }
        assert!(parse_user(&"n".repeat(USER_MAX + 1)).is_err());
    }
}
