//! Makes the command that explains a sample, to be pasted into a shell. Most of a sample was written by a provider, so nothing in
//! it may break out of its quotes.

use crate::config;
use crate::telemetry::journal::Sample;

/// `speechgate explain …` with the sample as its input.
pub(super) fn command(sample: &Sample) -> String {
    let mut command = format!("speechgate explain --provider {}", quoted(&sample.provider));
    if config::built_in(&sample.provider).is_none() {
        // The operator's own profile, in a file that only the operator can name.
        command.push_str(" --config gateway.toml");
    }
    if sample.transport != "http" {
        // An HTTP answer starts with the request that it belongs to.
        command.push_str(&format!(" --transport {} --path {}", sample.transport, quoted(&sample.path)));
    }
    let end = delimiter(&sample.text);
    format!("{command} - <<'{end}'\n{}\n{end}\n", sample.text.trim_end_matches('\n'))
}

/// Quotes a word for a shell; plain words are left as they are.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    let inside: String = text.chars().filter(|char| !char.is_control()).collect();
    format!("'{}'", inside.replace('\'', "'\\''"))
}

/// A here-document delimiter that does not occur as a line of the text.
fn delimiter(text: &str) -> String {
    let mut end = "SAMPLE".to_owned();
    while text.lines().any(|line| line == end) {
        end.push('_');
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::Code;
    use std::sync::Arc;
    use std::time::SystemTime;

    fn sample(provider: &str, transport: &'static str, path: &str, text: &str) -> Sample {
        Sample {
            route: Arc::from("tts"),
            provider: Arc::from(provider),
            upstream_code: String::new(),
            code: Code::UnknownError,
            first: SystemTime::UNIX_EPOCH,
            last: SystemTime::UNIX_EPOCH,
            count: 1,
            text: text.to_owned(),
            transport,
            path: path.to_owned(),
        }
    }

    #[test]
    fn a_sample_cannot_break_out_of_its_quotes() {
        for (provider, transport, path, text, expected) in [
            (
                "breeze",
                "http",
                "GET /x",
                "> GET /x\nHTTP/1.1 500 X\n\n{}",
                "speechgate explain --provider breeze - <<'SAMPLE'\n> GET /x\nHTTP/1.1 500 X\n\n{}\nSAMPLE\n",
            ),
            (
                "acme",
                "sse",
                "GET /it's",
                "data: x\n",
                "speechgate explain --provider acme --config gateway.toml --transport sse --path 'GET /it'\\''s' - <<'SAMPLE'\ndata: x\nSAMPLE\n",
            ),
            (
                "breeze",
                "http",
                "",
                "a\nSAMPLE\nrm -rf /\nSAMPLE_",
                "speechgate explain --provider breeze - <<'SAMPLE__'\na\nSAMPLE\nrm -rf /\nSAMPLE_\nSAMPLE__\n",
            ),
            (
                "$(id)",
                "http",
                "",
                "x",
                "speechgate explain --provider '$(id)' --config gateway.toml - <<'SAMPLE'\nx\nSAMPLE\n",
            ),
        ] {
            assert_eq!(command(&sample(provider, transport, path, text)), expected);
        }
    }
}
