//! An authority and a serving certificate: made, and judged as a client would judge them.

use super::bundle::Bundle;
use crate::server::tls;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

const DAY: i64 = 24 * 60 * 60;
/// How far a certificate is dated back: clocks of nodes differ.
const BACKDATED: i64 = 60 * 60;
/// Life of an authority.
pub(super) const AUTHORITY_LIFE: i64 = 3650 * DAY;
/// An authority with less left than this is replaced: its leaf would not live its whole life, and every caBundle must
/// know the next one before it is needed.
pub(super) const AUTHORITY_REST: i64 = LEAF_LIFE;
/// Life of a serving certificate.
pub(super) const LEAF_LIFE: i64 = 730 * DAY;
/// A serving certificate with less left than this is issued again: one upgrade a year keeps it alive.
pub(super) const LEAF_REST: i64 = 365 * DAY;

const AUTHORITY_NAME: &str = "cozystack-webhook authority";
const LEAF_NAME: &str = "cozystack-webhook";

/// A certificate and its private key, PEM. Deliberately without Debug: a key is not printed.
pub struct Pem {
    /// The certificate.
    pub certificate: String,
    /// Its key, PKCS #8.
    pub key: String,
}

/// Why a certificate is not used (any longer).
#[derive(Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is no certificate with its key.
    Unusable(String),
    /// It must not sign others.
    NoAuthority,
    /// It has expired, or will before long.
    Expiring {
        /// Days that are left; negative once it has expired.
        days: i64,
    },
    /// It is not for this name.
    Name(String),
    /// A client that trusts the authority would not trust it.
    Untrusted(String),
}

impl fmt::Display for Flaw {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Unusable(why) => write!(text, "{why}"),
            Flaw::NoAuthority => {
                write!(text, "it is no authority (basicConstraints CA is not true)")
            }
            Flaw::Expiring { days } if *days < 0 => write!(text, "it has expired"),
            Flaw::Expiring { days } => write!(text, "it expires in {days} days"),
            Flaw::Name(name) => write!(text, "it is not for {name}"),
            Flaw::Untrusted(why) => write!(text, "it does not go with the authority: {why}"),
        }
    }
}

/// A certificate that cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("certificate cannot be made: {0}")]
pub struct Error(#[from] rcgen::Error);

/// An authority that can sign.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    not_after: i64,
}

impl Authority {
    /// A new one, P-256. Both ends of its life are in seconds since 1970.
    pub fn make(not_before: i64, not_after: i64) -> Result<Pem, Error> {
        let mut params = blank(AUTHORITY_NAME, not_before, not_after);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = new_key()?;
        Ok(Pem {
            certificate: params.self_signed(&key)?.pem(),
            key: key.serialize_pem(),
        })
    }

