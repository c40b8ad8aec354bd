//! Text with a block of header fields before it: `Path:turn.end\r\nX-RequestId:…\r\n\r\n{…}`, as Azure Speech frames the text
//! messages of its sockets.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Most bytes of a block of header fields.
const MOST: usize = 8 * 1024;

/// A text message taken apart.
#[derive(Debug)]
pub struct Headed<'a> {
    /// The block as it came, with the empty line that ends it.
    pub block: &'a [u8],
    /// Its fields.
    pub headers: HeaderMap,
    /// What follows.
    pub body: &'a [u8],
}

/// Takes a message apart; none when it does not begin with a block of header fields, every line of which is one.
#[must_use]
pub fn read(message: &[u8]) -> Option<Headed<'_>> {
    let start = message.get(..MOST).unwrap_or(message);
    let end = memchr::memmem::find(start, b"\r\n\r\n")? + 4;
    let (block, body) = message.split_at_checked(end)?;
    let mut headers = HeaderMap::new();
    for line in std::str::from_utf8(block).ok()?.split_terminator("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        let _ = headers.append(name, HeaderValue::from_str(value.trim()).ok()?);
    }
    Some(Headed { block, headers, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_fields_and_what_follows() {
        let message =
            b"X-RequestId:A1\r\nContent-Type:application/json; charset=utf-8\r\nPath: speech.phrase\r\n\r\n{\"a\":1}";
        let headed = read(message).expect("a block");
        assert_eq!((headed.headers["path"].as_bytes(), headed.body), (&b"speech.phrase"[..], &b"{\"a\":1}"[..]));
        assert_eq!([headed.block, headed.body].concat(), message);
        assert_eq!(read(b"Path:turn.end\r\n\r\n").expect("a block").body, b"");
        let long = [b"a:".as_slice(), &[b'x'; MOST], b"\r\n\r\n{}"].concat();
        for other in [
            &b"{\"a\":\"b\r\n\r\n\"}"[..],
            b"",
            b"\r\n",
            b"Path:x\r\n",
            b"no field\r\n\r\n{}",
            b"a\xff:b\r\n\r\n",
            &long,
        ] {
            assert!(read(other).is_none(), "{other:?}");
        }
    }
}
