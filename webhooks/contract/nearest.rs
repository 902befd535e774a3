//! The known name that is most like a misspelt one.

use super::syntax::DNS_NAME_MAX_BYTES;

/// A name is suggested when it is at least this much like the unknown one (Jaro-Winkler, 0 to 1).
const SUGGESTED_SIMILARITY: f64 = 0.75;

/// The candidate that is most like `name`, if any is much like it.
pub fn nearest<S: AsRef<str>>(name: &str, candidates: impl IntoIterator<Item = S>) -> Option<S> {
    // The comparison is quadratic, and what is longer than any name is like none.
    if name.len() > DNS_NAME_MAX_BYTES {
        return None;
    }
    candidates
        .into_iter()
        .filter(|candidate| candidate.as_ref().len() <= DNS_NAME_MAX_BYTES)
        .map(|candidate| (strsim::jaro_winkler(name, candidate.as_ref()), candidate))
        .filter(|(similarity, _)| *similarity >= SUGGESTED_SIMILARITY)
        .max_by(|one, two| one.0.total_cmp(&two.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_much_alike_is_suggested() {
        let known = ["kubevirt", "default", "kamaji"];
        assert_eq!(nearest("kubvirt", known), Some("kubevirt"));
        assert_eq!(nearest("zzz", known), None);
        assert_eq!(nearest(&"k".repeat(100_000), known), None);
        assert_eq!(nearest("x", [String::new()]), None);
    }
}