    /// From PEM texts; of a chain the first certificate counts. It must be good for more than `rest` seconds after
    /// `now`.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn read(certificate: &[u8], key: &[u8], now: i64, rest: i64) -> Result<Authority, Flaw> {
        let unusable = |error: &dyn fmt::Display| Flaw::Unusable(error.to_string());
        // Reads both and holds them to each other.
        tls::Certificate::from_pem(certificate, key).map_err(|error| unusable(&error))?;
        let certificate =
            CertificateDer::from_pem_slice(certificate).map_err(|error| unusable(&error))?;
        let (is_authority, not_after) = {
            let (_, parsed) = x509_parser::parse_x509_certificate(&certificate)
                .map_err(|error| unusable(&error))?;
            (parsed.is_ca(), parsed.validity().not_after.timestamp())
        };
        if !is_authority {
            return Err(Flaw::NoAuthority);
        }
        if not_after <= now.saturating_add(rest) {
            return Err(expiring(not_after, now));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| unusable(&error))?;
        let key = KeyPair::try_from(&key).map_err(|error| unusable(&error))?;
        let issuer =
            Issuer::from_ca_cert_der(&certificate, key).map_err(|error| unusable(&error))?;
        Ok(Authority {
            issuer,
            certificate,
            not_after,
        })
    }

    /// A serving certificate for DNS names and IP addresses, P-256, good for `life` seconds after `now` but no longer
    /// than the authority itself.
    pub fn issue(&self, names: &[String], now: i64, life: i64) -> Result<Pem, Error> {
        let not_after = now.saturating_add(life).min(self.not_after);
        let mut params = blank(LEAF_NAME, now - BACKDATED, not_after);
        params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Two authorities may have one name: the API server finds the right one by its key.
        params.use_authority_key_identifier_extension = true;
        let key = new_key()?;
        Ok(Pem {
            certificate: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }

    /// What is wrong with a serving certificate (PEM, a chain is fine) and its key at `now`, which a client that trusts
    /// this authority asks for by `names`. It must be good for more than `rest` seconds unless the authority is not.
    #[must_use]
    pub fn flaw(
        &self,
        chain: &[u8],
        key: &[u8],
        names: &[String],
        now: i64,
        rest: i64,
    ) -> Option<Flaw> {
        self.judge(chain, key, names, now, rest).err()
    }

    fn judge(
        &self,
        chain: &[u8],
        key: &[u8],
        names: &[String],
        now: i64,
        rest: i64,
    ) -> Result<(), Flaw> {
        let unusable = |error: &dyn fmt::Display| Flaw::Unusable(error.to_string());
        let untrusted = |error: &dyn fmt::Display| Flaw::Untrusted(error.to_string());
        tls::Certificate::from_pem(chain, key).map_err(|error| unusable(&error))?;
        let chain: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|error| unusable(&error))?;
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Err(Flaw::Unusable("tls.crt holds no certificate".to_owned()));
        };
        let (_, parsed) =
            x509_parser::parse_x509_certificate(leaf).map_err(|error| unusable(&error))?;
        let not_after = parsed.validity().not_after.timestamp();
        if not_after <= now.saturating_add(rest).min(self.not_after - 1) {
            return Err(expiring(not_after, now));
        }
        let mut roots = RootCertStore::empty();
        roots
            .add(self.certificate.clone())
            .map_err(|error| untrusted(&error))?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), tls::provider())
                .build()
                .map_err(|error| untrusted(&error))?;
        let time = UnixTime::since_unix_epoch(since_epoch(now));
        for name in names {
            let server =
                ServerName::try_from(name.as_str()).map_err(|_| Flaw::Name(name.clone()))?;
            verifier
                .verify_server_cert(leaf, intermediates, &server, &[], time)
                .map_err(|error| match error {
                    rustls::Error::InvalidCertificate(
                        rustls::CertificateError::NotValidForName
                        | rustls::CertificateError::NotValidForNameContext { .. },
                    ) => Flaw::Name(name.clone()),
                    other => untrusted(&other),
                })?;
        }
        Ok(())
    }

    /// The authority's certificate, as a caller needs it.
    #[must_use]
    pub fn bundle(&self) -> Bundle {
        Bundle::of(self.certificate.clone())
    }
}

/// The beginning of an authority made at `now`.
pub(super) fn authority_start(now: i64) -> i64 {
    now - BACKDATED
}

fn new_key() -> Result<KeyPair, Error> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
}

fn blank(common_name: &str, not_before: i64, not_after: i64) -> CertificateParams {
    let date = |seconds| date_time_ymd(1970, 1, 1) + since_epoch(seconds);
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = date(not_before);
    params.not_after = date(not_after);
    params
}

