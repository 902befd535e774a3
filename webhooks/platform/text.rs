//! The syntax of hosts, URLs, addresses and networks. Every check gives the sentence that says what would be right,
//! or nothing.

use crate::contract::syntax;
// From core, which has the addresses and no sockets.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest root host, in bytes: the platform writes hosts as label values (namespace.cozystack.io/host).
const HOST_MAX_BYTES: usize = syntax::DNS_LABEL_MAX_BYTES;

/// Anything is right.
pub(super) fn any(_: &str) -> Option<String> {
    None
}

/// Wrong about a text that must say something.
pub(super) fn not_empty(text: &str) -> Option<String> {
    text.trim()
        .is_empty()
        .then(|| "must not be empty".to_owned())
}

/// Wrong about the domain under which the platform publishes.
pub(super) fn host(text: &str) -> Option<String> {
    if looks_like_ipv4(text) || text.parse::<IpAddr>().is_ok() {
        return Some(
            "must be a domain name, not an IP address: services get names below it".to_owned(),
        );
    }
    if text.len() > HOST_MAX_BYTES {
        return Some(format!(
            "must be no more than {HOST_MAX_BYTES} bytes: tenants' namespaces carry it in a label"
        ));
    }
    syntax::dns_name(text)
}

/// Wrong about the name of something that need not be there.
pub(super) fn dns_name_or_empty(text: &str) -> Option<String> {
    if text.is_empty() {
        None
    } else {
        syntax::dns_name(text)
    }
}

/// Wrong about a namespace that need not be there.
pub(super) fn dns_label_or_empty(text: &str) -> Option<String> {
    if text.is_empty() {
        None
    } else {
        syntax::dns_label(text)
    }
}

/// Wrong about a class such as `example.org/lb` that need not be there.
pub(super) fn class_or_empty(text: &str) -> Option<String> {
    if text.is_empty() {
        None
    } else {
        syntax::label_key(text)
    }
}

/// Wrong about an IPv4 or IPv6 address.
pub(super) fn ip(text: &str) -> Option<String> {
    text.parse::<IpAddr>()
        .is_err()
        .then(|| "must be an IP address, such as 192.0.2.10".to_owned())
}

/// Wrong about addresses joined with commas.
pub(super) fn ips(text: &str) -> Option<String> {
    let is_right = text.is_empty() || text.split(',').all(|part| ip(part.trim()).is_none());
    (!is_right).then(|| "must be IP addresses, separated by commas".to_owned())
}

/// Wrong about a URL that need not be there.
pub(super) fn url_or_empty(text: &str) -> Option<String> {
    if text.is_empty() { None } else { url(text) }
}

/// Wrong about the URL of a server.
pub(super) fn url(text: &str) -> Option<String> {
    let is_right = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme))
        .is_some_and(|rest| {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            !text.contains(char::is_whitespace) && is_authority(authority)
        });
    (!is_right).then(|| {
        "must be a URL with http or https, a host and optionally a port, such as https://api.example.org:6443"
            .to_owned()
    })
}

fn is_authority(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(']').is_some_and(|(address, port)| {
            address.parse::<Ipv6Addr>().is_ok()
                && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        });
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_host = if looks_like_ipv4(host) {
        host.parse::<Ipv4Addr>().is_ok()
    } else {
        syntax::dns_name(&host.to_ascii_lowercase()).is_none()
    };
    is_host && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse::<u16>().is_ok_and(|port| port != 0)
}

fn looks_like_ipv4(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// An IPv4 network. kube-ovn gets the platform's networks as its `ipv4` block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    address: u32,
    prefix: u8,
}

impl Network {
    /// Reads `10.244.0.0/16`.
    pub(super) fn parse(text: &str) -> Option<Network> {
        let (address, prefix) = text.split_once('/')?;
        let is_number = !prefix.is_empty()
            && prefix.bytes().all(|byte| byte.is_ascii_digit())
            && (prefix == "0" || !prefix.starts_with('0'));
        let prefix = is_number.then(|| prefix.parse::<u8>().ok()).flatten()?;
        let address = address.parse::<Ipv4Addr>().ok()?;
        (prefix <= 32).then_some(Network {
            address: address.to_bits(),
            prefix,
        })
    }

