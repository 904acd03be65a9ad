//! Autobahn's cases in all the ways in which weir carries a WebSocket, as a table: `cargo xtask autobahn`.

use std::process::ExitCode;

use clap::Parser;
use weir_tests::autobahn::{self, ALL, WAYS, Way};

/// Run Autobahn's cases direct and through weir, and print a table of what came of them
#[derive(Parser)]
#[command(name = "cargo xtask autobahn", bin_name = "cargo xtask autobahn")]
struct Options {
    /// Cases such as "9.*"; all, where none is named, which takes hours
    cases: Vec<String>,
    /// The quick cases, which the usual tests run
    #[arg(long, conflicts_with = "cases")]
    quick: bool,
    /// Only this way, and the one it is compared with; may be given again
    #[arg(long, value_name = "NAME", value_parser = WAYS.map(|way| way.name))]
    way: Vec<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let named: Vec<&str> = options.cases.iter().map(String::as_str).collect();
    let cases = match named.as_slice() {
        _ if options.quick => &autobahn::QUICK[..],
        [] => &ALL[..],
        named => named,
    };
    let ways = ways(&options.way);
    let outcomes = autobahn::run(cases, &ways, if options.quick { 4 } else { 2 });
    println!("{}", autobahn::table(&ways, &outcomes));
    let bad = autobahn::worse(&ways, &outcomes);
    for line in &bad {
        println!("{line}");
    }
    if bad.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Those of these names and what they are compared with, in their order; all, where none is named.
fn ways(names: &[String]) -> Vec<Way> {
    let chosen: Vec<Way> = WAYS
        .into_iter()
        .filter(|way| names.is_empty() || names.iter().any(|name| name == way.name))
        .collect();
    let is_needed = |name: &str| chosen.iter().any(|way| way.name == name || way.beside == Some(name));
    WAYS.into_iter().filter(|way| is_needed(way.name)).collect()
}
