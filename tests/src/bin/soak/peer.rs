//! Other proxies: the same work in their configurations, and how each is reloaded by its manual.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use serde_json::json;
use weir_tests::weir::root;

use crate::change::What;
use crate::options::Peer;
use crate::proxy::{Desired, Place, Told, signal};

/// How long a command that reloads may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a peer is started and told of changes.
#[derive(Debug)]
pub(crate) struct Ways {
    peer: Peer,
    program: PathBuf,
}

impl Ways {
    /// Finds its program, where none is named.
    pub(crate) fn new(peer: Peer, program: Option<&Path>) -> Result<Self> {
        let name = match peer {
            Peer::Nginx => "nginx",
            Peer::Haproxy => "haproxy",
            Peer::Caddy => "caddy",
        };
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let tools =
            std::env::var_os("BENCH_TOOLS").map_or_else(|| root().join("bench/.tools"), PathBuf::from);
        let found = std::env::split_paths(&paths)
            .chain(["/usr/sbin".into(), "/usr/local/sbin".into(), tools.join("venv/bin")])
            .map(|folder| folder.join(name))
            .find(|path| path.is_file());
        let program = match program {
            Some(path) => std::path::absolute(path)?,
            None => found.with_context(|| {
                format!("{name} is not installed: run `bench/bench.py setup --peers {name}`")
            })?,
        };
        Ok(Ways { peer, program })
    }

    /// The command line.
    pub(crate) fn command(&self, place: &Place) -> Command {
        let mut command = self.program(place);
        match self.peer {
            Peer::Nginx => {}
            Peer::Haproxy => {
                command.args(["-W", "-db", "-f", &place.file("haproxy.cfg")]);
            }
            Peer::Caddy => {
                command.args(["run", "--config", &place.file("caddy.json")]);
            }
        }
        command
    }

    fn program(&self, place: &Place) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&place.folder);
        match self.peer {
            Peer::Nginx => {
                command.args(["-p", &place.file(""), "-c", &place.file("nginx.conf"), "-e", "stderr"]);
            }
            Peer::Haproxy => {}
            // Nothing of the user's own is looked at.
            Peer::Caddy => {
                command.env("HOME", &place.folder).env("XDG_CONFIG_HOME", &place.folder);
            }
        }
        command
    }

    /// Reloads it.
    pub(crate) async fn take(&self, place: &Place, process: u32) -> Told {
        let mut command = self.program(place);
        match self.peer {
            Peer::Nginx => command.args(["-s", "reload"]),
            // As its unit for systemd does.
            Peer::Haproxy => command.args(["-c", "-q", "-f", &place.file("haproxy.cfg")]),
            // Certificates are read again only if this is forced.
            Peer::Caddy => {
                let admin = place.admin.to_string();
                command.args([
                    "reload",
                    "--force",
                    "--config",
                    &place.file("caddy.json"),
                    "--address",
                    &admin,
                ])
            }
        };
        let ran = tokio::task::spawn_blocking(move || command.output());
        let output = match tokio::time::timeout(PATIENCE, ran).await {
            Ok(Ok(Ok(output))) => output,
            Ok(Ok(Err(error))) => return Told::Silent(error.to_string()),
            _ => return Told::Silent(format!("reloading took over {PATIENCE:?}")),
        };
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Told::Refused(text.lines().last().unwrap_or_default().to_owned());
        }
        match self.peer {
            Peer::Haproxy => match signal(process, Signal::USR2) {
                Ok(()) => Told::Published,
                Err(error) => Told::Silent(error.to_string()),
            },
            Peer::Nginx | Peer::Caddy => Told::Published,
        }
    }

    /// Its files.
    pub(crate) fn texts(&self, place: &Place, desired: &Desired) -> Vec<(&'static str, String)> {
        match self.peer {
            Peer::Nginx => nginx(place, desired),
            Peer::Haproxy => haproxy(place, desired),
            Peer::Caddy => vec![("caddy.json", caddy(place, desired))],
        }
    }
}

