//! Decodes escapes in text: of JSON and JavaScript, of URLs, and HTML entities.
//!
//! All kinds are decoded together, because a provider does not say which one it used, and repeatedly, because they nest: a URL
//! inside JSON, JSON inside a string. Each byte keeps its position in the original, so that a range of the decoded text can be
//! removed from the original.

use std::ops::Range;

/// How many nested levels are decoded. Real software does not nest them deeper.
const LEVELS: usize = 4;

/// The maximum length of `\u{…}`.
const LONGEST_BRACED: usize = 16;

/// Named HTML entities for characters that a key may contain. Letters and digits have none.
const ENTITIES: [(&[u8], u8); 50] = [
    (b"AMP", b'&'),
    (b"GT", b'>'),
    (b"Hat", b'^'),
    (b"LT", b'<'),
    (b"NewLine", b'\n'),
    (b"QUOT", b'"'),
    (b"Tab", b'\t'),
    (b"UnderBar", b'_'),
    (b"VerticalLine", b'|'),
    (b"amp", b'&'),
    (b"apos", b'\''),
    (b"ast", b'*'),
    (b"bsol", b'\\'),
    (b"colon", b':'),
    (b"comma", b','),
    (b"commat", b'@'),
    (b"dollar", b'$'),
    (b"equals", b'='),
    (b"excl", b'!'),
    (b"grave", b'`'),
    (b"gt", b'>'),
    (b"lbrace", b'{'),
    (b"lbrack", b'['),
    (b"lcub", b'{'),
    (b"lowbar", b'_'),
    (b"lpar", b'('),
    (b"lsqb", b'['),
    (b"lt", b'<'),
    (b"midast", b'*'),
    (b"nbsp", b' '),
    (b"NonBreakingSpace", b' '),
    (b"DiacriticalGrave", b'`'),
    (b"num", b'#'),
    (b"percnt", b'%'),
    (b"period", b'.'),
    (b"plus", b'+'),
    (b"quest", b'?'),
    (b"quot", b'"'),
    (b"rbrace", b'}'),
    (b"rbrack", b']'),
    (b"rcub", b'}'),
    (b"rpar", b')'),
    (b"rsqb", b']'),
    (b"semi", b';'),
    (b"sol", b'/'),
    (b"verbar", b'|'),
    (b"vert", b'|'),
    // Not in the standard, but used in practice.
    (b"dash", b'-'),
    (b"hyphen", b'-'),
    (b"tilde", b'~'),
];
/// Entities that browsers accept without the semicolon too.
const BARE_ENTITIES: [&[u8]; 8] = [b"AMP", b"GT", b"LT", b"QUOT", b"amp", b"gt", b"lt", b"quot"];

/// A text with some of its escapes decoded.
#[derive(Debug)]
struct View {
    bytes: Vec<u8>,
    /// The position of each byte in the original, followed by the end of the original.
    starts: Vec<usize>,
}

/// Calls `look` with a text, then with its escapes decoded, as often as there are any. `look` returns ranges of the text that it
/// got; they are returned as ranges of the original.
pub(super) fn each_form<T>(
    text: &[u8],
    mut look: impl FnMut(&[u8]) -> Vec<(Range<usize>, T)>,
) -> Vec<(Range<usize>, T)> {
    let mut found = look(text);
    let mut view = undone(text, |at| at);
    for _ in 0..LEVELS {
        let Some(current) = view else { break };
        let at = |place: usize| current.starts.get(place).copied().unwrap_or(text.len());
        let wanted = look(&current.bytes).into_iter();
        found.extend(wanted.map(|(range, what)| (at(range.start)..at(range.end), what)));
        view = undone(&current.bytes, at);
    }
    found
}

