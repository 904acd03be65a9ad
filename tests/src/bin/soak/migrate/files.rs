//! weir's files: a route whose WebSockets go over, and the script that they go over to.

use clap::ValueEnum;

use crate::proxy::{Desired, Place};
use crate::weir::begin_of_config;

/// How it is made to fail, so that it can be seen that it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Spoil {
    /// WebSockets stay with the script that they were opened with
    Pin,
    /// A script does not take over its counter
    Forget,
    /// A script drops a message now and then
    Drop,
}

/// Counts what goes each way of each relay, and says so in each message, with the number of the script itself.
const SCRIPT: &str = r#"
return {
  on_message = function(message, ws, ctx)
    local count = (ctx[message.direction] or 0) + 1
    ctx[message.direction] = count
    -- drop
    return `{message.data} {count} STAMP`
  end,

  on_migrate = function(old, ws, ctx)
    for direction, count in old do ctx[direction] = count end -- take over
  end,
}
"#;

/// Every file but those of certificates: name and content.
pub(crate) fn texts(
    place: &Place,
    desired: &Desired,
    watch: bool,
    spoil: Option<Spoil>,
) -> Vec<(&'static str, String)> {
    vec![("weir.toml", config(place, watch, spoil)), ("plugins/soak.lua", script(&desired.script, spoil))]
}

fn script(stamp: &str, spoil: Option<Spoil>) -> String {
    let script = SCRIPT.replace("STAMP", stamp);
    match spoil {
        Some(Spoil::Forget) => {
            script.lines().filter(|line| !line.ends_with("-- take over")).collect::<Vec<_>>().join("\n")
        }
        Some(Spoil::Drop) => script.replace("-- drop", "if count % 10 == 0 then return weir.drop() end"),
        Some(Spoil::Pin) | None => script,
    }
}

fn config(place: &Place, watch: bool, spoil: Option<Spoil>) -> String {
    let Place { upstreams: [upstream, _], .. } = place;
    let on_reload = if spoil == Some(Spoil::Pin) { "pin" } else { "migrate" };
    let begin = begin_of_config(place, watch, "");
    format!(
        r#"{begin}[[routes]]
name = "all"
upstream = "app"
plugins = ["soak"]
on_reload = "{on_reload}"

[upstreams.app]
endpoints = ["{upstream}"]
"#
    )
}
