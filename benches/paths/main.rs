//! What the steps of a request cost, each by itself: no socket, no runtime, one thread.
//!
//! ```text
//! cargo bench --bench paths                  a few seconds, to see that it works
//! cargo bench --bench paths -- --full        what RESULTS.md shows
//! cargo bench --bench paths -- --full frame  only the steps whose name has that word
//! ```
//!
//! Each figure is the best of some runs, because whatever else the machine does only adds to it.

mod failures;
mod records;
mod streams;

use std::hint::black_box;
use std::time::{Duration, Instant};

const KIB: usize = 1024;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runs = if arguments.iter().any(|argument| argument == "--full") { 200 } else { 5 };
    let only = arguments.into_iter().find(|argument| !argument.starts_with("--"));
    let table = Table { runs, only };
    println!("| step | bytes | ns | ns per KiB |\n|---|---|---|---|");
    failures::show(&table);
    streams::show(&table);
    records::show(&table);
}

/// Where the figures go.
struct Table {
    runs: u32,
    /// A word that the names of the wanted steps have.
    only: Option<String>,
}

impl Table {
    /// A step whose cost has nothing to do with a length.
    fn step<T>(&self, name: &str, act: impl FnMut() -> T) {
        self.row(name, None, act);
    }

    /// A step that goes over so many bytes.
    fn over<T>(&self, name: &str, bytes: usize, act: impl FnMut() -> T) {
        self.row(name, Some(bytes), act);
    }

    fn row<T>(&self, name: &str, bytes: Option<usize>, act: impl FnMut() -> T) {
        if self.only.as_ref().is_some_and(|word| !name.contains(word.as_str())) {
            return;
        }
        let time = self.best(act);
        match bytes {
            None => println!("| {name} | | {time:.0} | |"),
            // What is short costs by its parts, not by its bytes.
            Some(bytes @ ..KIB) => println!("| {name} | {bytes} | {time:.0} | |"),
            Some(bytes) => println!("| {name} | {bytes} | {time:.0} | {:.1} |", time * KIB as f64 / bytes as f64),
        }
    }

    /// Nanoseconds of one call, in the best run.
    fn best<T>(&self, mut act: impl FnMut() -> T) -> f64 {
        let mut run = |calls: u32| {
            let start = Instant::now();
            (0..calls).for_each(|_| drop(black_box(act())));
            start.elapsed()
        };
        // As many calls as take about a millisecond: the clock does not show then, and much else that runs does not either.
        let once = run(100) / 100;
        let calls = (Duration::from_millis(1).as_nanos() / once.as_nanos().max(1)).clamp(10, 1_000_000) as u32;
        let best = (0..self.runs).map(|_| run(calls)).min().expect("there are runs");
        best.as_nanos() as f64 / f64::from(calls)
    }
}