/// The text with every escape decoded once; none when there is none. `origin` maps to positions in the original.
fn undone(text: &[u8], origin: impl Fn(usize) -> usize) -> Option<View> {
    let is_escape = |&at: &usize| text.get(at..).and_then(escape).is_some();
    let first = memchr::memchr3_iter(b'\\', b'%', b'&', text).find(is_escape)?;
    let mut view = View { bytes: Vec::with_capacity(text.len()), starts: Vec::with_capacity(text.len() + 1) };
    let mut at = 0;
    while let Some((&byte, _)) = text.get(at..).and_then(<[u8]>::split_first) {
        let escaped = text.get(at..).filter(|_| at >= first).and_then(escape);
        let (length, undone) = escaped.unwrap_or((1, Undone::Byte(byte)));
        match undone {
            Undone::Byte(byte) => view.bytes.push(byte),
            Undone::Char(char) => view.bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        view.starts.resize(view.bytes.len(), origin(at));
        at += length;
    }
    view.starts.push(origin(text.len()));
    Some(view)
}

/// The decoded escape.
#[derive(Clone, Copy)]
enum Undone {
    Byte(u8),
    Char(char),
}

/// The escape at the beginning of a text, if there is one: its length, and the decoded character.
fn escape(text: &[u8]) -> Option<(usize, Undone)> {
    match text {
        [b'\\', b'u' | b'x', b'{', rest @ ..] => braced(rest).map(|(length, char)| (3 + length, Undone::Char(char))),
        [b'\\', b'u', rest @ ..] => {
            // Java compilers accept any number of `u`.
            let more = rest.iter().take_while(|byte| **byte == b'u').count();
            code_unit(rest.get(more..)?).map(|(length, char)| (2 + more + length, Undone::Char(char)))
        }
        [b'\\', b'U', digits @ ..] => hex(digits, 8).map(|code| (10, Undone::Char(character(code)))),
        [b'\\', b'x', digits @ ..] => hex(digits, 2).map(|code| (4, Undone::Char(character(code)))),
        [b'\\', high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', ..] => {
            let byte = (high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0');
            Some((4, Undone::Char(char::from(byte))))
        }
        [b'\\', char, ..] => {
            let plain = match char {
                b'/' | b'\\' | b'"' | b'\'' => *char,
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                _ => return None,
            };
            Some((2, Undone::Byte(plain)))
        }
        // The output of JavaScript's `escape`.
        [b'%', b'u' | b'U', digits @ ..] => hex(digits, 4).map(|code| (6, Undone::Char(character(code)))),
        [b'%', digits @ ..] => Some((3, Undone::Byte(u8::try_from(hex(digits, 2)?).ok()?))),
        [b'&', b'#', b'x' | b'X', rest @ ..] => {
            reference(rest, 16).map(|(length, char)| (3 + length, Undone::Char(char)))
        }
        [b'&', b'#', rest @ ..] => reference(rest, 10).map(|(length, char)| (2 + length, Undone::Char(char))),
        [b'&', rest @ ..] => {
            let named = |(name, byte): &(&[u8], u8)| {
                let closed = rest.strip_prefix(*name)?.starts_with(b";");
                (closed || BARE_ENTITIES.contains(name))
                    .then(|| (1 + name.len() + usize::from(closed), Undone::Byte(*byte)))
            };
            ENTITIES.iter().find_map(named)
        }
        _ => None,
    }
}

/// `2b}` after `\u{`, as in JavaScript, Rust, Swift, PHP and Perl.
fn braced(text: &[u8]) -> Option<(usize, char)> {
    let end = memchr::memchr(b'}', text.get(..text.len().min(LONGEST_BRACED))?)?;
    let code = u32::from_str_radix(std::str::from_utf8(text.get(..end)?).ok()?.trim(), 16).ok()?;
    Some((end + 1, character(code)))
}

/// `002B`, or the two halves of a surrogate pair, after `\u`.
fn code_unit(digits: &[u8]) -> Option<(usize, char)> {
    let first = hex(digits, 4)?;
    let second = match digits.get(4..) {
        Some([b'\\', b'u', digits @ ..]) if (0xd800..0xdc00).contains(&first) => hex(digits, 4),
        _ => None,
    };
    match second.filter(|second| (0xdc00..0xe000).contains(second)) {
        Some(second) => Some((10, character(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)))),
        None => Some((4, character(first))),
    }
}

/// `43;` or `2b;` after `&#`, as browsers accept it: with leading zeros, without the semicolon.
fn reference(text: &[u8], radix: u32) -> Option<(usize, char)> {
    const LONGEST: usize = 8;
    let zeros = text.iter().take_while(|byte| **byte == b'0').count();
    let rest = text.get(zeros..)?;
    let is_digit = |byte: &&u8| char::from(**byte).is_digit(radix);
    let digits = rest.iter().take(LONGEST).take_while(is_digit).count();
    if zeros + digits == 0 {
        return None;
    }
    let code = u32::from_str_radix(std::str::from_utf8(rest.get(..digits)?).ok()?, radix).unwrap_or_default();
    let end = usize::from(rest.get(digits) == Some(&b';'));
    Some((zeros + digits + end, character(code)))
}

fn hex(digits: &[u8], count: usize) -> Option<u32> {
    let digits = digits.get(..count)?.iter();
    digits.map(|byte| char::from(*byte).to_digit(16)).try_fold(0, |code, digit| Some(code << 4 | digit?))
}

/// Half a surrogate pair is not a character.
fn character(code: u32) -> char {
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(text: &str) -> Vec<String> {
        let mut forms = Vec::new();
        let _ = each_form::<()>(text.as_bytes(), |form| {
            forms.push(String::from_utf8_lossy(form).into_owned());
            Vec::new()
        });
        forms
    }

    #[test]
    fn escapes_of_every_kind_are_undone() {
        for (text, plain) in [
            (r"a\/b", "a/b"),
            (r#"\"a\\b\n"#, "\"a\\b\n"),
            (r"\u002Ba\u002b", "+a+"),
            (r"\ud83d\ude00", "\u{1f600}"),
            (r"\ud83dx", "\u{fffd}x"),
            (r"\x2bb", "+b"),
            ("%2B%2b%c3%a9", "++é"),
            ("%u002B", "+"),
            ("&#43;&#x2B;&#0043&plus;&sol;&amp;", "++++/&"),
            (r"\u{2b}\u{00002B}\x{2b}\u{ 2b }", "++++"),
            (r"\U0000002B\uu002b\053\u{1f600}", "+++\u{1f600}"),
            ("&#000000000000043;&#x0000000000002b;", "++"),
            ("&ampa&lt&QUOT&lpar;&percnt;&num;", "&a<\"(%#"),
            ("%U002b%2b", "++"),
        ] {
            assert_eq!(forms(text).get(1).map(String::as_str), Some(plain), "{text}");
        }
        for plain in [
            "",
            "a",
            "a&b=c",
            "100%",
            "%zz",
            r"\",
            r"\q",
            r"\u12",
            "&#;",
            r"\u{}",
            r"\u{2b",
            r"\u{zz}",
            r"\U2b",
            r"\09",
            "&plus",
            "&nothing;",
            "a & b",
            "%2",
        ] {
            assert_eq!(forms(plain), [plain], "{plain}");
        }
    }

    #[test]
    fn nested_escapes_are_undone_one_after_the_other_and_not_without_end() {
        assert_eq!(forms(r"\u0025\u0032\u0062"), [r"\u0025\u0032\u0062", "%2b", "+"]);
        assert_eq!(forms(&format!("%{}2b", "25".repeat(LEVELS + 3))).len(), LEVELS + 1);
    }

    #[test]
    fn what_is_found_in_a_form_is_found_in_the_text() {
        let text = br#"{"m":"x %5Cu002Bkey\u003d y"}"#;
        let found =
            each_form(text, |form| memchr::memmem::find_iter(form, b"+key=").map(|at| (at..at + 5, ())).collect());
        let shown: Vec<&[u8]> = found.iter().map(|(range, ())| &text[range.clone()]).collect();
        assert_eq!(shown, [br"%5Cu002Bkey\u003d"]);
    }
}
