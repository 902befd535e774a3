//! Brings the archive of an artifact from Flux's storage, and nothing else from nowhere else: plain HTTP to the hosts
//! that the settings name, one GET without a token, no redirect, bounded in bytes and time, the digest verified.

use super::archive::ARCHIVE_MAX_BYTES;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body as _, Bytes};
use hyper::header::{ACCEPT, CONTENT_LENGTH, HOST, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use std::fmt::Write as _;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long one archive may take, from the look-up of the host to the last byte.
pub const FETCH_TIME: Duration = Duration::from_secs(30);

const HTTP_PORT: u16 = 80;

/// Why an archive cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No URL, or not one of plain HTTP.
    #[error("its url {0:?} is not of the form http://host[:port]/path")]
    Url(String),
    /// The settings do not name the host.
    #[error("{0} is none of the hosts in setting package.artifact-hosts")]
    Host(String),
    /// No digest that is understood.
    #[error("its digest {0:?} is not of the form sha256:..., sha384:... or sha512:...")]
    DigestForm(String),
    /// The host does not answer as it should.
    #[error("{host}: {error}")]
    Connection {
        /// The host.
        host: String,
        /// Why.
        error: String,
    },
    /// Anything but 200.
    #[error("{host} answers {status}{}", if *.status >= 300 && *.status < 400 { ", and redirects are not followed" } else { "" })]
    Status {
        /// The host.
        host: String,
        /// The code.
        status: u16,
    },
    /// More bytes than [`ARCHIVE_MAX_BYTES`].
    #[error("its archive has more than {ARCHIVE_MAX_BYTES} bytes")]
    TooLarge,
    /// It takes longer than [`FETCH_TIME`].
    #[error("its archive takes longer than {} s", FETCH_TIME.as_secs())]
    TooSlow,
    /// The bytes are not those that the artifact promises.
    #[error("its archive has the digest {found}, not {promised}")]
    Digest {
        /// Of the bytes.
        found: String,
        /// In the artifact.
        promised: String,
    },
}

/// Where to ask.
struct Location {
    host: String,
    port: u16,
    authority: String,
    target: String,
}

/// The place that a URL names, if it is one of `hosts` (see `package.artifact-hosts`).
fn locate(url: &str, hosts: &[String]) -> Result<Location, FetchError> {
    let wrong = || FetchError::Url(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let authority = uri.authority().ok_or_else(wrong)?;
    if uri.scheme_str() != Some("http") || authority.as_str().contains('@') {
        return Err(wrong());
    }
    let host = authority.host().to_ascii_lowercase();
    let named = host.trim_end_matches('.');
    let port = match authority.as_str().strip_prefix(authority.host()) {
        Some("") => HTTP_PORT,
        Some(port) => port
            .strip_prefix(':')
            .and_then(|port| port.parse().ok())
            .ok_or_else(wrong)?,
        None => return Err(wrong()),
    };
    let with_port = format!("{named}:{port}");
    let is_allowed = |allowed: &String| {
        *allowed == with_port || (port == HTTP_PORT && allowed.as_str() == named)
    };
    if named.is_empty() || !hosts.iter().any(is_allowed) {
        return Err(FetchError::Host(authority.as_str().to_owned()));
    }
    Ok(Location {
        host: host.trim_matches(['[', ']']).to_owned(),
        port,
        authority: authority.as_str().to_owned(),
        target: uri
            .path_and_query()
            .map_or("/", |target| target.as_str())
            .to_owned(),
    })
}

fn algorithm(promised: &str) -> Result<&'static Algorithm, FetchError> {
    let wrong = || FetchError::DigestForm(promised.to_owned());
    let (name, hex) = promised.split_once(':').ok_or_else(wrong)?;
    let algorithm = match name {
        "sha256" => &SHA256,
        "sha384" => &SHA384,
        "sha512" => &SHA512,
        _ => return Err(wrong()),
    };
    let is_hex =
        hex.len() == algorithm.output_len() * 2 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then_some(algorithm).ok_or_else(wrong)
}

