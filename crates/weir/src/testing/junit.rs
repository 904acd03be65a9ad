//! What continuous integration is told: JUnit's XML, in the form that GitLab, Jenkins and others read.

use std::fmt::Write;
use std::time::Duration;

use super::{Suite, Test};

/// The report as XML.
pub fn report(suites: &[Suite]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let total = |count: fn(&Suite) -> usize| suites.iter().map(count).sum::<usize>();
    let time: Duration = suites.iter().map(time).sum();
    let (tests, failures, errors) = (total(tests), total(failures), total(errors));
    let time = time.as_secs_f64();
    let _ = writeln!(
        out,
        "<testsuites name=\"weir test\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{time:.6}\">"
    );
    for suite in suites {
        write_suite(&mut out, suite);
    }
    out.push_str("</testsuites>\n");
    out
}

fn tests(suite: &Suite) -> usize {
    suite.tests.len() + suite.broken.len()
}

fn failures(suite: &Suite) -> usize {
    let failed = |test: &&Test| test.result.as_ref().is_err_and(|failure| failure.is_assertion);
    suite.tests.iter().filter(failed).count()
}

fn errors(suite: &Suite) -> usize {
    suite.tests.iter().filter(|test| test.result.is_err()).count() - failures(suite) + suite.broken.len()
}

fn time(suite: &Suite) -> Duration {
    suite.tests.iter().map(|test| test.time).sum()
}

fn write_suite(out: &mut String, suite: &Suite) {
    let name = escaped(&suite.plugin);
    let (tests, failures, errors) = (tests(suite), failures(suite), errors(suite));
    let time = time(suite).as_secs_f64();
    let _ = writeln!(
        out,
        "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{time:.6}\">"
    );
    for test in &suite.tests {
        let (test_name, file) = (escaped(&test.name), escaped(&test.file.display().to_string()));
        let time = test.time.as_secs_f64();
        let _ = write!(
            out,
            "    <testcase name=\"{test_name}\" classname=\"{name}\" file=\"{file}\" time=\"{time:.6}\""
        );
        match &test.result {
            Ok(()) => out.push_str("/>\n"),
            Err(failure) => {
                let kind = if failure.is_assertion { "failure" } else { "error" };
                write_problem(out, kind, &failure.fault.to_string());
            }
        }
    }
    for broken in &suite.broken {
        let path = escaped(&broken.path.display().to_string());
        let _ = write!(out, "    <testcase name=\"{path}\" classname=\"{name}\" time=\"0\"");
        write_problem(out, "error", &broken.message);
    }
    out.push_str("  </testsuite>\n");
}

/// Ends the tag of a test with what is wrong with it.
fn write_problem(out: &mut String, kind: &str, text: &str) {
    let first = escaped(text.lines().next().unwrap_or_default());
    let _ = writeln!(out, ">\n      <{kind} message=\"{first}\">{}</{kind}>\n    </testcase>", escaped(text));
}

/// A text as XML may have it, in attributes and between tags. Characters that XML cannot have at all (section 2.2)
/// become U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            '\r' => out.push_str("&#13;"),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
