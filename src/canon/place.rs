//! Places in an observation: where a selector or a condition looks.

use super::evidence::Evidence;
use super::json::Json;
use super::outline::Outline;
use super::path::Path;
use http::HeaderName;
use serde_json::Value;
use std::borrow::Cow;

/// A place in an observation.
#[derive(Debug)]
pub(crate) enum Place {
    Json(Path),
    Header(HeaderName),
    WwwAuthenticate(Box<str>),
    HttpStatus,
    WsCode,
    WsReason,
    SseEvent,
    GrpcStatus,
    GrpcMessage,
    Text,
    TextTitle,
    /// An HTML page as it stands.
    TextPage,
    /// The text of the first element of this name in an XML body.
    Xml(Box<str>),
}

/// What a selector found.
#[derive(Debug)]
pub(crate) enum Found<'e> {
    Json(&'e Json<'e>),
    Text(Cow<'e, str>),
}

impl<'e> Found<'e> {
    /// As text, when it is a scalar that is not empty.
    pub(crate) fn into_text(self) -> Option<Cow<'e, str>> {
        let text = match self {
            Found::Json(value) => value.scalar()?,
            Found::Text(Cow::Borrowed(text)) => Cow::Borrowed(text.trim()),
            Found::Text(Cow::Owned(text)) => Cow::Owned(text.trim().to_owned()),
        };
        (!text.is_empty()).then_some(text)
    }

    /// As JSON, unless it is null or empty.
    pub(crate) fn into_json(self) -> Option<Value> {
        match self {
            Found::Json(Json::Null) => None,
            Found::Json(value) => Some(value.to_value()),
            Found::Text(text) => Some(Value::String(text.trim().to_owned())).filter(|text| text != ""),
        }
    }

    /// Whether it is neither null nor empty.
    pub(crate) fn is_something(&self) -> bool {
        match self {
            Found::Json(value) => !matches!(value, Json::Null),
            Found::Text(text) => !text.trim().is_empty(),
        }
    }
}

impl Place {
    pub(crate) fn parse(text: &str) -> Result<Place, String> {
        Ok(match text {
            "http.status" => Place::HttpStatus,
            "ws.code" => Place::WsCode,
            "ws.reason" => Place::WsReason,
            "sse.event" => Place::SseEvent,
            "grpc.status" => Place::GrpcStatus,
            "grpc.message" => Place::GrpcMessage,
            "text" => Place::Text,
            "text.title" => Place::TextTitle,
            "text.page" => Place::TextPage,
            _ if text.starts_with('$') => Place::Json(Path::parse(text)?),
            _ => match text.split_once(':') {
                Some(("h", name)) => Place::Header(
                    HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes())
                        .map_err(|_| format!("`{name}` is not a header name"))?,
                ),
                Some(("xml", name)) if !name.is_empty() => Place::Xml(name.into()),
                Some(("www-authenticate", parameter)) if !parameter.is_empty() => {
                    Place::WwwAuthenticate(parameter.to_ascii_lowercase().into())
                }
                _ => {
                    return Err(format!(
                        "`{text}` is not a selector; expected `$.path`, `h:name`, `www-authenticate:parameter`, \
                         `xml:element`, `http.status`, `ws.code`, `ws.reason`, `sse.event`, `grpc.status`, `grpc.message`, `text`, `text.title` or `text.page`"
                    ));
                }
            },
        })
    }

    pub(crate) fn find<'e>(&self, evidence: &'e Evidence<'_>) -> Option<Found<'e>> {
        match self {
            Place::Json(path) => path.walk_errors(evidence.tree()?).map(Found::Json),
            Place::Header(name) => {
                let value = evidence.headers.get(name)?;
                Some(Found::Text(String::from_utf8_lossy(value.as_bytes())))
            }
            Place::WwwAuthenticate(parameter) => evidence
                .headers
                .get_all(http::header::WWW_AUTHENTICATE)
                .iter()
                .find_map(|value| auth_parameter(&String::from_utf8_lossy(value.as_bytes()), parameter))
                .map(|value| Found::Text(Cow::Owned(value))),
            Place::HttpStatus => number(evidence.status?),
            Place::WsCode => number(evidence.ws_code?),
            Place::WsReason => evidence.ws_reason.map(|reason| Found::Text(Cow::Borrowed(reason))),
            Place::SseEvent => evidence.sse_event.map(|event| Found::Text(Cow::Borrowed(event))),
            Place::GrpcStatus => number(evidence.grpc?.number()),
            Place::GrpcMessage => evidence.grpc.map(|status| Found::Text(Cow::Borrowed(status.message()))),
            Place::Text => evidence.text().map(|text| Found::Text(Cow::Borrowed(text))),
            Place::TextTitle => evidence.page_title().map(|title| Found::Text(Cow::Borrowed(title))),
            Place::TextPage => evidence.page().map(|page| Found::Text(Cow::Borrowed(page))),
            Place::Xml(name) => evidence.element(name).map(Found::Text),
        }
    }

    pub(crate) fn needs(&self) -> Outline {
        match self {
            Place::Json(path) => path.needs(),
            Place::Header(name) => Outline::field(name.as_str()),
            Place::WwwAuthenticate(_) => Outline::field(http::header::WWW_AUTHENTICATE.as_str()),
            Place::HttpStatus
            | Place::WsCode
            | Place::WsReason
            | Place::SseEvent
            | Place::GrpcStatus
            | Place::GrpcMessage
            | Place::Text
            | Place::TextTitle
            | Place::TextPage
            | Place::Xml(_) => Outline::always(),
        }
    }

    /// The JSON member whose name must occur in the bytes for this place to have a value.
    pub(crate) fn json_key(&self) -> Option<&str> {
        let Place::Json(path) = self else { return None };
        path.last_key()
    }
}

fn number<'e>(value: u16) -> Option<Found<'e>> {
    Some(Found::Text(Cow::Owned(value.to_string())))
}

/// One parameter of a challenge: `Bearer realm="x", error="invalid_token"` (RFC 9110 11.6.1, RFC 6750 3).
fn auth_parameter(challenge: &str, parameter: &str) -> Option<String> {
    let mut rest = challenge;
    loop {
        let equals = rest.find('=')?;
        let (before, after) = (rest.get(..equals)?, rest.get(equals + 1..)?);
        let name = before.trim_end().rsplit([' ', ',', '\t']).next()?;
        let after = after.trim_start();
        let (value, remaining) = match after.strip_prefix('"') {
            Some(quoted) => quoted_string(quoted),
            None => {
                let end = after.find([',', ' ']).unwrap_or(after.len());
                (after.get(..end)?.to_owned(), after.get(end..)?)
            }
        };
        if name.eq_ignore_ascii_case(parameter) {
            return Some(value);
        }
        rest = remaining;
    }
}

fn quoted_string(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, text.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(char),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_give_their_parameters() {
        let challenge = r#"Bearer realm="acme, inc", error="invalid_token", error_description="The \"token\" expired""#;
        for (parameter, expected) in [
            ("realm", Some("acme, inc")),
            ("error", Some("invalid_token")),
            ("error_description", Some("The \"token\" expired")),
            ("scope", None),
        ] {
            assert_eq!(auth_parameter(challenge, parameter).as_deref(), expected, "{parameter}");
        }
        assert_eq!(auth_parameter("Bearer error=invalid_token, a=b", "error").as_deref(), Some("invalid_token"));
        assert_eq!(auth_parameter("Basic", "realm"), None);
        assert_eq!(auth_parameter("Bearer realm=\"open", "realm").as_deref(), Some("open"));
    }
}
