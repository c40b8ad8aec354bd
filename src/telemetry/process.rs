//! What the kernel says about this process, under the names that Prometheus' client libraries use.

use super::exposition::{Exposition, Kind};
use std::fs;

/// Ticks of `/proc/self/stat` in a second: fixed in the kernel's interface to user space.
const TICKS_PER_SECOND: f64 = 100.0;

/// Writes what the kernel reports, and leaves out the rest; without `/proc` it writes nothing.
pub(super) fn write(out: &mut Exposition<'_>, started: f64) {
    let _ = out
        .family("process_start_time_seconds", Kind::Gauge, "When the process started, in seconds since 1970.")
        .sample(&[], started);
    if let Some(seconds) = cpu_seconds() {
        let _ = out
            .family("process_cpu_seconds_total", Kind::Counter, "CPU time spent, user and system.")
            .sample(&[], seconds);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(bytes) = kibibytes(&status, "VmRSS:") {
        let _ = out.family("process_resident_memory_bytes", Kind::Gauge, "Memory in use.").sample(&[], bytes);
    }
    if let Some(bytes) = kibibytes(&status, "VmSize:") {
        let _ = out.family("process_virtual_memory_bytes", Kind::Gauge, "Address space in use.").sample(&[], bytes);
    }
    if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
        // The directory itself is open while it is being read.
        let open = descriptors.count().saturating_sub(1);
        let _ = out.family("process_open_fds", Kind::Gauge, "File descriptors in use.").sample(&[], open);
    }
    if let Some(most) = max_descriptors() {
        let _ = out.family("process_max_fds", Kind::Gauge, "File descriptors that may be in use.").sample(&[], most);
    }
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the command in parentheses, which may contain anything; utime and stime are fields 14 and 15.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

fn kibibytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

fn max_descriptors() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::exposition::{Format, Text};

    #[test]
    #[cfg(target_os = "linux")]
    fn values_of_this_process_are_read_from_proc() {
        let mut text = String::new();
        write(&mut Exposition::new(&mut Text::new(&mut text, Format::Prometheus)), 1.5);
        for name in ["start_time_seconds", "cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds"] {
            let line = text.lines().find(|line| line.starts_with(&format!("process_{name} "))).expect(name);
            let value: f64 = line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect(line);
            assert!(value >= 0.0 && (value > 0.0 || name.starts_with("cpu")), "{line}");
        }
    }
}
