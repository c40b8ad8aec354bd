//! The check functions that the tables share.

use super::wire::show;
use super::world::{World, get};
use super::{Answer, Framing};
use serde_json::Value;
use speechgate::canon::{Code, Origin};

/// What a row came to.
pub(crate) type Outcome = Result<(), String>;

/// Runs every row, and fails with all that went wrong rather than the first.
pub(crate) fn rows<T>(table: impl IntoIterator<Item = T>, name: impl Fn(&T) -> String, check: impl Fn(&T) -> Outcome) {
    let mut wrong = Vec::new();
    let mut count = 0;
    for row in table {
        count += 1;
        if let Err(why) = check(&row) {
            wrong.push(format!("{}: {why}", name(&row)));
        }
    }
    assert!(count > 0, "an empty table");
    assert!(wrong.is_empty(), "{} of {count} rows fail\n{}", wrong.len(), wrong.join("\n"));
}

/// `Err` with a message unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}
pub(crate) use ensure;

/// The error object of a canonical envelope, after everything that the contract promises has been checked.
pub(crate) fn envelope(answer: &Answer, code: &str) -> Value {
    canonical(answer, code)
        .unwrap_or_else(|why| panic!("{why}\n{}\n{:?}\n{}", answer.line, answer.fields, answer.text()))
}

/// As [`envelope`], with an error instead of a panic.
pub(crate) fn canonical(answer: &Answer, code: &str) -> Result<Value, String> {
    let body = whole_json(answer, "application/json")?;
    let error = body.get("error").ok_or("no member `error`")?;
    members(error)?;
    ensure!(error["code"] == code, "code {} instead of {code}", error["code"]);
    ensure!(error["status"] == answer.status, "status {} in the body, {} on the line", error["status"], answer.status);
    headers(answer, error)?;
    Ok(error.clone())
}

/// The body as JSON, when it is complete and of this content type.
pub(crate) fn whole_json(answer: &Answer, content_type: &str) -> Result<Value, String> {
    ensure!(answer.cut.is_none(), "cut: {:?}", answer.cut);
    ensure!(answer.framing != Framing::UntilClose, "an error that ends with the connection");
    let found = answer.fields.get("content-type").unwrap_or_default();
    ensure!(found == content_type, "content-type {found:?}");
    serde_json::from_slice(&answer.body).map_err(|error| format!("not JSON: {error}: {}", answer.text()))
}

/// Every always-field of an error object, each with a value that the contract allows.
pub(crate) fn members(error: &Value) -> Outcome {
    let name = error["code"].as_str().ok_or("no code")?;
    let code = Code::from_name(name).ok_or_else(|| format!("an unknown code {name}"))?;
    ensure!(error["type"] == code.kind().as_str(), "type {} for {name}", error["type"]);
    ensure!(error["status"] == code.status(), "status {} for {name}", error["status"]);
    let message = error["message"].as_str().ok_or("no message")?;
    ensure!(!message.trim().is_empty(), "an empty message");
    ensure!(error["retryable"].is_boolean(), "retryable {}", error["retryable"]);
    let origin = error["origin"].as_str().ok_or("no origin")?;
    ensure!(Origin::ALL.iter().any(|known| known.as_str() == origin), "origin {origin}");
    ensure!(error["request_id"].as_str().is_some_and(|id| !id.is_empty()), "request_id {}", error["request_id"]);
    let time = error["timestamp"].as_str().ok_or("no timestamp")?;
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    ensure!(shape == "0000-00-00T00:00:00.000Z", "timestamp {time}");
    let allowed = "type code status message retryable retry_after_seconds origin provider route request_id timestamp param doc_url details upstream";
    let strange =
        error.as_object().ok_or("no object")?.keys().find(|key| !allowed.split(' ').any(|known| known == *key));
    ensure!(strange.is_none(), "an unknown member {strange:?}");
    Ok(())
}

/// The headers that stand on every error, in agreement with its object.
pub(crate) fn headers(answer: &Answer, error: &Value) -> Outcome {
    let same = |name: &str, wanted: &Value| -> Outcome {
        let found = answer.fields.get(name).unwrap_or_default();
        let wanted = wanted.as_str().map_or_else(|| wanted.to_string(), str::to_owned);
        ensure!(found == wanted, "{name}: {found:?} instead of {wanted:?}");
        Ok(())
    };
    same("x-request-id", &error["request_id"])?;
    same("x-error-code", &error["code"])?;
    same("x-error-type", &error["type"])?;
    same("x-should-retry", &error["retryable"])?;
    let wait = error["retry_after_seconds"].as_f64().map(|seconds| format!("{}", seconds.ceil()));
    ensure!(
        answer.fields.get("retry-after") == wait,
        "retry-after {:?}, not {wait:?}",
        answer.fields.get("retry-after")
    );
    let status = answer.fields.get("proxy-status").unwrap_or_default();
    ensure!(status.starts_with("speechgate;") || status.starts_with("speechgate ;"), "proxy-status {status:?}");
    ensure!(answer.fields.has("date"), "no date");
    for gone in ["content-encoding", "etag", "last-modified", "content-range", "transfer-encoding"] {
        ensure!(!answer.fields.has(gone), "{gone} on an error");
    }
    Ok(())
}

