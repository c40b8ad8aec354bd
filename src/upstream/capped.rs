//! Reading as much of a body as is needed to understand a failure, and no more.

use super::decode::{Decoded, decode};
use crate::wire::Joined;
use bytes::Bytes;
use http::HeaderValue;
use http_body::Body;
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time::timeout;

/// Where reading stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes, counted before and after decoding.
    pub bytes: usize,
    /// All of the time it may take, even if bytes keep dribbling in.
    pub time: Duration,
}

impl Default for Limits {
    /// 64 KiB and 10 s.
    fn default() -> Limits {
        Limits { bytes: 64 * 1024, time: Duration::from_secs(10) }
    }
}

/// The beginning of a body, usually all of it, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capped {
    /// What was read.
    pub bytes: Bytes,
    /// There was more than the limit; the rest is gone, and with it the connection.
    pub truncated: bool,
    /// The body broke off, took too long, or its coded data was damaged.
    pub incomplete: bool,
    /// The content coding is unknown or the data is not of it: `bytes` is the body as it came.
    pub undecodable: bool,
}

/// Reads a body within limits and undoes its content codings. Never fails: what could be had is there, and the flags
/// say what is missing. Takes the body, so that what is left of it is cancelled.
pub async fn read_capped<B>(body: B, encoding: Option<&HeaderValue>, limits: Limits) -> Capped
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut read = Joined::default();
    // What was gathered outlives a timeout.
    let whole = timeout(limits.time, gather(&mut read, body, limits.bytes)).await;
    let cut = !matches!(whole, Ok(true));
    let too_long = read.len() > limits.bytes;
    let mut raw = read.into_bytes();
    raw.truncate(limits.bytes);
    let Decoded { bytes, truncated, incomplete, undecodable } = decode(raw, encoding, limits.bytes);
    // Data that was cut here at the limit is not the provider's damage.
    let incomplete = !too_long && (incomplete || cut);
    Capped { bytes, truncated: truncated || too_long, incomplete, undecodable }
}

/// Reads on until the end or just past `most`. False when the body broke off. One frame, the usual case for a failure, is kept
/// as it is.
async fn gather<B: Body<Data = Bytes> + Unpin>(read: &mut Joined, mut body: B, most: usize) -> bool {
    while read.len() <= most && !body.is_end_stream() {
        match body.frame().await {
            None => break,
            Some(Err(_)) => return false,
            Some(Ok(frame)) => {
                if let Ok(mut data) = frame.into_data() {
                    // One byte past the limit says that there was more.
                    data.truncate(most + 1 - read.len());
                    read.push(data);
                }
            }
        }
    }
    true
}