/// The bytes behind `url`, which have the digest `promised`.
///
/// # Errors
/// When the host is not allowed, does not answer in time and within bounds, or lies.
pub async fn fetch(url: &str, promised: &str, hosts: &[String]) -> Result<Bytes, FetchError> {
    let location = locate(url, hosts)?;
    let algorithm = algorithm(promised)?;
    let bytes = tokio::time::timeout(FETCH_TIME, get(&location))
        .await
        .map_err(|_| FetchError::TooSlow)??;
    let name = promised.split(':').next().unwrap_or_default();
    let mut found = format!("{name}:");
    for byte in digest(algorithm, &bytes).as_ref() {
        let _ = write!(found, "{byte:02x}");
    }
    if found.eq_ignore_ascii_case(promised) {
        Ok(bytes)
    } else {
        Err(FetchError::Digest {
            found,
            promised: promised.to_owned(),
        })
    }
}

async fn get(location: &Location) -> Result<Bytes, FetchError> {
    let failed = |error: &dyn std::fmt::Display| FetchError::Connection {
        host: location.authority.clone(),
        error: error.to_string(),
    };
    let stream = TcpStream::connect((location.host.as_str(), location.port))
        .await
        .map_err(|error| failed(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    let request = Request::get(location.target.as_str())
        .header(HOST, location.authority.as_str())
        .header(ACCEPT, "*/*")
        .header(USER_AGENT, "cozystack-webhook")
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| failed(&error))?;
        if response.status() != 200 {
            return Err(FetchError::Status {
                host: location.authority.clone(),
                status: response.status().as_u16(),
            });
        }
        let announced = response.headers().get(CONTENT_LENGTH);
        let announced = announced
            .and_then(|value| value.to_str().ok()?.parse::<usize>().ok())
            .unwrap_or_default();
        if announced > ARCHIVE_MAX_BYTES {
            return Err(FetchError::TooLarge);
        }
        let mut body = response.into_body();
        let mut bytes = Vec::with_capacity(announced);
        while !body.is_end_stream() {
            let Some(frame) = body.frame().await else {
                break;
            };
            let Ok(data) = frame.map_err(|error| failed(&error))?.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > ARCHIVE_MAX_BYTES {
                return Err(FetchError::TooLarge);
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Bytes::from(bytes))
    };
    // The connection makes the exchange go on, and ends with it: nothing is left running.
    let mut connection = std::pin::pin!(connection);
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        done = &mut exchange => done,
        ended = &mut connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(failed(&error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(list: &[&str]) -> Vec<String> {
        list.iter().map(|host| (*host).to_owned()).collect()
    }

    #[test]
    fn only_named_hosts_are_asked() {
        let allowed = hosts(&["a.svc", "b.svc:8080", "[::1]:81"]);
        for url in [
            "http://a.svc/x",
            "http://A.svc./x?y",
            "http://a.svc:80",
            "http://b.svc:8080/x",
            "http://[::1]:81/",
        ] {
            assert!(locate(url, &allowed).is_ok(), "{url}");
        }
        for url in [
            "http://a.svc:81/x",
            "http://b.svc/x",
            "http://a.svc.evil/x",
            "http://evil/a.svc",
            "http://[::1]/",
            "http://169.254.169.254/",
        ] {
            assert!(
                matches!(locate(url, &allowed), Err(FetchError::Host(_))),
                "{url}"
            );
        }
        for url in [
            "https://a.svc/x",
            "http://evil@a.svc/x",
            "http://a.svc@evil/x",
            "file:///etc/passwd",
            "/x",
            "",
            "a.svc",
            "http://a.svc:99999/",
        ] {
            assert!(
                matches!(locate(url, &allowed), Err(FetchError::Url(_))),
                "{url}"
            );
        }
    }

    #[test]
    fn digests_are_of_known_algorithms() {
        assert!(algorithm(&format!("sha256:{}", "a".repeat(64))).is_ok());
        assert!(algorithm(&format!("sha512:{}", "a".repeat(128))).is_ok());
        for promised in [
            "",
            "sha256:",
            "sha256:aa",
            "md5:aa",
            &"a".repeat(64),
            &format!("sha256:{}", "g".repeat(64)),
        ] {
            assert!(algorithm(promised).is_err(), "{promised}");
        }
    }
}