/// A refusal of a message whose framing is in doubt: a 4xx or 501 or 505, then the end of the connection and nothing else.
///
/// Where the gateway could read the head, it says why in the envelope. What hyper's parser refuses has an empty
/// body: the parser gives up before any of our code is asked.
pub(crate) fn refused(answer: &Answer) -> Outcome {
    let status = answer.status;
    ensure!(matches!(status, 400..=431 | 501 | 505), "answered {}", answer.line);
    ensure!(answer.cut.is_none(), "cut: {:?}", answer.cut);
    if answer.body.is_empty() {
        return Ok(());
    }
    let error = whole_json(answer, "application/json")?;
    members(&error["error"])?;
    headers(answer, &error["error"])
}

/// For refusals that may come before anything of ours runs: an empty body, or an envelope with this code.
pub(crate) fn canonical_if_any(answer: &Answer, code: &str) {
    if !answer.body.is_empty() {
        let _ = envelope(answer, code);
    }
}

/// What should become of a request given as bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Want {
    /// Forwarded with this request line and body, answered, and the connection goes on.
    Pass(&'static str, &'static str),
    /// Forwarded with this request line and body, answered, and the connection ends.
    PassAndClose(&'static str, &'static str),
    /// Refused before anything was forwarded, and the connection ends.
    Refuse,
    /// Refused in the envelope with this code before anything was forwarded.
    Worded(&'static str),
    /// The head was good, the body is not: never forwarded whole, answered `malformed_body`, and the connection ends.
    BadBody,
    /// Either `Refuse` or `PassAndClose`: where RFC 9112 leaves the choice.
    RefuseOr(&'static str, &'static str),
}

/// Bytes that a client sends, and what should become of them.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// What it is about.
    pub(crate) name: String,
    /// What is sent, at once.
    pub(crate) bytes: Vec<u8>,
    /// The expectation.
    pub(crate) want: Want,
}

/// A row.
pub(crate) fn row(name: impl Into<String>, bytes: impl AsRef<[u8]>, want: Want) -> Row {
    Row { name: name.into(), bytes: bytes.as_ref().to_vec(), want }
}

/// Sends every row on a connection of its own and judges what the client got, what the provider saw, and whether
/// the gateway is none the worse for it.
pub(crate) fn judge(world: &World, table: impl IntoIterator<Item = Row>) {
    rows(table, |row| row.name.clone(), |row| judge_row(world, row));
    world.sound().expect("all is well afterwards");
    world.clean();
}

fn judge_row(world: &World, row: &Row) -> Outcome {
    let _ = world.provider.take();
    let mut client = world.client();
    let _ = client.send(&row.bytes);
    let answer = client.try_answer("GET").map_err(|end| format!("no answer: {end:?}"))?;
    match row.want {
        Want::Pass(line, body) => {
            passed(world, &answer, line, body)?;
            let again = client.send(get("/p/again")).try_answer("GET").map_err(|end| format!("again: {end:?}"))?;
            passed(world, &again, "GET /again HTTP/1.1", "").map_err(|why| format!("again: {why}"))
        }
        Want::PassAndClose(line, body) => {
            passed(world, &answer, line, body)?;
            client.closed()
        }
        Want::Refuse => {
            refused(&answer)?;
            client.closed()?;
            untouched(world)
        }
        Want::RefuseOr(line, body) if answer.status == 200 => {
            passed(world, &answer, line, body)?;
            client.closed()
        }
        Want::RefuseOr(..) => {
            refused(&answer)?;
            client.closed()?;
            untouched(world)
        }
        Want::Worded(code) => {
            let _ = canonical(&answer, code)?;
            untouched(world)
        }
        Want::BadBody => {
            let _ = canonical(&answer, "malformed_body")?;
            client.closed()?;
            untouched(world)
        }
    }
}

fn passed(world: &World, answer: &Answer, line: &str, body: &str) -> Outcome {
    ensure!(answer.status == 200 && answer.body == b"ok", "answered {} {}", answer.line, answer.text());
    ensure!(answer.cut.is_none(), "cut: {:?}", answer.cut);
    let seen = world.provider.take();
    let lines: Vec<&str> = seen.iter().map(|seen| seen.line.as_str()).collect();
    ensure!(lines == [line], "the provider saw {lines:?}");
    ensure!(seen[0].body == body.as_bytes(), "the provider got the body {}", show(&seen[0].body));
    Ok(())
}

fn untouched(world: &World) -> Outcome {
    let lines: Vec<String> = world.provider.take().into_iter().map(|seen| seen.line).collect();
    ensure!(lines.is_empty(), "the provider saw {lines:?}");
    Ok(())
}
