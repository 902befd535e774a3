//! A `caBundle`: certificates of authorities, which only ever become more until they expire.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Characters in a line of PEM.
const PEM_LINE: usize = 64;

/// Certificates in the order in which they were found, each of them once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle(Vec<CertificateDer<'static>>);

impl Bundle {
    /// One certificate, which must be X.509.
    pub(super) fn of(certificate: CertificateDer<'static>) -> Bundle {
        Bundle(vec![certificate])
    }

    /// The certificates in a PEM text; what stands around them, such as a key, is left out. None without a single
    /// X.509 certificate.
    #[must_use]
    pub fn from_pem(pem: &[u8]) -> Option<Bundle> {
        let mut bundle = Bundle(Vec::new());
        for certificate in CertificateDer::pem_slice_iter(pem).flatten() {
            bundle.add(certificate);
        }
        let is_usable = bundle
            .0
            .iter()
            .any(|certificate| expiry(certificate).is_some());
        is_usable.then_some(bundle)
    }

    /// The same from what stands in a `caBundle`: base64 of PEM.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Bundle> {
        Bundle::from_pem(&STANDARD.decode(text).ok()?)
    }

    /// All of these, then those of `more` that are not among them. `now`, in seconds since 1970, decides what has
    /// expired and goes, unless nothing would be left.
    #[must_use]
    pub fn union(&self, more: &Bundle, now: i64) -> Bundle {
        let mut all = self.clone();
        for certificate in &more.0 {
            all.add(certificate.clone());
        }
        // One that cannot be read stays: the API server skips it, and nobody can say that it has expired.
        let is_good = |certificate: &&CertificateDer<'static>| {
            expiry(certificate).is_none_or(|end| end > now)
        };
        let good: Vec<_> = all.0.iter().filter(is_good).cloned().collect();
        if good.is_empty() { all } else { Bundle(good) }
    }

    /// Whether nothing of `wanted` is missing here.
    #[must_use]
    pub fn contains(&self, wanted: &Bundle) -> bool {
        wanted
            .0
            .iter()
            .all(|certificate| self.0.contains(certificate))
    }

    /// PEM, one certificate after the other.
    #[must_use]
    pub fn pem(&self) -> String {
        let mut text = String::new();
        for certificate in &self.0 {
            text.push_str("-----BEGIN CERTIFICATE-----\n");
            for (index, letter) in STANDARD.encode(certificate).chars().enumerate() {
                if index > 0 && index % PEM_LINE == 0 {
                    text.push('\n');
                }
                text.push(letter);
            }
            text.push_str("\n-----END CERTIFICATE-----\n");
        }
        text
    }

    /// As it stands in a `caBundle`: base64 of PEM.
    #[must_use]
    pub fn base64(&self) -> String {
        STANDARD.encode(self.pem())
    }

    fn add(&mut self, certificate: CertificateDer<'static>) {
        if !self.0.contains(&certificate) {
            self.0.push(certificate);
        }
    }
}

/// End of a certificate's validity, in seconds since 1970; none when it is no X.509.
fn expiry(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

/// What must be written where the `caBundle` is `live`, so that everything in `wanted` is trusted: the union of both.
/// None when `live` has it all. A `live` that holds no certificate trusts nobody and is replaced. `now` is in seconds
/// since 1970.
#[must_use]
pub fn extended(live: Option<&str>, wanted: &Bundle, now: i64) -> Option<String> {
    match live.and_then(Bundle::from_base64) {
        Some(live) if live.contains(wanted) => None,
        Some(live) => Some(live.union(wanted, now).base64()),
        None => Some(wanted.base64()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::pair::Authority;
    use super::*;

    const NOW: i64 = 1_800_000_000;
    const DAY: i64 = 86_400;

    /// An authority's certificate of some length of life, in days; negative is one that has expired.
    fn certificate(days: i64) -> Bundle {
        let pem = Authority::make(NOW - 1000 * DAY, NOW + days * DAY).unwrap();
        Bundle::from_pem(pem.certificate.as_bytes()).unwrap()
    }

    fn joined(bundles: &[&Bundle]) -> Bundle {
        Bundle(bundles.iter().flat_map(|bundle| bundle.0.clone()).collect())
    }

    #[test]
    fn a_union_keeps_the_order_and_has_nothing_twice() {
        let (one, two, three) = (certificate(10), certificate(20), certificate(30));
        let live = joined(&[&two, &one]);
        assert_eq!(
            live.union(&joined(&[&one, &three]), NOW),
            joined(&[&two, &one, &three])
        );
        let twice = [two.pem(), one.pem(), two.pem()].concat();
        assert_eq!(Bundle::from_pem(twice.as_bytes()), Some(live));
    }

    #[test]
    fn what_has_expired_goes_unless_it_is_all_there_is() {
        let (old, older, good) = (certificate(-1), certificate(-2), certificate(1));
        assert_eq!(joined(&[&old, &older]).union(&good, NOW), good);
        assert_eq!(good.union(&old, NOW), good);
        assert_eq!(old.union(&old, NOW), old);
    }

    #[test]
    fn text_around_certificates_is_left_out() {
        let good = certificate(1);
        let pair = Authority::make(NOW, NOW + DAY).unwrap();
        let text = format!(
            "a comment\n{}\n-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n{}# and the end",
            pair.key,
            good.pem().replace('\n', "\r\n")
        );
        assert_eq!(Bundle::from_pem(text.as_bytes()), Some(good.clone()));
        // What is written is what everybody writes.
        let (_, parsed) = x509_parser::pem::parse_x509_pem(good.pem().as_bytes()).unwrap();
        assert_eq!(parsed.contents.as_slice(), good.0[0].as_ref());
        assert!(good.pem().lines().all(|line| line.len() <= PEM_LINE));
        for garbage in ["", "\n", "no PEM", "-----BEGIN CERTIFICATE-----", &pair.key] {
            assert_eq!(Bundle::from_pem(garbage.as_bytes()), None, "{garbage}");
        }
    }

    #[test]
    fn a_live_bundle_is_only_written_where_something_is_missing() {
        let (ours, theirs, old) = (certificate(10), certificate(20), certificate(-1));
        let extended = |live: &str| extended(Some(live), &ours, NOW);
        assert_eq!(extended(&joined(&[&theirs, &ours]).base64()), None);
        // An expired one is no reason to write.
        assert_eq!(extended(&joined(&[&old, &ours]).base64()), None);
        assert_eq!(
            extended(&joined(&[&old, &theirs]).base64()),
            Some(joined(&[&theirs, &ours]).base64())
        );
        for garbage in ["", "Cg==", "bm8gUEVN", "no base64"] {
            assert_eq!(extended(garbage), Some(ours.base64()), "{garbage}");
        }
        assert_eq!(super::extended(None, &ours, NOW), Some(ours.base64()));
    }

    #[test]
    fn what_cannot_be_read_stays_beside_what_can() {
        let ours = certificate(10);
        let odd = Bundle(vec![CertificateDer::from(vec![
            0x30, 0x03, 0x02, 0x01, 0x01,
        ])]);
        assert_eq!(
            extended(Some(&odd.base64()), &ours, NOW),
            Some(ours.base64())
        );
        let live = joined(&[&odd, &certificate(5)]);
        let written = extended(Some(&live.base64()), &ours, NOW).unwrap();
        assert_eq!(Bundle::from_base64(&written), Some(joined(&[&live, &ours])));
    }
}
