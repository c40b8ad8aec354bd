//! What the program says about itself, on standard error.
//!
//! * `error`: something does not work, and somebody has to do something.
//! * `warn`: something is wrong though the program copes: a reload refused, descriptors running out, a code that no profile knows.
//! * `info`: what a change of state looks like from outside: listening, reloaded, draining, ended.
//! * `debug`: single connections and requests that went wrong; `trace`: more than one wants to know.

use super::sink::Sink;
use crate::config::types::{LogFormat, LogLevel, Telemetry};
use std::io::{self, Write};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Sends what is logged from now on to `sink`. Only the first call in a process has an effect.
pub fn start(telemetry: &Telemetry, sink: Sink) {
    let level = match telemetry.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let builder = tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(Lines(sink));
    // A second gateway in one process, as in tests, logs to where the first one does.
    let _ = match telemetry.log_format {
        LogFormat::Json => tracing::subscriber::set_global_default(builder.json().flatten_event(true).finish()),
        LogFormat::Text => tracing::subscriber::set_global_default(builder.finish()),
    };
}

/// Has a panic logged with its place, and without its message, which may hold anything.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        tracing::error!(place, thread, "panic");
    }));
}

/// Makes lines of what the subscriber writes.
struct Lines(Sink);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

/// One event. The subscriber writes each with one call.
struct Line<'a>(&'a Sink);

impl Write for Line<'_> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        // There is nowhere to tell that a line was dropped.
        let _ = self.0.line(escape(&String::from_utf8_lossy(event)).as_bytes());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One event as one line: control characters inside it could forge another, or speak to a terminal.
fn escape(event: &str) -> String {
    let mut line = String::with_capacity(event.len() + 1);
    for character in event.trim_end_matches('\n').chars() {
        if character.is_control() && character != '\t' {
            line.extend(character.escape_unicode());
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        for (event, line) in [
            ("plain\n", "plain\n"),
            ("without end", "without end\n"),
            ("forged\nline\r\n", "forged\\u{a}line\\u{d}\n"),
            ("\u{1b}[2Jhello\u{9b}", "\\u{1b}[2Jhello\\u{9b}\n"),
        ] {
            assert_eq!(escape(event), line);
        }
    }
}
