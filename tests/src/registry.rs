//! An OCI registry: Distribution's, as Debian has it.

use std::fmt::Write as _;
use std::net::SocketAddr;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::nginx::{free_address, wait_for};
use crate::process::{self, Process};
use crate::{tools, weir};

/// Who may use a registry that asks: `me`, with this password.
pub const PASSWORD: &str = "U*U";
const HASH: &str = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

/// A running registry.
pub struct Registry {
    process: Process,
    address: SocketAddr,
    asks: bool,
    folder: TempDir,
}

impl Registry {
    /// Starts one, which may ask for a user and a password.
    pub fn start(asks: bool) -> Self {
        let (folder, address) = (weir::folder(), free_address());
        let here = folder.path().display();
        let mut config = format!(
            "version: 0.1\nlog: {{ level: error }}\nhttp: {{ addr: \"{address}\" }}\n\
             storage: {{ filesystem: {{ rootdirectory: \"{here}/data\" }} }}\n"
        );
        if asks {
            std::fs::write(folder.path().join("users"), format!("me:{HASH}\n")).expect("a file");
            let _ = writeln!(config, "auth: {{ htpasswd: {{ realm: here, path: \"{here}/users\" }} }}");
        }
        let path = folder.path().join("config.yml");
        std::fs::write(&path, config).expect("a file");
        let mut command = tools::program("docker-registry");
        let process = Process::start("docker-registry", command.arg("serve").arg(path));
        wait_for(address);
        Registry { process, address, asks, folder }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it: nobody answers there any more.
    pub fn stop(&mut self) {
        self.process.kill();
    }

    /// Pushes an artifact with one layer of this kind. The digest of its manifest, in hexadecimal.
    pub fn push(&self, repository: &str, tag: &str, kind: &str, layer: &[u8]) -> String {
        let (config, layer) = (self.blob(repository, b"{}"), self.blob(repository, layer));
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.wasm.config.v0+json",
            "config": { "mediaType": "application/vnd.wasm.config.v0+json", "digest": config.0, "size": config.1 },
            "layers": [{ "mediaType": kind, "digest": layer.0, "size": layer.1 }],
        });
        let manifest = manifest.to_string();
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.address);
        self.curl(
            &["--request", "PUT", "--header", &format!("content-type: {MANIFEST}")],
            &url,
            manifest.as_bytes(),
        );
        hex(manifest.as_bytes())
    }

    /// Pushes a blob. Its digest and its size.
    fn blob(&self, repository: &str, bytes: &[u8]) -> (String, usize) {
        let begin = format!("http://{}/v2/{repository}/blobs/uploads/", self.address);
        let told =
            self.curl(&["--request", "POST", "--dump-header", "-", "--output", "/dev/null"], &begin, b"");
        let place =
            told.lines().find_map(|line| line.strip_prefix("Location: ")).expect("where to upload to");
        let digest = format!("sha256:{}", hex(bytes));
        let url = format!("{}&digest={digest}", place.trim());
        self.curl(&["--request", "PUT", "--header", "content-type: application/octet-stream"], &url, bytes);
        (digest, bytes.len())
    }

    fn curl(&self, arguments: &[&str], url: &str, body: &[u8]) -> String {
        let path = self.folder.path().join("body");
        std::fs::write(&path, body).expect("a file");
        let mut command = tools::program("curl");
        command.args(["--silent", "--show-error", "--fail", "--noproxy", "*"]).args(arguments);
        command.arg("--data-binary").arg(format!("@{}", path.display()));
        if self.asks {
            command.args(["--user", &format!("me:{PASSWORD}")]);
        }
        let output = process::run("curl", command.arg(url), b"");
        assert_eq!(output.code, Some(0), "{url}: {}", output.stderr);
        output.stdout
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
