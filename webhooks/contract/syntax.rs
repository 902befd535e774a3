//! The syntax of names that Kubernetes checks everywhere, without a regular expression.
//!
//! Source of the rules: `k8s.io/apimachinery/pkg/util/validation`. Every function gives the sentence that says
//! what would be right, or nothing.

/// Longest DNS label, in bytes.
pub const DNS_LABEL_MAX_BYTES: usize = 63;
/// Longest DNS name, in bytes.
pub const DNS_NAME_MAX_BYTES: usize = 253;

fn is_lower_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Wrong about a DNS-1123 label, such as a namespace name.
#[must_use]
pub fn dns_label(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    if bytes.len() > DNS_LABEL_MAX_BYTES {
        return Some(format!("must be no more than {DNS_LABEL_MAX_BYTES} bytes"));
    }
    let ends = bytes
        .first()
        .is_some_and(|byte| is_lower_alphanumeric(*byte))
        && bytes
            .last()
            .is_some_and(|byte| is_lower_alphanumeric(*byte));
    (!ends
        || !bytes
            .iter()
            .all(|byte| is_lower_alphanumeric(*byte) || *byte == b'-'))
    .then(|| {
        "must be lower-case letters, digits and '-', and start and end with a letter or digit"
            .to_owned()
    })
}

/// Wrong about a DNS-1035 label, such as a plural or singular name: it starts with a letter.
#[must_use]
pub fn dns_1035_label(text: &str) -> Option<String> {
    if dns_label(text).is_none() && text.as_bytes().first().is_some_and(u8::is_ascii_lowercase) {
        return None;
    }
    Some(format!(
        "must be lower-case letters, digits and '-', start with a letter, end with a letter or digit, \
         and be no more than {DNS_LABEL_MAX_BYTES} bytes"
    ))
}

/// Wrong about a DNS-1123 subdomain, such as most objects' names.
#[must_use]
pub fn dns_name(text: &str) -> Option<String> {
    if text.len() > DNS_NAME_MAX_BYTES {
        return Some(format!("must be no more than {DNS_NAME_MAX_BYTES} bytes"));
    }
    let is_part = |part: &str| {
        let bytes = part.as_bytes();
        bytes
            .first()
            .is_some_and(|byte| is_lower_alphanumeric(*byte))
            && bytes
                .last()
                .is_some_and(|byte| is_lower_alphanumeric(*byte))
            && bytes
                .iter()
                .all(|byte| is_lower_alphanumeric(*byte) || *byte == b'-')
    };
    (!text.split('.').all(is_part)).then(|| {
        "must be lower-case letters, digits, '-' and '.', and start and end with a letter or digit".to_owned()
    })
}

/// Wrong about the name part of a label key, or a label value that is not empty.
fn is_label_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= DNS_LABEL_MAX_BYTES
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Wrong about a label key.
#[must_use]
pub fn label_key(text: &str) -> Option<String> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let is_right = is_label_text(name) && prefix.is_none_or(|prefix| dns_name(prefix).is_none());
    (!is_right).then(|| {
        "must be a name of at most 63 letters, digits, '-', '_' or '.', optionally after a DNS name and '/'".to_owned()
    })
}

/// Wrong about a label value.
#[must_use]
pub fn label_value(text: &str) -> Option<String> {
    (!text.is_empty() && !is_label_text(text)).then(|| {
        "must be empty, or at most 63 letters, digits, '-', '_' or '.' that start and end with a letter or digit"
            .to_owned()
    })
}

/// Wrong about a kind.
#[must_use]
pub fn kind(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let is_right = bytes.first().is_some_and(u8::is_ascii_uppercase)
        && bytes.iter().all(u8::is_ascii_alphanumeric)
        && bytes.len() <= DNS_LABEL_MAX_BYTES;
    (!is_right).then(|| {
        format!("must be letters and digits, start with a capital, and be no more than {DNS_LABEL_MAX_BYTES} bytes")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_and_wrong() {
        let long = "a".repeat(64);
        for (check, right, wrong) in [
            (
                dns_label as fn(&str) -> Option<String>,
                vec!["a", "a-b", "0"],
                vec!["", "-a", "a-", "A", "a.b", "ä", &long],
            ),
            (
                dns_1035_label,
                vec!["a", "a-1"],
                vec!["", "1a", "a-", "A", &long],
            ),
            (
                dns_name,
                vec!["a", "a.b", "a-b.c1"],
                vec!["", ".", "a..b", "a.-b", "A", "a/b"],
            ),
            (
                label_key,
                vec!["a", "A_b.c", "x.io/Y"],
                vec!["", "/a", "x.io/", "X.io/a", "a/b/c", "-a", &long],
            ),
            (
                label_value,
                vec!["", "true", "A_b.c"],
                vec!["-", "a b", "a/b", &long],
            ),
            (
                kind,
                vec!["A", "HTTPCache", "Etcd2"],
                vec!["", "a", "A-b", "Ä", "2A"],
            ),
        ] {
            for text in right {
                assert_eq!(check(text), None, "{text:?}");
            }
            for text in wrong {
                assert!(check(text).is_some(), "{text:?}");
            }
        }
    }
}
