//! What a person is told of tests.

use std::fmt::Write;
use std::time::Duration;

use super::Suite;

/// Sequences of ANSI for colours, or nothing.
#[derive(Clone, Copy, Debug)]
pub struct Colours(bool);

impl Colours {
    /// With colours, or without.
    pub fn new(colored: bool) -> Self {
        Colours(colored)
    }

    fn paint(self, code: u8, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn green(self, text: &str) -> String {
        self.paint(32, text)
    }

    fn red(self, text: &str) -> String {
        self.paint(31, text)
    }

    fn yellow(self, text: &str) -> String {
        self.paint(33, text)
    }
}

/// What is told once the tests of a plugin have run: a line each.
pub fn lines(suite: &Suite, colours: Colours) -> String {
    let mut out = String::new();
    for test in &suite.tests {
        let word = if test.result.is_ok() { colours.green("ok    ") } else { colours.red("FAILED") };
        let _ = writeln!(out, "{word}  {}: {}", suite.plugin, test.name);
    }
    for broken in &suite.broken {
        let _ = writeln!(out, "{}  {}: {}", colours.red("BROKEN"), suite.plugin, broken.path.display());
    }
    if suite.tests.is_empty() && suite.broken.is_empty() && suite.left_out == 0 {
        let _ = writeln!(out, "{}  {}: no tests", colours.yellow("none  "), suite.plugin);
    }
    out
}

/// What is told at the end: details of what failed, and the counts.
pub fn summary(suites: &[Suite], time: Duration, colours: Colours) -> String {
    let mut out = String::new();
    for suite in suites {
        for test in &suite.tests {
            if let Err(failure) = &test.result {
                let word = if failure.is_assertion { "failed" } else { "broke off" };
                let head = format!("{}: {} ({word})", suite.plugin, test.name);
                let _ = writeln!(out, "\n{}\n{}", colours.red(&head), failure.fault);
            }
        }
        for broken in &suite.broken {
            let head = format!("{}: cannot be loaded", suite.plugin);
            let _ = writeln!(out, "\n{}\n{}", colours.red(&head), broken.message);
        }
    }
    let tests = || suites.iter().flat_map(|suite| &suite.tests);
    let failed = tests().filter(|test| test.result.is_err()).count();
    let broken: usize = suites.iter().map(|suite| suite.broken.len()).sum();
    let left_out: usize = suites.iter().map(|suite| suite.left_out).sum();
    let without =
        suites.iter().filter(|s| s.tests.is_empty() && s.broken.is_empty() && s.left_out == 0).count();
    let mut parts = vec![format!("{} passed", tests().count() - failed), format!("{failed} failed")];
    let mut more = |count: usize, what: &str| {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    };
    more(broken, "cannot be loaded");
    more(left_out, "left out by the filter");
    more(without, if without == 1 { "plugin without tests" } else { "plugins without tests" });
    let counts = parts.join(", ");
    let good = failed == 0 && broken == 0;
    let counts = if good { colours.green(&counts) } else { colours.red(&counts) };
    let _ = writeln!(out, "\n{counts} in {:.2} s", time.as_secs_f64());
    out
}
