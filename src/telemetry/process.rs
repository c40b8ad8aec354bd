//! What the system knows of this process, from `/proc`; nothing where there is none.

use std::fs;

/// Name, type, help and value of each figure.
pub(super) fn read() -> Vec<(&'static str, &'static str, &'static str, f64)> {
    let mut figures = Vec::new();
    if let Some(seconds) = cpu_seconds() {
        figures.push(("process_cpu_seconds_total", "counter", "User and system time, in seconds.", seconds));
    }
    if let Some(bytes) = status_kib("VmRSS:") {
        figures.push(("process_resident_memory_bytes", "gauge", "Resident memory.", bytes * 1024.0));
    }
    if let Some(bytes) = status_kib("VmSize:") {
        figures.push(("process_virtual_memory_bytes", "gauge", "Virtual memory.", bytes * 1024.0));
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        figures.push(("process_open_fds", "gauge", "Open file descriptors.", open.count() as f64));
    }
    if let Some(most) = max_fds() {
        figures.push(("process_max_fds", "gauge", "Most file descriptors that may be open.", most));
    }
    figures
}

/// Linux counts process times in hundredths of a second on every platform it reports them to (proc(5), USER_HZ).
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may have spaces.
    let behind = stat.rsplit_once(')')?.1;
    let mut fields = behind.split_whitespace().skip(11);
    let ticks: f64 = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    Some(ticks / 100.0)
}

fn status_kib(name: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

fn max_fds() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
