//! nginx as an upstream.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use tempfile::TempDir;

use crate::certificates::Issued;
use crate::process::Process;
use crate::tools;

/// A running nginx.
pub struct Nginx {
    _process: Process,
    address: SocketAddr,
    _folder: TempDir,
}

impl Nginx {
    /// Starts nginx with these `server` directives and waits until it accepts. `%DIR%` is its own folder.
    pub fn start(folder: TempDir, server: &str) -> Self {
        Self::start_with(folder, "", server)
    }

    /// The same speaking HTTP/2 by prior knowledge, and nothing else.
    pub fn start_http2(folder: TempDir, server: &str) -> Self {
        Self::start_with(folder, "http2", server)
    }

    /// The same over TLS, with a certificate.
    pub fn start_tls(folder: TempDir, certificate: &Issued, server: &str) -> Self {
        let (certificate, key) = (certificate.certificate.display(), certificate.key.display());
        let tls = format!("ssl_certificate {certificate}; ssl_certificate_key {key};");
        Self::start_with(folder, "ssl", &format!("{tls} {server}"))
    }

    fn start_with(folder: TempDir, option: &str, server: &str) -> Self {
        let address = free_address();
        let here = folder.path().to_str().expect("temporary folders have plain names");
        let server = server.replace("%DIR%", here);
        let config = format!(
            "daemon off; master_process off; pid {here}/nginx.pid; error_log stderr notice;
             events {{ worker_connections 512; }}
             http {{
                 access_log off; client_body_temp_path {here}/body; proxy_temp_path {here}/proxy;
                 fastcgi_temp_path {here}/f; uwsgi_temp_path {here}/u; scgi_temp_path {here}/s;
                 server {{ listen {address} {option}; {server} }}
             }}"
        );
        let path = folder.path().join("nginx.conf");
        std::fs::write(&path, config).expect("a temporary file can be written");
        let mut command = tools::program("nginx");
        command.arg("-c").arg(&path).arg("-p").arg(folder.path()).args(["-e", "stderr"]);
        let process = Process::start("nginx", &mut command);
        // Its listening socket is bound before it says that it starts its event loop.
        process.line("its start", |line| line.contains("nginx/").then_some(()));
        wait_for(address);
        Nginx { _process: process, address, _folder: folder }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// An address that is free at the time. Only for programs that cannot be told to choose one themselves.
pub fn free_address() -> SocketAddr {
    let probe = TcpListener::bind("127.0.0.1:0").expect("127.0.0.1 can be bound");
    probe.local_addr().expect("a bound socket has an address")
}

/// Connects until somebody accepts.
pub fn wait_for(address: SocketAddr) {
    let deadline = std::time::Instant::now() + crate::PATIENCE;
    while std::net::TcpStream::connect(address).is_err() {
        assert!(std::time::Instant::now() < deadline, "nobody listens on {address}");
        std::thread::yield_now();
    }
}

/// Writes a file of `size` bytes that do not compress and returns its SHA-1 in hexadecimal.
pub fn write_noise(path: &Path, size: usize) -> String {
    use sha1::{Digest, Sha1};
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    std::fs::write(path, &bytes).expect("a temporary file can be written");
    hex(&Sha1::digest(&bytes))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
