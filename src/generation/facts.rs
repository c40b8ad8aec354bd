//! What a request or a client's message says of its generation beside the text: format and model.

use crate::canon::Json;
use crate::canon::generations::{Fact, Format, FormatPlaces, GenerationRule};
use http::HeaderMap;

/// The longest name of a model.
const MODEL: usize = 64;

/// What is known so far. Later words win.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    output: Words,
    input: Words,
    model: Option<Box<str>>,
}

/// What has been said of a format.
#[derive(Clone, Debug, Default)]
struct Words {
    name: Option<String>,
    rate: Option<u32>,
    bit_rate: Option<u32>,
    channels: Option<u16>,
    /// What that comes to, where anything has been said.
    format: Option<Format>,
}

/// A request, or the handshake of a socket.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its method.
    pub method: &'a str,
    /// The path that the provider sees.
    pub path: &'a str,
    /// Its query.
    pub query: Option<&'a str>,
}

impl Facts {
    /// What the head of a request says.
    #[must_use]
    pub fn of(rule: &GenerationRule, asked: Asked<'_>) -> Facts {
        let mut facts = Facts::default();
        if rule.reads_targets() {
            facts.learn(rule, &|fact| match fact {
                Fact::Path(name) => rule.path_parameter(asked.method, asked.path, name).map(str::to_owned),
                Fact::Query(_) | Fact::Header(_) | Fact::Member(_) => fact.in_query(asked.query),
            });
        }
        facts
    }

    /// What the body of a request or a message of the client's says.
    pub fn read_body(&mut self, rule: &GenerationRule, body: &Json<'_>) {
        self.learn(rule, &|fact| fact.in_body(body).map(|text| text.into_owned()));
    }

    /// What header fields say.
    pub fn read_headers(&mut self, rule: &GenerationRule, headers: &HeaderMap) {
        if rule.reads_headers() {
            self.learn(rule, &|fact| fact.in_headers(headers).map(str::to_owned));
        }
    }

    /// The format of the provider's audio.
    #[must_use]
    pub fn output(&self, rule: &GenerationRule) -> Format {
        self.output.format(&rule.format)
    }

    /// The format of the client's audio.
    #[must_use]
    pub fn input(&self, rule: &GenerationRule) -> Format {
        let format = self.input.format(&rule.input_format);
        if self.input.name.is_some() { format.declared() } else { format }
    }

    /// The model, where its name is one: what people write into it by mistake goes into no log.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    fn learn(&mut self, rule: &GenerationRule, find: &dyn Fn(&Fact) -> Option<String>) {
        self.output.learn(&rule.format, find);
        self.input.learn(&rule.input_format, find);
        if let Some(found) = rule.model.iter().find_map(find).filter(|name| is_name(name)) {
            self.model = Some(found.into());
        }
    }
}

impl Words {
    fn learn(&mut self, places: &FormatPlaces, find: &dyn Fn(&Fact) -> Option<String>) {
        let found = |facts: &[Fact]| facts.iter().find_map(find);
        let name = found(&places.name);
        let rate = found(&places.rate).and_then(|text| text.parse().ok());
        let bit_rate = found(&places.bit_rate).and_then(|text| text.parse().ok());
        let channels = found(&places.channels).and_then(|text| text.parse().ok());
        if name.is_none() && rate.is_none() && bit_rate.is_none() && channels.is_none() {
            return;
        }
        self.name = name.or_else(|| self.name.take());
        (self.rate, self.bit_rate) = (rate.or(self.rate), bit_rate.or(self.bit_rate));
        self.channels = channels.or(self.channels);
        let name = self.name.as_deref().or(places.default.as_deref()).unwrap_or_default();
        let rate = self.rate.or(places.default_rate);
        self.format = Some(Format::named(name, rate, self.bit_rate, self.channels));
    }

    fn format(&self, places: &FormatPlaces) -> Format {
        self.format.unwrap_or(places.usual)
    }
}

/// Whether a text may be the name of a model: one short word.
fn is_name(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/' | b'@');
    text.len() <= MODEL && !text.is_empty() && text.bytes().all(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::{Profile, ProfileSpec, read_json};

    #[test]
    fn facts_come_from_path_query_headers_and_body() {
        let text = "[[generations]]\npath = 'POST /v1/{voice}/{model}'\nmodel = ['$.model', 'path:model']\n\
            format = { name = ['query:output_format', '$.format.encoding', 'h:content-type'], rate = '$.format.rate', default = 'mp3_44100_128' }\n";
        let spec: ProfileSpec = toml::from_str(text).expect("a profile");
        let profile = Profile::compile("x", spec).expect("a right profile");
        let rule = profile.generations("POST", "/v1/v/sonic-3").expect("generations");
        let asked = |query| Asked { method: "POST", path: "/v1/v/sonic-3", query };
        let rate = |facts: &Facts| facts.output(rule).bytes_per_second();
        let mut facts = Facts::of(rule, asked(None));
        assert_eq!((facts.model(), rate(&facts)), (Some("sonic-3"), Some(16_000.0)));
        let body = read_json(br#"{"model":"please say this aloud","format":{"encoding":"pcm_s16le","rate":8000}}"#);
        facts.read_body(rule, &body.expect("JSON"));
        assert_eq!((facts.model(), rate(&facts)), (Some("sonic-3"), Some(16_000.0)));
        let facts = Facts::of(rule, asked(Some("a=b&output_format=pcm%5F24000")));
        assert_eq!(rate(&facts), Some(48_000.0));
        let mut facts = Facts::of(rule, asked(None));
        facts.read_headers(
            rule,
            &[(http::header::CONTENT_TYPE, "audio/pcm;rate=16000".parse().expect("a value"))].into_iter().collect(),
        );
        assert_eq!(rate(&facts), Some(32_000.0));
    }
}
