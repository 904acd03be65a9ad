//! One page on its way: pieces go in, and come out changed.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use lol_html::errors::AttributeNameError;
use lol_html::html_content::Element;
use lol_html::{
    AsciiCompatibleEncoding, ElementContentHandlers, HtmlRewriter, MemorySettings, OutputSink, Settings,
};
use weir_guest::prelude::*;

use crate::settings::{Plan, Rule};

/// A page, of which a token at most is held back.
pub struct Page {
    /// None after it has ended, or failed.
    rewriter: Option<HtmlRewriter<'static, Sink>>,
    /// What came out and was not taken yet.
    out: Rc<RefCell<Vec<u8>>>,
    /// Elements that each rule has changed.
    changed: Rc<Vec<Cell<u32>>>,
}

/// Where the rewriter puts what comes out.
struct Sink(Rc<RefCell<Vec<u8>>>);

impl OutputSink for Sink {
    fn handle_chunk(&mut self, chunk: &[u8]) {
        self.0.borrow_mut().extend_from_slice(chunk);
    }
}

impl Page {
    /// For these rules.
    pub fn new(plan: &Rc<Plan>) -> Page {
        let changed: Rc<Vec<Cell<u32>>> = Rc::new(plan.rules.iter().map(|_| Cell::new(0)).collect());
        let handlers = plan.rules.iter().enumerate().map(|(at, rule)| {
            let (plan, changed) = (Rc::clone(plan), Rc::clone(&changed));
            let handler = move |element: &mut Element<'_, '_>| {
                if let (Some(rule), Some(changed)) = (plan.rules.get(at), changed.get(at)) {
                    apply(rule, element)?;
                    changed.set(changed.get().saturating_add(1));
                }
                Ok(())
            };
            (Cow::Borrowed(&rule.selector), ElementContentHandlers::default().element(handler))
        });
        // Markup that can be read in two ways is no failure of the page.
        let settings = Settings::new()
            .with_encoding(AsciiCompatibleEncoding::utf_8())
            .with_memory_settings(MemorySettings::new().with_max_allowed_memory_usage(plan.memory))
            .with_strict(false);
        let settings = handlers.fold(settings, Settings::append_element_content_handler);
        let out = Rc::new(RefCell::new(Vec::new()));
        Page { rewriter: Some(HtmlRewriter::new(settings, Sink(Rc::clone(&out)))), out, changed }
    }

    /// What comes out for a piece. A failure is the end of the page.
    pub fn write(&mut self, data: &[u8]) -> Result<Vec<u8>> {
        if let Some(mut rewriter) = self.rewriter.take() {
            rewriter.write(data)?;
            self.rewriter = Some(rewriter);
        }
        Ok(self.out.take())
    }

    /// What comes out in the end.
    pub fn end(&mut self) -> Result<Vec<u8>> {
        if let Some(rewriter) = self.rewriter.take() {
            rewriter.end()?;
        }
        Ok(self.out.take())
    }

    /// How many elements each rule has changed.
    pub fn changed(&self) -> impl Iterator<Item = u32> {
        self.changed.iter().map(Cell::get)
    }
}

fn apply(rule: &Rule, element: &mut Element<'_, '_>) -> std::result::Result<(), AttributeNameError> {
    for name in &rule.unset {
        element.remove_attribute(name);
    }
    for (name, value) in &rule.set {
        element.set_attribute(name, value)?;
    }
    if let Some(content) = &rule.before {
        element.before(content, rule.kind);
    }
    if let Some(content) = &rule.inner {
        element.set_inner_content(content, rule.kind);
    }
    if let Some(content) = &rule.prepend {
        element.prepend(content, rule.kind);
    }
    if let Some(content) = &rule.append {
        element.append(content, rule.kind);
    }
    if let Some(content) = &rule.after {
        element.after(content, rule.kind);
    }
    if rule.remove {
        element.remove();
    }
    Ok(())
}