    fn mask(self) -> u32 {
        u32::MAX
            .checked_shl(32 - u32::from(self.prefix))
            .unwrap_or(0)
    }

    /// Its first address.
    pub(super) fn first(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address & self.mask())
    }

    /// Its last address.
    pub(super) fn last(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address | !self.mask())
    }

    /// Whether the address before the slash is the network's own.
    pub(super) fn is_canonical(self) -> bool {
        self.first().to_bits() == self.address
    }

    /// The network, written with its own address.
    pub(super) fn canonical(self) -> String {
        format!("{}/{}", self.first(), self.prefix)
    }

    /// Whether the two share an address.
    pub(super) fn overlaps(self, other: Network) -> bool {
        self.first() <= other.last() && other.first() <= self.last()
    }

    /// Whether a machine can have the address in this network.
    pub(super) fn has_host(self, address: Ipv4Addr) -> bool {
        let is_inside = self.first() <= address && address <= self.last();
        let is_special = self.prefix < 31 && (address == self.first() || address == self.last());
        is_inside && !is_special
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_and_wrong() {
        for (check, right, wrong) in [
            (
                url as fn(&str) -> Option<String>,
                vec![
                    "https://api.example.org",
                    "http://10.0.0.1:8082",
                    "https://[fd00::1]:6443/",
                    "https://API.example.org/path?x#y",
                ],
                vec![
                    "",
                    "api.example.org",
                    "ftp://a",
                    "https://",
                    "https://a:0",
                    "https://a:65536",
                    "https://a:b",
                    "https://10.0.0.300",
                    "https://a b",
                    "https://[fd00::1",
                    "https://a_b",
                    "https://user@a",
                    "https://a:",
                ],
            ),
            (
                host,
                vec!["example.org", "a", "a-b.c1"],
                vec![
                    "",
                    "10.0.0.1",
                    "fd00::1",
                    "A.org",
                    "a_b",
                    "https://a",
                    "a..b",
                    "*.a.org",
                ],
            ),
            (
                ip,
                vec!["10.0.0.1", "fd00::1"],
                vec!["", "10.0.0.256", "a", "10.0.0.1/32"],
            ),
            (
                ips,
                vec!["", "10.0.0.1", "10.0.0.1, 10.0.0.2"],
                vec![",", "10.0.0.1,", "a"],
            ),
        ] {
            for text in right {
                assert_eq!(check(text), None, "{text:?}");
            }
            for text in wrong {
                assert!(check(text).is_some(), "{text:?}");
            }
        }
        assert!(host(&"a".repeat(64)).is_some_and(|detail| detail.contains("label")));
    }

    #[test]
    fn networks() {
        let network = |text: &str| Network::parse(text).unwrap();
        for wrong in [
            "",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/99",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0/8",
            "fd00::/8",
            "10.0.0.0/8/8",
            " 10.0.0.0/8",
        ] {
            assert_eq!(Network::parse(wrong), None, "{wrong:?}");
        }
        assert_eq!(network("10.1.2.3/8").canonical(), "10.0.0.0/8");
        assert!(!network("10.1.2.3/8").is_canonical() && network("0.0.0.0/0").is_canonical());
        assert!(network("0.0.0.0/0").overlaps(network("255.255.255.255/32")));
        assert!(network("10.0.0.0/8").overlaps(network("10.255.0.0/16")));
        assert!(!network("10.0.0.0/16").overlaps(network("10.1.0.0/16")));
        for (cidr, address, expected) in [
            ("10.0.0.0/24", "10.0.0.1", true),
            ("10.0.0.0/24", "10.0.0.0", false),
            ("10.0.0.0/24", "10.0.0.255", false),
            ("10.0.0.0/24", "10.0.1.1", false),
            ("10.0.0.0/31", "10.0.0.0", true),
            ("10.0.0.1/32", "10.0.0.1", true),
        ] {
            assert_eq!(
                network(cidr).has_host(address.parse().unwrap()),
                expected,
                "{address} in {cidr}"
            );
        }
    }
}
