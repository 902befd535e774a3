//! The serving certificate: from a folder, reloaded by polling, or made here for local use.
//!
//! A kubelet swaps a mounted Secret by renaming a symlink, which file watches miss: the bytes are compared instead.

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// File names of a `kubernetes.io/tls` Secret.
const CERTIFICATE_FILE: &str = "tls.crt";
const KEY_FILE: &str = "tls.key";

/// A certificate that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is missing or unreadable.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file holds no usable PEM.
    #[error("{file}: {detail}")]
    Pem {
        /// The file's name.
        file: &'static str,
        /// Why.
        detail: String,
    },
    /// Key and certificate do not belong together, or rustls cannot use them.
    #[error("certificate and key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
    /// A certificate could not be made.
    #[error("self-signed certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// The only TLS provider.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A certificate chain with its key.
#[derive(Debug)]
struct Pair {
    key: Arc<CertifiedKey>,
    /// End of the leaf's validity, in seconds since 1970.
    not_after: i64,
}

/// The certificate that is served now; swapped at once for all new handshakes.
#[derive(Debug)]
pub struct Certificate {
    current: ArcSwap<Pair>,
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().key))
    }
}

impl Certificate {
    /// From PEM texts.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Arc<Certificate>, Error> {
        let pair = pair(chain, key)?;
        Ok(Arc::new(Certificate {
            current: ArcSwap::from_pointee(pair),
        }))
    }

    /// Seconds until the served certificate expires; negative once it has.
    #[must_use]
    pub fn seconds_to_expiry(&self) -> i64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        self.current.load().not_after - i64::try_from(now).unwrap_or(i64::MAX)
    }

    /// What rustls needs to serve it: TLS 1.3, and 1.2 with its AEAD suites (rustls has no others).
    pub fn server_config(self: &Arc<Self>) -> Result<rustls::ServerConfig, Error> {
        let config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        Ok(config)
    }
}

fn pair(chain: &[u8], key: &[u8]) -> Result<Pair, Error> {
    let bad = |file, detail: String| Error::Pem { file, detail };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| bad(CERTIFICATE_FILE, error.to_string()))?;
    let leaf = chain
        .first()
        .ok_or_else(|| bad(CERTIFICATE_FILE, "holds no certificate".to_owned()))?;
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).map_err(|error| {
        bad(
            CERTIFICATE_FILE,
            format!("is no X.509 certificate: {error}"),
        )
    })?;
    let not_after = parsed.validity().not_after.timestamp();
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|error| bad(KEY_FILE, error.to_string()))?;
    let key = CertifiedKey::from_der(chain, key, &provider())?;
    Ok(Pair {
        key: Arc::new(key),
        not_after,
    })
}

/// A folder with `tls.crt` (a chain is fine) and `tls.key`.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    bytes: (Vec<u8>, Vec<u8>),
    certificate: Arc<Certificate>,
}

/// What a look into the folder found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// The same bytes as before.
    Same,
    /// A new pair, served from now on.
    Swapped,
}

impl Folder {
    /// Reads the first pair.
    pub fn open(path: &Path) -> Result<Folder, Error> {
        let bytes = read_files(path)?;
        let certificate = Certificate::from_pem(&bytes.0, &bytes.1)?;
        Ok(Folder {
            path: path.to_owned(),
            bytes,
            certificate,
        })
    }

    /// The certificate that is served.
    #[must_use]
    pub fn certificate(&self) -> Arc<Certificate> {
        Arc::clone(&self.certificate)
    }

    /// Serves a new pair if there is one. On any error the old pair stays, and the next look tries again.
    pub fn look(&mut self) -> Result<Look, Error> {
        let bytes = read_files(&self.path)?;
        if bytes == self.bytes {
            return Ok(Look::Same);
        }
        let pair = pair(&bytes.0, &bytes.1)?;
        self.certificate.current.store(Arc::new(pair));
        self.bytes = bytes;
        Ok(Look::Swapped)
    }

    /// Looks every `pause`, for as long as the process lives.
    pub async fn poll(mut self, pause: Duration) {
        // Logged when it changes, not every few seconds.
        let mut last_error = String::new();
        loop {
            tokio::time::sleep(pause).await;
            match self.look() {
                Ok(Look::Same) => last_error.clear(),
                Ok(Look::Swapped) => {
                    last_error.clear();
                    let seconds = self.certificate.seconds_to_expiry();
                    tracing::info!(seconds_to_expiry = seconds, "certificate reloaded");
                }
                Err(error) => {
                    let text = error.to_string();
                    if text != last_error {
                        tracing::error!(
                            error = text,
                            "certificate not reloaded, the old one is kept"
                        );
                        last_error = text;
                    }
                }
            }
        }
    }
}

fn read_files(folder: &Path) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).map_err(|error| Error::Read { path, error })
    };
    Ok((read(CERTIFICATE_FILE)?, read(KEY_FILE)?))
}

/// A certificate authority of our own, for local use and tests.
pub struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

impl Authority {
    /// A new authority.
    pub fn new() -> Result<Authority, Error> {
        let mut params = rcgen::CertificateParams::new(Vec::new())?;
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        params.key_usages = vec![
            rcgen::KeyUsagePurpose::KeyCertSign,
            rcgen::KeyUsagePurpose::DigitalSignature,
        ];
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "cozystack-webhook self-signed");
        let key = rcgen::KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Authority {
            issuer: rcgen::Issuer::new(params, key),
            pem,
        })
    }

    /// The authority's certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate and key for these names (DNS names or IP addresses), PEM.
    pub fn issue(&self, names: &[String]) -> Result<(String, String), Error> {
        let mut params = rcgen::CertificateParams::new(names.to_vec())?;
        let common_name = names.first().map_or("cozystack-webhook", String::as_str);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, common_name);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let key = rcgen::KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}
