//! Secrets: from references to what is there now.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use bytes::Bytes;
use weir_plugin::Secrets;

use super::Lower;
use crate::config::document::At;
use crate::config::inputs::Kind;

/// The largest secret, in bytes.
const LARGEST: usize = 64 << 10;

impl Lower<'_> {
    /// The secrets of a plugin; `None` if one of them cannot be had.
    pub fn secrets(&mut self, raw: &BTreeMap<String, String>, at: &At) -> Option<Secrets> {
        let mut secrets = BTreeMap::new();
        for (name, reference) in raw {
            let at = at.key(name);
            match self.secret(reference, &at) {
                Ok(content) => drop(secrets.insert(name.clone(), content)),
                Err(Problem { what, help }) => drop(self.error(&at, what, "").help(help)),
            }
        }
        (secrets.len() == raw.len()).then(|| Secrets::new(secrets))
    }

    /// A secret of weir's own; `None` if it cannot be had.
    pub fn one_secret(&mut self, reference: &str, at: &At) -> Option<Bytes> {
        match self.secret(reference, at) {
            Ok(content) => Some(content),
            Err(Problem { what, help }) => {
                self.error(at, what, "").help(help);
                None
            }
        }
    }

    fn secret(&mut self, reference: &str, at: &At) -> Result<Bytes, Problem> {
        let (what, mut content) = match reference.split_once(':') {
            Some(("env", name)) => {
                let content = std::env::var_os(name).ok_or_else(|| Problem {
                    what: format!("the environment variable {name} is not set"),
                    help: "weir reads it when it starts; a reload sees what was set then",
                })?;
                (format!("the environment variable {name}"), content.into_vec())
            }
            Some(("file", path)) => {
                let path = self.path(path, at);
                let content = read(&path);
                self.report.inputs.file(&path, Kind::Secret, content.as_deref().ok());
                let content = content.map_err(|error| Problem {
                    what: format!("cannot read {}: {error}", path.display()),
                    help: "relative paths are relative to the file that names them",
                })?;
                (path.display().to_string(), content)
            }
            // What stands there may be a secret: it is not said again.
            _ => {
                return Err(Problem {
                    what: "this is no reference to a secret".to_owned(),
                    help: "name an environment variable, \"env:NAME\", or a file, \"file:PATH\"; a secret is not written \
                           into the configuration",
                });
            }
        };
        // Editors and `echo` end files with a line break.
        if content.ends_with(b"\n") {
            content.pop();
            if content.ends_with(b"\r") {
                content.pop();
            }
        }
        match content.len() {
            0 => Err(Problem { what: format!("{what} is empty"), help: "a secret has at least one byte" }),
            n if n > LARGEST => {
                Err(Problem { what: format!("{what} is too large"), help: "a secret has at most 64 KiB" })
            }
            _ => Ok(content.into()),
        }
    }
}

/// Why there is no secret.
struct Problem {
    what: String,
    help: &'static str,
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    // With room for a line break, and one byte to tell that there is more.
    File::open(path)?.take(LARGEST as u64 + 3).read_to_end(&mut content)?;
    Ok(content)
}
