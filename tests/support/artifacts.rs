//! What Flux's storage would serve, on loopback: the archives of artifacts, honestly or not.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A client that sends nothing holds up nobody for longer.
const READ_TIME: Duration = Duration::from_secs(10);
/// Longer than any client waits.
const STALL_TIME: Duration = Duration::from_mins(2);

/// `status.artifact` of a source.
#[derive(Debug, Clone)]
pub struct Artifact {
    pub path: String,
    pub url: String,
    pub digest: String,
    pub size: usize,
}

impl Artifact {
    /// The status of a source that is ready, revision `latest@sha256:...` as Cozystack's have it.
    pub fn status(&self) -> Value {
        const TIME: &str = "2026-01-01T00:00:00Z";
        json!({
            "artifact": {
                "digest": self.digest,
                "lastUpdateTime": TIME,
                "path": self.path,
                "revision": format!("latest@{}", self.digest),
                "size": self.size,
                "url": self.url,
            },
            "conditions": [{
                "type": "Ready",
                "status": "True",
                "reason": "Succeeded",
                "message": "stored artifact",
                "lastTransitionTime": TIME,
            }],
        })
    }
}

/// How a path is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// With these bytes.
    Bytes(Arc<[u8]>),
    /// With the same in chunks, without a length.
    Chunks(Arc<[u8]>),
    /// With another address.
    Redirect(String),
    /// With the head of an answer, and then nothing.
    Stall,
}

struct Served {
    answer: Answer,
    heads: Vec<String>,
}

/// Serves archives by path on loopback until it is dropped.
pub struct Artifacts {
    pub address: SocketAddr,
    served: Arc<Mutex<BTreeMap<String, Served>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Artifacts {
    pub fn start() -> Artifacts {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::new(Mutex::new(BTreeMap::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (all, stop) = (Arc::clone(&served), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let (all, stop) = (Arc::clone(&all), Arc::clone(&stop));
                // A client that goes away in the middle is its own affair.
                std::thread::spawn(move || answer(stream, &all, &stop).ok());
            }
        });
        Artifacts {
            address,
            served,
            is_over,
            thread: Some(thread),
        }
    }

    /// Serves these bytes under this path from now on, whatever was there before.
    pub fn put(&self, path: &str, content: &[u8]) -> Artifact {
        self.answer(path, Answer::Bytes(content.into()));
        self.artifact(path, content)
    }

    /// Answers this path like that from now on.
    pub fn answer(&self, path: &str, answer: Answer) {
        let mut served = self.served.lock().unwrap();
        let heads = served.remove(path).map_or(Vec::new(), |old| old.heads);
        served.insert(path.to_owned(), Served { answer, heads });
    }

    /// What an honest source says of these bytes.
    pub fn artifact(&self, path: &str, content: &[u8]) -> Artifact {
        Artifact {
            path: path.to_owned(),
            url: format!("http://{}/{path}", self.address),
            digest: digest(content),
            size: content.len(),
        }
    }

    /// Serves nothing under this path any more.
    pub fn remove(&self, path: &str) {
        self.served.lock().unwrap().remove(path);
    }

    /// How often a path was asked for.
    pub fn requests(&self, path: &str) -> usize {
        let served = self.served.lock().unwrap();
        served.get(path).map_or(0, |served| served.heads.len())
    }

    /// All heads of requests that were answered.
    pub fn heads(&self) -> Vec<String> {
        let served = self.served.lock().unwrap();
        let heads = served.values().flat_map(|served| served.heads.clone());
        heads.collect()
    }
}

impl Drop for Artifacts {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // The thread waits for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(
    mut stream: TcpStream,
    all: &Mutex<BTreeMap<String, Served>>,
    is_over: &AtomicBool,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(READ_TIME))?;
    let mut head = Vec::new();
    let mut chunk = [0; 4096];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            count => head.extend_from_slice(&chunk[..count]),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let found = {
        let mut all = all.lock().unwrap();
        all.get_mut(path.trim_start_matches('/')).map(|served| {
            served.heads.push(head.clone());
            served.answer.clone()
        })
    };
    let length = |length: usize| format!("Content-Length: {length}");
    let mut begin = |status: &str, header: &str| {
        write!(
            stream,
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/octet-stream\r\n{header}\r\n\r\n"
        )
    };
    match found {
        None => begin("404 Not Found", &length(0))?,
        Some(Answer::Bytes(content)) => {
            begin("200 OK", &length(content.len()))?;
            stream.write_all(&content)?;
        }
        Some(Answer::Chunks(content)) => {
            begin("200 OK", "Transfer-Encoding: chunked")?;
            for part in content.chunks(64 << 10) {
                write!(stream, "{:x}\r\n", part.len())?;
                stream.write_all(part)?;
                stream.write_all(b"\r\n")?;
            }
            stream.write_all(b"0\r\n\r\n")?;
        }
        Some(Answer::Redirect(place)) => {
            begin("302 Found", &format!("Location: {place}\r\n{}", length(0)))?;
        }
        Some(Answer::Stall) => {
            begin("200 OK", &length(1_000))?;
            stream.flush()?;
            let end = std::time::Instant::now() + STALL_TIME;
            while std::time::Instant::now() < end && !is_over.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
    stream.flush()
}

/// As Flux writes it.
pub fn digest(content: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, content);
    let hex: String = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

/// A tar.gz of files, by path.
pub fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(encoder);
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, path, text.as_bytes())
            .unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}
