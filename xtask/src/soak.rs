//! `cargo xtask soak`: a release build of weir, or a peer, under load while its configuration, scripts and certificates
//! change. The soak is a program of the crate `tests`, and knows its own options.

use std::process::Command;

use anyhow::Result;

use crate::process::{cargo, run, target};

/// Builds what is needed and runs the soak with these arguments, in the folder that the user is in.
pub(crate) fn soak(arguments: &[String]) -> Result<()> {
    run(cargo().args(["build", "--quiet", "--locked", "--package", "weir-tests", "--bin", "soak"]))?;
    let mut soak = Command::new(target().join("debug/soak"));
    if needs_weir(arguments) {
        run(cargo().args(["build", "--release", "--locked", "--package", "weir"]))?;
        soak.arg("--weir").arg(target().join("release/weir"));
    }
    run(soak.args(arguments))
}

/// Whether weir is to be soaked, and none was named.
fn needs_weir(arguments: &[String]) -> bool {
    let others = ["--weir", "--peer", "--help", "-h"];
    !arguments.iter().any(|argument| others.contains(&argument.split('=').next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weir_is_built_only_where_it_is_soaked() {
        for (arguments, needed) in [
            ("", true),
            ("--reloads 1000 --json peer.json", true),
            ("--weir target/debug/weir", false),
            ("--weir=x --reloads 2", false),
            ("--reloads 2 --peer nginx", false),
            ("--peer=caddy", false),
            ("--help", false),
        ] {
            let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
            assert_eq!(needs_weir(&arguments), needed, "{arguments:?}");
        }
    }
}
