//! Short texts in the frozen formats: a length byte, then printable ASCII, which is safe to show on any terminal.

/// Most bytes of such a text.
pub(crate) const MAX: usize = u8::MAX as usize;

/// The text holds a byte that is not printable ASCII.
#[derive(Debug)]
pub(crate) struct NotPrintable;

/// Appends a text, cut at [`MAX`] and with `?` for what is not printable ASCII.
pub(crate) fn put(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    out.push(0);
    out.extend(
        text.chars()
            .take(MAX)
            .map(|c| if is_printable(c) { c as u8 } else { b'?' }),
    );
    out[start] = u8::try_from(out.len() - start - 1).expect("at most MAX bytes were appended");
}

/// The text at the head of `bytes` and what follows it, or `None` when it is not whole.
pub(crate) fn take(bytes: &[u8]) -> Result<Option<(String, &[u8])>, NotPrintable> {
    let Some((&len, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let present = &rest[..rest.len().min(usize::from(len))];
    let text: String = present.iter().map(|&byte| char::from(byte)).collect();
    if !text.chars().all(is_printable) {
        return Err(NotPrintable);
    }
    Ok((present.len() == usize::from(len)).then(|| (text, &rest[usize::from(len)..])))
}

fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~')
}
