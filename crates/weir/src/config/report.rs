//! What is wrong with a configuration, shown so that a person can act on it.

use std::cmp::Ordering;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::document::{File, Place};
use super::inputs::Inputs;

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    title: String,
    warning: bool,
    primary: Option<(Place, String)>,
    context: Vec<(Place, String)>,
    help: Vec<String>,
}

impl Diagnostic {
    /// An error with this title: lower case, no full stop.
    pub fn new(title: impl Into<String>) -> Self {
        Diagnostic {
            title: title.into(),
            warning: false,
            primary: None,
            context: Vec::new(),
            help: Vec::new(),
        }
    }

    /// Makes it a warning: shown, but the configuration is taken.
    pub fn warning(mut self) -> Self {
        self.warning = true;
        self
    }

    /// Where it is, and a word on what is there.
    pub fn place(mut self, place: Place, label: impl Into<String>) -> Self {
        self.primary = Some((place, label.into()));
        self
    }

    /// Another place that has to do with it.
    pub fn context(mut self, place: Place, label: impl Into<String>) -> Self {
        self.context.push((place, label.into()));
        self
    }

    /// What would be right.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    fn order(&self) -> (usize, usize) {
        self.primary.as_ref().map_or((0, 0), |(p, _)| (p.file, p.span.start))
    }
}

/// Everything that is wrong with a configuration, and the files it is in.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The files that were read and can be shown.
    pub files: Vec<File>,
    /// Everything that was read, or was to be.
    pub inputs: Inputs,
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|d| !d.warning).count()
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.diagnostics.iter().filter(|d| d.warning).count()
    }

    /// All of them as text in the order of files and lines, with a count at the end; empty if there are none.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.term_width(110);
        let sorted = self.sorted();
        let mut out = String::new();
        for diagnostic in &sorted {
            out.push_str(&self.render_one(&renderer, diagnostic));
            out.push_str("\n\n");
        }
        if !sorted.is_empty() {
            out.push_str(&self.summary());
            out.push('\n');
        }
        out
    }

    /// Each of them in one line, as compilers do it: `FILE:LINE:COLUMN: what is wrong; what would be right`. For logs.
    pub fn lines(&self) -> Vec<String> {
        let line = |diagnostic: &&Diagnostic| {
            let mut out = String::new();
            if let Some((place, _)) = &diagnostic.primary
                && let Some(file) = self.files.get(place.file)
            {
                let before = file.text.get(..place.span.start).unwrap_or_default();
                let line = before.matches('\n').count() + 1;
                let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                out = format!("{}:{line}:{column}: ", file.name);
            }
            out.push_str(&diagnostic.title);
            for help in &diagnostic.help {
                out.push_str("; ");
                out.push_str(help);
            }
            out
        };
        self.sorted().iter().map(line).collect()
    }

    /// In the order of files and lines.
    fn sorted(&self) -> Vec<&Diagnostic> {
        let mut sorted: Vec<&Diagnostic> = self.diagnostics.iter().collect();
        sorted.sort_by(|a, b| match a.order().cmp(&b.order()) {
            Ordering::Equal => a.warning.cmp(&b.warning),
            other => other,
        });
        sorted
    }

    fn render_one(&self, renderer: &Renderer, diagnostic: &Diagnostic) -> String {
        let level = if diagnostic.warning { Level::WARNING } else { Level::ERROR };
        let title = level.primary_title(diagnostic.title.as_str());
        let mut by_file: Vec<(usize, Vec<annotate_snippets::Annotation<'_>>)> = Vec::new();
        let primary = diagnostic.primary.iter().map(|p| (AnnotationKind::Primary, p));
        let context = diagnostic.context.iter().map(|c| (AnnotationKind::Context, c));
        for (kind, (place, label)) in primary.chain(context) {
            let Some(file) = self.files.get(place.file) else { continue };
            let mut annotation = kind.span(first_line(&file.text, place));
            if !label.is_empty() {
                annotation = annotation.label(label.as_str());
            }
            match by_file.iter_mut().find(|(f, _)| *f == place.file) {
                Some((_, list)) => list.push(annotation),
                None => by_file.push((place.file, vec![annotation])),
            }
        }
        let snippets = by_file.into_iter().filter_map(|(file, annotations)| {
            let file = self.files.get(file)?;
            Some(Snippet::source(file.text.as_str()).path(file.name.as_str()).annotations(annotations))
        });
        let help = diagnostic.help.iter().map(|h| Level::HELP.message(h.as_str()));
        let report = [title.elements(snippets).elements(help)];
        renderer.render(&report)
    }

    fn summary(&self) -> String {
        let count = |n: usize, what: &str| match n {
            1 => format!("1 {what}"),
            n => format!("{n} {what}s"),
        };
        match (self.errors(), self.warnings()) {
            (e, 0) => count(e, "error"),
            (0, w) => count(w, "warning"),
            (e, w) => format!("{}, {}", count(e, "error"), count(w, "warning")),
        }
    }
}

/// The part of a place that is on its first line: a whole table would fill the screen.
fn first_line(text: &str, place: &Place) -> std::ops::Range<usize> {
    let start = place.span.start.min(text.len());
    let end = place.span.end.clamp(start, text.len());
    let line = text.get(start..end).and_then(|s| s.find('\n')).map_or(end, |n| start + n);
    start..line
}

/// `, did you mean ...?` where one of the candidates is near.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|c| (strsim::jaro_winkler(word, c), c))
        .filter(|(score, c)| *score > 0.84 || (*score > 0.7 && strsim::damerau_levenshtein(word, c) <= 2))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, c)| c)
}
