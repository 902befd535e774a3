//! A small HTTP/1.1 client over TLS, blocking: the tests say byte for byte what is sent.

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConnection, RootCertStore, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// An answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// Trusts one authority.
pub fn client_config(authority_pem: &str) -> Arc<rustls::ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority_pem.as_bytes()).unwrap())
        .unwrap();
    let config =
        rustls::ClientConfig::builder_with_provider(cozystack_webhook::server::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    Arc::new(config)
}

/// One connection, kept alive.
pub struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    pub fn open(
        address: SocketAddr,
        config: &Arc<rustls::ClientConfig>,
    ) -> std::io::Result<Connection> {
        let tcp = TcpStream::connect(address)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(Duration::from_secs(60)))?;
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::clone(config), name).map_err(std::io::Error::other)?;
        Ok(Connection {
            stream: StreamOwned::new(tls, tcp),
            buffer: Vec::new(),
        })
    }

    /// The certificate that the server presented.
    pub fn peer_certificate(&mut self) -> Vec<u8> {
        while self.stream.conn.is_handshaking() {
            self.stream.conn.complete_io(&mut self.stream.sock).unwrap();
        }
        self.stream.conn.peer_certificates().unwrap()[0].to_vec()
    }

    /// The protocol that was agreed on.
    pub fn protocol(&mut self) -> Option<Vec<u8>> {
        self.peer_certificate();
        self.stream.conn.alpn_protocol().map(ToOwned::to_owned)
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    pub fn post(&mut self, path: &str, body: &[u8]) -> std::io::Result<Response> {
        self.request("POST", path, "application/json", body)
    }

    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> std::io::Result<Response> {
        self.send(&written(method, path, kind, body))?;
        self.receive()
    }

    /// From now on nothing waits: for [`Connection::ask`] and [`Connection::poll`].
    pub fn unblocked(mut self) -> std::io::Result<Connection> {
        self.peer_certificate();
        self.stream.sock.set_nonblocking(true)?;
        Ok(self)
    }

    /// Sends a request.
    pub fn ask(&mut self, path: &str, body: &[u8]) -> std::io::Result<()> {
        let request = written("POST", path, "application/json", body);
        let mut rest = &request[..];
        while !rest.is_empty() || self.stream.conn.wants_write() {
            // It takes as much as it has room for.
            rest = &rest[self.stream.conn.writer().write(rest)?..];
            match self.stream.conn.write_tls(&mut self.stream.sock) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// The answer, if it is there.
    pub fn poll(&mut self) -> std::io::Result<Option<Response>> {
        match self.receive() {
            Ok(response) => Ok(Some(response)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn receive(&mut self) -> std::io::Result<Response> {
        let end = loop {
            if let Some(end) = self
                .buffer
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                break end;
            }
            self.fill()?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|code| code.parse().ok());
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
            .collect();
        let mut response = Response {
            status: status.unwrap(),
            headers,
            body: Vec::new(),
        };
        let length: usize = response
            .header("content-length")
            .map_or(0, |value| value.parse().unwrap());
        let body = end + 4;
        while self.buffer.len() < body + length {
            self.fill()?;
        }
        response.body = self.buffer.drain(..body + length).skip(body).collect();
        Ok(response)
    }

    fn fill(&mut self) -> std::io::Result<()> {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            count => {
                self.buffer.extend_from_slice(&chunk[..count]);
                Ok(())
            }
        }
    }
}

fn written(method: &str, path: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A request without TLS, answered and closed.
pub fn plain(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    let body = if head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        unchunk(body)
    } else {
        body.into()
    };
    Ok((status, body))
}

fn unchunk(mut text: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = text.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 || size > rest.len() {
            break;
        }
        whole.push_str(&rest[..size]);
        text = rest[size..].trim_start_matches("\r\n");
    }
    whole
}
