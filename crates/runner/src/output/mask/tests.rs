use super::masker::{LINE_MAX, PART};
use super::*;
use crate::output::Stream;

fn masks(patterns: &[&str]) -> Result<Masks, MaskError> {
    Masks::compile(&patterns.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
}

fn masker(patterns: &[&str]) -> Masker {
    Masker::new(Arc::new(masks(patterns).expect("they are right")))
}

/// What is written of some reads from one stream.
fn written(patterns: &[&str], reads: &[&[u8]]) -> String {
    let mut masker = masker(patterns);
    let mut all = Vec::new();
    for read in reads {
        masker.feed(Stream::Stdout, read);
        all.extend_from_slice(&masker.out);
    }
    masker.end(Stream::Stdout);
    all.extend_from_slice(&masker.out);
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn matches_are_hidden_however_they_are_read() {
    let text = b"user=ann password=hunter2 ok\nnothing\nlast password=hunter3";
    let hidden = "user=ann *** ok\nnothing\nlast ***";
    for at in 0..text.len() {
        let (one, two) = text.split_at(at);
        assert_eq!(written(&[r"password=\S+"], &[one, two]), hidden, "{at}");
    }
    let bytes: Vec<&[u8]> = text.chunks(1).collect();
    assert_eq!(written(&[r"password=\S+"], &bytes), hidden);
}

#[test]
fn what_several_patterns_match_is_hidden_once() {
    assert_eq!(written(&["abc", "cd", "f"], &[b"xabcdef\nf"]), "x***e***\n***");
    // Both are held against what was written, not against what the other has left.
    assert_eq!(written(&["ab", "bc"], &[b"abc"]), "***");
}

#[test]
fn bytes_that_are_no_text_are_looked_at_too() {
    assert_eq!(
        written(&["key"], &[b"\xff\xfekey\xff\n"]),
        "\u{fffd}\u{fffd}***\u{fffd}\n"
    );
    assert_eq!(written(&[r"(?-u:\xff)+"], &[b"a\xff\xffb\n"]), "a***b\n");
}

#[test]
fn the_streams_do_not_mix() {
    let mut masker = masker(&["secret"]);
    masker.feed(Stream::Stdout, b"sec");
    masker.feed(Stream::Stderr, b"ret\n");
    assert_eq!(masker.out, b"ret\n");
    masker.feed(Stream::Stdout, b"ret\n");
    assert_eq!(masker.out, b"***\n");
    assert!(!masker.holds());
}

#[test]
fn a_line_without_end_is_given_on_in_parts_that_cut_no_match() {
    let secret = "s".repeat(20_000) + "!";
    for before in [PART - 1, PART - 10_000, LINE_MAX - 5, 3 * PART - 7] {
        let line = format!("{}{secret}{}", "x".repeat(before), "y".repeat(2 * LINE_MAX));
        let reads: Vec<&[u8]> = line.as_bytes().chunks(4096).collect();
        let shown = written(&["s+!"], &reads);
        let whole = format!("{}***{}", "x".repeat(before), "y".repeat(2 * LINE_MAX));
        assert!(shown == whole, "{before}: {} bytes", shown.len());
    }
    let mut masker = masker(&["k"]);
    for _ in 0..100 {
        masker.feed(Stream::Stdout, &[b'x'; 10_000]);
        assert!(masker.held()[0] < 4 * LINE_MAX, "it is not bounded");
    }
}

#[test]
fn what_cannot_be_used_says_where_and_why() {
    let error = |pattern: &str| masks(&["fine", pattern]).expect_err("it is wrong");
    let MaskError::Syntax { index, problem, at } = error("ä(b") else {
        panic!("it is no expression")
    };
    assert_eq!((index, problem.as_str(), at), (1, "unclosed group", (1, 1)));
    assert_eq!(error("x*"), MaskError::Empty { index: 1 });
    assert_eq!(error(r"(\w{100}){100}"), MaskError::TooLarge { index: 1 });
    let long = "x".repeat(MASK_BYTES_MAX + 1);
    assert_eq!(
        error(&long),
        MaskError::TooLong {
            index: 1,
            bytes: MASK_BYTES_MAX + 1
        }
    );
    assert!(masks(&["x"; MASKS_MAX]).is_ok());
    assert_eq!(
        masks(&["x"; MASKS_MAX + 1]).err(),
        Some(MaskError::TooMany(MASKS_MAX + 1))
    );
}

#[test]
fn what_was_compiled_lately_is_known() {
    let known = KnownMasks::default();
    let patterns = |n: usize| vec![format!("secret-{n}")];
    assert!(known.of(&[]).expect("none").is_none());
    let first = known.of(&patterns(0)).expect("right").expect("one");
    let again = known.of(&patterns(0)).expect("right").expect("one");
    assert!(Arc::ptr_eq(&first, &again));
    for n in 0..3 * REMEMBERED {
        known.of(&patterns(n)).expect("right");
    }
    assert_eq!(lock(&known.latest).len(), REMEMBERED);
}

#[test]
fn bytes_that_are_no_text_end_no_match() {
    // As the README has them.
    for (pattern, line, shown) in [
        (r"password=\S+", &b"a password=ge\xefheim b"[..], "a *** b"),
        (r"token=\S+|key=\S+", b"token=\xff\xfe1 key=\xc3", "*** ***"),
        ("password=[^;]+", b"password=a\xffb;c", "***;c"),
        (r"secret=.*", b"x secret=\xf0\x9f yes", "x ***"),
    ] {
        assert_eq!(written(&[pattern], &[line]), shown, "{pattern}");
    }
}

#[test]
fn words_of_any_alphabet_are_words() {
    let german = "Das Geheimnis lautet: wörter=süßeÄpfel und käse; größe=12 straße\n".repeat(200);
    assert_eq!(
        written(&[r"wörter=\w+"], &[german.as_bytes()]),
        german.replace("wörter=süßeÄpfel", "***")
    );
    // Whether a word begins cannot be seen where letters are not ASCII: more is hidden then.
    assert_eq!(written(&[r"\bkey\b"], &[b"key keys a_key\n"]), "*** keys a_key\n");
    assert_eq!(written(&[r"\bkey\b"], &["ä key keys\n".as_bytes()]), "ä *** ***s\n");
}

#[test]
fn a_line_may_end_with_both_signs() {
    for pattern in ["secret$", "(?m)secret$", r"secret\z", r"secret\r", r"secret\b"] {
        assert!(
            written(&[pattern], &[b"a secret\r\n"]).starts_with("a ***"),
            "{pattern}"
        );
    }
    assert_eq!(written(&["secret$"], &[b"secret \r\nsecret"]), "secret \r\n***");
}

#[test]
fn a_match_that_goes_on_where_a_part_ends_hides_the_rest_of_the_line() {
    for pattern in [r"password=\S+", "password=.*"] {
        let line = format!("password={}\nnext\n", "s".repeat(100 * 1024));
        let reads: Vec<&[u8]> = line.as_bytes().chunks(4096).collect();
        assert_eq!(written(&[pattern], &reads), "***\nnext\n", "{pattern}");
    }
}

#[test]
fn what_is_behind_a_part_does_not_begin_a_line_and_no_word() {
    let line = format!("{}secret secret{}", "x".repeat(PART), "y".repeat(LINE_MAX));
    assert_eq!(
        written(&["^secret", r"\bsecret"], &[line.as_bytes()]),
        line.replace(" secret", " ***")
    );
}

#[test]
fn a_line_that_takes_too_much_work_is_hidden() {
    let is_too_much = |patterns: &[&str], line: &[u8]| {
        let masks = masks(patterns).expect("they are right");
        masks.find(line, 0, true, &mut Vec::new()) == Err(TooMuch)
    };
    // Each match is one character, and each is known only at the end of the line.
    let line = [b'A'; LINE_MAX - 1];
    assert!(is_too_much(&[".*[^A-Z]|[A-Z]"], &line));
    // Each byte takes a state of its own.
    let mut seed = 1_u64;
    let mut noise = || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        b'a' + u8::from(seed >> 63 == 1)
    };
    let noise: Vec<u8> = (0..LINE_MAX - 1).map(|_| noise()).collect();
    assert!(is_too_much(&["[ab]*a[ab]{150}x"], &noise));
    assert_eq!(written(&["[ab]*a[ab]{150}x"], &[&noise, b"\nfine\n"]), "***\nfine\n");
}

#[test]
fn many_matches_in_a_line_are_no_trouble() {
    let line = "1a".repeat(30_000) + "\n";
    assert_eq!(written(&["[0-9]"], &[line.as_bytes()]), line.replace('1', "***"));
    let patterns: Vec<String> = (0..MASKS_MAX).map(|n| format!(r"token{n}=\S+")).collect();
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    let line = (0..1000).map(|n| format!("token{}=abc ", n % 16)).collect::<String>() + "\n";
    assert_eq!(written(&patterns, &[line.as_bytes()]), "*** ".repeat(1000) + "\n");
}

#[test]
fn what_is_for_more_than_a_line_is_refused() {
    for pattern in [
        r"a\nb",
        r"(?s)-----BEGIN.*?-----END",
        r"BEGIN[\s\S]*END",
        r"x(\r\n)?",
        r"(?s-u:.)x",
    ] {
        assert_eq!(
            masks(&[pattern]).err(),
            Some(MaskError::Lines { index: 0 }),
            "{pattern}"
        );
    }
    for pattern in [r"\s+x", "[^;]+", r"(?m)^a$", r"\S+", r"(?-u:[^\x00])x"] {
        assert!(masks(&[pattern]).is_ok(), "{pattern}");
    }
    for pattern in ["^", r"\b", "a?", "[a&&b]"] {
        assert_eq!(
            masks(&[pattern]).err(),
            Some(MaskError::Empty { index: 0 }),
            "{pattern}"
        );
    }
}

#[test]
fn a_task_may_have_as_many_usual_patterns_as_it_may_have_patterns() {
    for pattern in [
        r"token=\S+|key=\S+",
        r"password:\s*\w+",
        r"(?i)bearer\s+[\w.-]+",
        r"\b[0-9]{16}\b",
    ] {
        assert!(masks(&[pattern; MASKS_MAX]).is_ok(), "{pattern}");
    }
}

#[test]
fn memory_for_long_lines_is_given_back() {
    let mut masker = masker(&["k"]);
    masker.feed(Stream::Stdout, &[b'x'; 60_000]);
    masker.feed(Stream::Stdout, b"\n");
    masker.written();
    assert!(
        masker.held()[0] == 0 && masker.out.capacity() <= 4096,
        "{}",
        masker.out.capacity()
    );
}
