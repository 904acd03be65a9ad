//! Pebble, the test authority of Let's Encrypt: ACME as it is, with names that all lead to 127.0.0.1.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::nginx::{free_address, wait_for};
use crate::process::{self, Process};
use crate::{Authority, tools, weir};

/// A running authority.
pub struct Pebble {
    _names: Process,
    process: Process,
    address: SocketAddr,
    management: SocketAddr,
    folder: TempDir,
}

impl Pebble {
    /// Starts one that sends its challenges to these ports of 127.0.0.1.
    pub fn start(http: u16, tls: u16) -> Self {
        let folder = weir::folder();
        let [dns, told, address, management] = std::array::from_fn(|_| free_address());
        let mut names = tools::program("pebble-challtestsrv");
        names.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dns01"]).arg(dns.to_string());
        names.arg("-management").arg(told.to_string());
        names.args(["-http01", "", "-https01", "", "-tlsalpn01", ""]);
        let names = Process::start("pebble-challtestsrv", &mut names);
        wait_for(dns);
        let authority = Authority::new(folder.path(), "server-ca");
        let server = authority.issue("server", &["127.0.0.1"]);
        let config = serde_json::json!({ "pebble": {
            "listenAddress": address.to_string(), "managementListenAddress": management.to_string(),
            "certificate": server.certificate, "privateKey": server.key,
            "httpPort": http, "tlsPort": tls, "ocspResponderURL": "", "externalAccountBindingRequired": false,
        }});
        let path = folder.path().join("pebble.json");
        fs::write(&path, config.to_string()).expect("a temporary file can be written");
        let mut command = tools::program("pebble");
        command.arg("-config").arg(path).arg("-dnsserver").arg(dns.to_string());
        // It waits before it looks at challenges, and refuses good nonces, both at random.
        command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0");
        let process = Process::start("pebble", &mut command);
        wait_for(address);
        wait_for(management);
        Pebble { _names: names, process, address, management, folder }
    }

    /// The URL of its directory.
    pub fn directory(&self) -> String {
        format!("https://{}/dir", self.address)
    }

    /// Who signed the certificate of its own server, PEM.
    pub fn server_ca(&self) -> PathBuf {
        self.folder.path().join("server-ca.pem")
    }

    /// The root of the certificates that it signs, written to a file.
    pub fn root(&self) -> PathBuf {
        let url = format!("https://{}/roots/0", self.management);
        let mut command = tools::program("curl");
        command.args(["--silent", "--fail", "--cacert"]).arg(self.server_ca()).arg(url);
        let output = process::run("curl", &mut command, b"");
        assert_eq!(output.code, Some(0), "{}", output.stderr);
        let path: &Path = self.folder.path();
        let path = path.join("root.pem");
        fs::write(&path, output.stdout).expect("a temporary file can be written");
        path
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
