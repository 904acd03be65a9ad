//! openapi-validate: templates of paths, and paths that they match.
#![no_main]
#![allow(dead_code, reason = "a plugin uses more of its modules")]

#[path = "../../plugins/openapi-validate/src/template.rs"]
mod template;
#[path = "../../plugins/openapi-validate/src/text.rs"]
mod text;

use template::Template;

libfuzzer_sys::fuzz_target!(|data: &str| {
    let (wanted, path) = data.split_once('\n').unwrap_or((data, data));
    text::media_type(path);
    let Ok(template) = Template::new(wanted) else { return };
    assert_eq!(template.rank().len(), wanted.matches('/').count());
    if let Some(captures) = template.captures(path) {
        let names: Vec<&str> = captures.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, template.names(), "each placeholder stands for something, in order");
        assert!(captures.iter().all(|(_, value)| !value.is_empty() && path.contains(value)));
    }
});