/// nginx. A file that is included stands for a script.
fn nginx(place: &Place, desired: &Desired) -> Vec<(&'static str, String)> {
    let Place { web, tls, upstreams: [one, two], .. } = place;
    let file = |name| place.file(name);
    let broken = if desired.broken == Some(What::Config) { "no_such_directive 1;" } else { "" };
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let config = format!(
        "{user} worker_processes auto; pid {pid}; daemon off;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {body}; proxy_temp_path {temp};
  fastcgi_temp_path {temp}-f; uwsgi_temp_path {temp}-u; scgi_temp_path {temp}-s;
  tcp_nodelay on; keepalive_timeout 600s; keepalive_requests 1000000000;
  proxy_http_version 1.1; proxy_max_temp_file_size 0; proxy_read_timeout 600s;
  map $http_upgrade $upgrade_connection {{ default upgrade; '' ''; }}
  upstream app {{ server {one}; server {two}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 600s; }}
  server {{
    listen {web} backlog=4096;
    listen {tls} ssl http2 backlog=4096;
    ssl_certificate {cert}; ssl_certificate_key {key};
    location / {{
      add_header x-config \"{value}\";
      include {script};
      proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $upgrade_connection;
      proxy_pass http://app;
    }}
  }}
}}
{broken}
",
        pid = file("nginx.pid"),
        body = file("body"),
        temp = file("temp"),
        cert = file("certs/cert.pem"),
        key = file("certs/key.pem"),
        value = desired.config,
        script = file("script.conf"),
    );
    let end = if desired.broken == Some(What::Script) { "" } else { ";" };
    vec![
        ("nginx.conf", config),
        ("script.conf", format!("add_header x-script \"{}\"{end}\n", desired.script)),
    ]
}

fn haproxy(place: &Place, desired: &Desired) -> Vec<(&'static str, String)> {
    let Place { web, tls, upstreams: [one, two], .. } = place;
    let broken = if desired.broken == Some(What::Config) { "no-such-keyword" } else { "" };
    let config = format!(
        "global
    maxconn 8192
    stats socket {socket} mode 600 level admin expose-fd listeners
    lua-load-per-thread {script}

defaults
    mode http
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    timeout tunnel 600s
    timeout http-keep-alive 600s

frontend f
    bind {web} backlog 4096
    bind {tls} backlog 4096 ssl crt {pem} alpn h2,http/1.1
    http-response set-header x-config {value}
    http-response lua.soak
    default_backend app
    {broken}

backend app
    server one {one}
    server two {two}
",
        socket = place.file("admin.sock"),
        script = place.file("script.lua"),
        pem = place.file("certs/site.pem"),
        value = desired.config,
    );
    let end = if desired.broken == Some(What::Script) { " end" } else { "" };
    let script = format!(
        "core.register_action(\"soak\", {{ \"http-res\" }}, function(txn)
  txn.http:res_set_header(\"x-script\", \"{}\")
end){end}
",
        desired.script
    );
    vec![("haproxy.cfg", config), ("script.lua", script)]
}

/// Caddy. A handler stands for a script.
fn caddy(place: &Place, desired: &Desired) -> String {
    let set =
        |name: &str, value: &str| json!({ "handler": "headers", "response": { "set": { name: [value] } } });
    let mut script = set("x-script", &desired.script);
    if desired.broken == Some(What::Script) {
        script["handler"] = "no-such-handler".into();
    }
    let dials: Vec<_> = place.upstreams.iter().map(|at| json!({ "dial": at.to_string() })).collect();
    let routes = json!([{ "handle": [
        set("x-config", &desired.config),
        script,
        { "handler": "reverse_proxy", "upstreams": dials, "transport": { "protocol": "http", "compression": false } },
    ] }]);
    let server = |listen: &std::net::SocketAddr, protocols: &[&str]| {
        json!({
            "listen": [listen.to_string()],
            "protocols": protocols,
            "idle_timeout": "600s",
            "automatic_https": { "disable": true },
            "routes": routes,
        })
    };
    let mut tls = server(&place.tls, &["h1", "h2"]);
    tls["tls_connection_policies"] = json!([{}]);
    let config = json!({
        "admin": { "listen": place.admin.to_string(), "config": { "persist": false } },
        "logging": { "logs": { "default": { "level": "ERROR" } } },
        "storage": { "module": "file_system", "root": place.file("storage") },
        "apps": {
            "tls": { "certificates": { "load_files": [
                { "certificate": place.file("certs/cert.pem"), "key": place.file("certs/key.pem") }
            ] } },
            "http": { "servers": { "plain": server(&place.web, &["h1"]), "tls": tls } },
        },
    });
    let mut text = format!("{config:#}");
    if desired.broken == Some(What::Config) {
        text.truncate(text.len() - 2);
    }
    text
}
