//! The program's own log, on standard error.
//!
//! * `error`: something does not work and needs an operator.
//! * `warn`: something is wrong, but the program continues: a rejected reload, few descriptors left, a code that no profile
//!   knows.
//! * `info`: changes of the program's state: listening, reloaded, draining, stopped.
//! * `debug`: single connections and requests that failed; `trace`: everything.

use super::sink::Sink;
use crate::config::types::{LogFormat, LogLevel, Telemetry};
use std::io::{self, Write};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Sends the log to `sink`. Only the first call in a process has an effect.
pub fn start(telemetry: &Telemetry, sink: Sink) {
    let level = match telemetry.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let builder = tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(Lines(sink));
    // A second gateway in one process, as in tests, logs where the first one does.
    let _ = match telemetry.log_format {
        LogFormat::Json => tracing::subscriber::set_global_default(builder.json().flatten_event(true).finish()),
        LogFormat::Text => tracing::subscriber::set_global_default(builder.finish()),
    };
}

/// Logs panics with their location, but without the message, which may contain user data.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        tracing::error!(place, thread, "panic");
    }));
}

/// Writes each of the subscriber's events as one line.
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
        // There is nowhere to report a dropped line.
        let _ = self.0.line(escape(&String::from_utf8_lossy(event)).as_bytes());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One event as one line. Control characters are escaped: they could forge another line or control a terminal.
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