fn since_epoch(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

fn expiring(not_after: i64, now: i64) -> Flaw {
    Flaw::Expiring {
        days: (not_after - now).div_euclid(DAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn names() -> Vec<String> {
        ["hook", "hook.ns", "hook.ns.svc", "10.0.0.1"]
            .map(ToOwned::to_owned)
            .to_vec()
    }

    fn authority(life: i64) -> Authority {
        let pem = Authority::make(NOW - DAY, NOW + life).unwrap();
        Authority::read(pem.certificate.as_bytes(), pem.key.as_bytes(), NOW, 0).unwrap()
    }

    fn flaw(authority: &Authority, leaf: &Pem, names: &[String]) -> Option<Flaw> {
        authority.flaw(
            leaf.certificate.as_bytes(),
            leaf.key.as_bytes(),
            names,
            NOW,
            LEAF_REST,
        )
    }

    #[test]
    fn what_is_issued_has_no_flaw() {
        let authority = authority(AUTHORITY_LIFE);
        let leaf = authority.issue(&names(), NOW, LEAF_LIFE).unwrap();
        assert_eq!(flaw(&authority, &leaf, &names()), None);
        // What it is: P-256, for servers, dated back, and nothing that signs.
        let (_, pem) = x509_parser::pem::parse_x509_pem(leaf.certificate.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        assert!(!certificate.is_ca());
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && !usage.client_auth && !usage.any);
        assert_eq!(
            certificate.validity().not_before.timestamp(),
            NOW - BACKDATED
        );
        assert_eq!(
            certificate.validity().not_after.timestamp(),
            NOW + LEAF_LIFE
        );
        assert_eq!(certificate.public_key().parsed().unwrap().key_size(), 256);
    }

    #[test]
    fn a_leaf_lives_no_longer_than_its_authority() {
        let authority = authority(10 * DAY);
        let leaf = authority.issue(&names(), NOW, LEAF_LIFE).unwrap();
        // A new one would not be better.
        assert_eq!(flaw(&authority, &leaf, &names()), None);
    }

    #[test]
    fn flaws_of_a_leaf_are_found() {
        let ours = authority(AUTHORITY_LIFE);
        let leaf = ours.issue(&names(), NOW, LEAF_LIFE).unwrap();

        let soon = ours.issue(&names(), NOW, LEAF_REST).unwrap();
        assert_eq!(
            flaw(&ours, &soon, &names()),
            Some(Flaw::Expiring { days: 365 })
        );
        let past = ours
            .issue(&names(), NOW - LEAF_LIFE, LEAF_LIFE - 1)
            .unwrap();
        assert_eq!(
            flaw(&ours, &past, &names()),
            Some(Flaw::Expiring { days: -1 })
        );

        let mut wanted = names();
        wanted.push("other.ns.svc".to_owned());
        assert_eq!(
            flaw(&ours, &leaf, &wanted),
            Some(Flaw::Name("other.ns.svc".to_owned()))
        );

        // Another authority of the same name.
        let other = authority(AUTHORITY_LIFE);
        assert!(matches!(
            flaw(&other, &leaf, &names()),
            Some(Flaw::Untrusted(_))
        ));

        let mixed = Pem {
            certificate: leaf.certificate.clone(),
            key: soon.key,
        };
        assert!(matches!(
            flaw(&ours, &mixed, &names()),
            Some(Flaw::Unusable(_))
        ));
        let garbage = Pem {
            certificate: "no PEM".to_owned(),
            key: leaf.key,
        };
        assert!(matches!(
            flaw(&ours, &garbage, &names()),
            Some(Flaw::Unusable(_))
        ));
    }

    #[test]
    fn flaws_of_an_authority_are_found() {
        let read = |certificate: &str, key: &str| {
            Authority::read(certificate.as_bytes(), key.as_bytes(), NOW, AUTHORITY_REST)
                .err()
                .map(|flaw| flaw.to_string())
        };
        let good = Authority::make(NOW, NOW + AUTHORITY_LIFE).unwrap();
        assert_eq!(read(&good.certificate, &good.key), None);

        let soon = Authority::make(NOW, NOW + AUTHORITY_REST).unwrap();
        assert_eq!(
            read(&soon.certificate, &soon.key).unwrap(),
            "it expires in 730 days"
        );
        let past = Authority::make(NOW - DAY, NOW - 1).unwrap();
        assert_eq!(
            read(&past.certificate, &past.key).unwrap(),
            "it has expired"
        );

        let leaf = authority(AUTHORITY_LIFE)
            .issue(&names(), NOW, LEAF_LIFE)
            .unwrap();
        assert!(
            read(&leaf.certificate, &leaf.key)
                .unwrap()
                .contains("no authority")
        );
        assert!(read(&good.certificate, &leaf.key).is_some());
        let said = read("no PEM", &good.key).unwrap();
        assert!(said.contains("tls.crt"), "{said}");
        // A key that cannot be read is not quoted.
        let broken = good
            .key
            .replace("PRIVATE KEY-----\nM", "PRIVATE KEY-----\n!");
        let said = read(&good.certificate, &broken).unwrap();
        let secret = good.key.lines().nth(1).unwrap();
        assert!(
            said.contains("tls.key") && !said.contains(&secret[1..]),
            "{said}"
        );
    }
}
