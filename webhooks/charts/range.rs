//! Version ranges as Helm reads them (`Masterminds/semver` v3): whether a subchart is the one that is declared.

use std::cmp::Ordering;

/// Longest range that is read, in bytes; and most alternatives.
const RANGE_MAX_BYTES: usize = 512;
const ALTERNATIVES_MAX: usize = 32;

/// Whether `version` is within `range`; no when one of them cannot be read, an empty range included.
#[must_use]
pub fn is_compatible(range: &str, version: &str) -> bool {
    let Some(version) = Version::parse(version) else {
        return false;
    };
    if range.len() > RANGE_MAX_BYTES {
        return false;
    }
    let alternatives: Option<Vec<Vec<Constraint>>> = range.split("||").map(group).collect();
    alternatives.is_some_and(|alternatives| {
        alternatives.len() <= ALTERNATIVES_MAX
            && alternatives.iter().any(|all| {
                let takes_prereleases = all.iter().any(|one| !one.version.pre.is_empty());
                (version.pre.is_empty() || takes_prereleases)
                    && all.iter().all(|one| one.allows(&version))
            })
    })
}

/// Whether a chart may have this version.
#[must_use]
pub fn is_version(text: &str) -> bool {
    Version::parse(text).is_some()
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    major: u64,
    minor: u64,
    patch: u64,
    pre: String,
}

impl Version {
    /// `NewVersion`: the minor and patch numbers may be missing, and a `v` may stand before it.
    fn parse(text: &str) -> Option<Version> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (text, build) = split_at_mark(text, '+');
        if build.is_some_and(|build| !are_identifiers(build)) {
            return None;
        }
        let (core, pre) = split_at_mark(text, '-');
        let pre = pre.unwrap_or_default();
        if text.contains('-')
            && (!are_identifiers(pre)
                || pre
                    .split('.')
                    .any(|part| is_number(part) && part.len() > 1 && part.starts_with('0')))
        {
            return None;
        }
        let numbers: Option<Vec<u64>> = core
            .split('.')
            .map(|part| is_number(part).then(|| part.parse().ok()).flatten())
            .collect();
        let numbers = numbers?;
        (numbers.len() <= 3).then(|| Version {
            major: numbers.first().copied().unwrap_or(0),
            minor: numbers.get(1).copied().unwrap_or(0),
            patch: numbers.get(2).copied().unwrap_or(0),
            pre: pre.to_owned(),
        })
    }

    fn compare(&self, other: &Version) -> Ordering {
        self.major
            .cmp(&other.major)
            .then(self.minor.cmp(&other.minor))
            .then(self.patch.cmp(&other.patch))
            .then_with(|| compare_prereleases(&self.pre, &other.pre))
    }
}

fn split_at_mark(text: &str, mark: char) -> (&str, Option<&str>) {
    match text.split_once(mark) {
        Some((head, tail)) => (head, Some(tail)),
        None => (text, None),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn are_identifiers(text: &str) -> bool {
    text.split('.').all(|part| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

/// A version without a prerelease is the later one.
fn compare_prereleases(one: &str, two: &str) -> Ordering {
    match (one.is_empty(), two.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let (mut ones, mut twos) = (one.split('.'), two.split('.'));
    loop {
        let order = match (ones.next(), twos.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(one), Some(two)) => match (one.parse::<u64>(), two.parse::<u64>()) {
                (Ok(one), Ok(two)) => one.cmp(&two),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => one.cmp(two),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    Tilde,
    Caret,
}

/// Longer ones first.
const OPERATORS: [(&str, Operator); 11] = [
    ("!=", Operator::NotEqual),
    (">=", Operator::GreaterOrEqual),
    ("=>", Operator::GreaterOrEqual),
    ("<=", Operator::LessOrEqual),
    ("=<", Operator::LessOrEqual),
    ("~>", Operator::Tilde),
    ("=", Operator::Equal),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("~", Operator::Tilde),
    ("^", Operator::Caret),
];

#[derive(Debug)]
struct Constraint {
    operator: Operator,
    version: Version,
    /// A part is missing or an `x`; and which.
    is_open: bool,
    is_minor_open: bool,
    is_patch_open: bool,
}

/// What must hold at once: `>=1.2, <2`, `1.0 - 2.0`.
fn group(text: &str) -> Option<Vec<Constraint>> {
    let mut constraints = Vec::new();
    let mut rest = text.trim();
    loop {
        let (operator, after) = OPERATORS
            .iter()
            .find_map(|(sign, operator)| rest.strip_prefix(sign).map(|after| (*operator, after)))
            .unwrap_or((Operator::Equal, rest));
        let has_operator = after.len() != rest.len();
        let after = after.trim_start();
        let end = after
            .find(|letter: char| letter.is_whitespace() || letter == ',')
            .unwrap_or(after.len());
        let (version, tail) = (after.get(..end)?, after.get(end..)?);
        let next = tail.trim_start();
        // A range with a dash: `1.0 - 2.0`.
        if let Some(upper) = next.strip_prefix('-').filter(|upper| {
            !has_operator && tail.len() != next.len() && upper.starts_with(char::is_whitespace)
        }) {
            let upper = upper.trim_start();
            let end = upper
                .find(|letter: char| letter.is_whitespace() || letter == ',')
                .unwrap_or(upper.len());
            constraints.push(constraint(Operator::GreaterOrEqual, version)?);
            constraints.push(constraint(Operator::LessOrEqual, upper.get(..end)?)?);
            rest = upper.get(end..)?.trim_start();
        } else {
            constraints.push(constraint(operator, version)?);
            rest = next;
        }
        if rest.is_empty() {
            return Some(constraints);
        }
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
}

fn constraint(operator: Operator, text: &str) -> Option<Constraint> {
    let is_x = |part: &str| matches!(part, "x" | "X" | "*");
    let plain = text.strip_prefix('v').unwrap_or(text);
    let (head, _) = split_at_mark(plain, '+');
    let (core, pre) = split_at_mark(head, '-');
    let mut parts = core.split('.');
    let (major, minor, patch) = (parts.next()?, parts.next(), parts.next());
    if parts.next().is_some() || major.is_empty() {
        return None;
    }
    let pre = pre.map(|pre| format!("-{pre}")).unwrap_or_default();
    let (number, is_minor_open, is_patch_open, is_open) = if is_x(major) {
        (format!("0.0.0{pre}"), false, false, true)
    } else if minor.is_none_or(is_x) {
        (format!("{major}.0.0{pre}"), true, false, true)
    } else if patch.is_none_or(is_x) {
        let minor = minor.unwrap_or_default();
        (format!("{major}.{minor}.0{pre}"), false, true, true)
    } else {
        (head.to_owned(), false, false, false)
    };
    Some(Constraint {
        operator,
        version: Version::parse(&number)?,
        is_open,
        is_minor_open,
        is_patch_open,
    })
}

impl Constraint {
    fn allows(&self, version: &Version) -> bool {
        let order = version.compare(&self.version);
        match self.operator {
            Operator::Equal if self.is_open => self.allows_tilde(version, order),
            Operator::Equal => order == Ordering::Equal,
            Operator::NotEqual => self.allows_other(version, order),
            Operator::Greater => self.allows_greater(version, order),
            Operator::Less => order == Ordering::Less,
            Operator::GreaterOrEqual => order != Ordering::Less,
            Operator::LessOrEqual if self.is_open => {
                version.major <= self.version.major
                    && (version.major < self.version.major
                        || version.minor <= self.version.minor
                        || self.is_minor_open)
            }
            Operator::LessOrEqual => order != Ordering::Greater,
            Operator::Tilde => self.allows_tilde(version, order),
            Operator::Caret => self.allows_caret(version, order),
        }
    }

    fn allows_tilde(&self, version: &Version, order: Ordering) -> bool {
        let here = &self.version;
        let is_any = (here.major, here.minor, here.patch) == (0, 0, 0)
            && !self.is_minor_open
            && !self.is_patch_open;
        order != Ordering::Less
            && (is_any
                || (version.major == here.major
                    && (version.minor == here.minor || self.is_minor_open)))
    }

    fn allows_other(&self, version: &Version, order: Ordering) -> bool {
        let here = &self.version;
        if self.is_open {
            if here.major != version.major {
                return true;
            }
            if self.is_minor_open {
                return false;
            }
            if here.minor != version.minor {
                return true;
            }
            if here.patch != version.patch && !self.is_patch_open {
                return true;
            }
            if self.is_patch_open {
                return compare_prereleases(&version.pre, &here.pre) != Ordering::Equal;
            }
        }
        order != Ordering::Equal
    }

    fn allows_greater(&self, version: &Version, order: Ordering) -> bool {
        let here = &self.version;
        if !self.is_open {
            return order == Ordering::Greater;
        }
        match version.major.cmp(&here.major) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal if self.is_minor_open => false,
            Ordering::Equal if self.is_patch_open => version.minor > here.minor,
            Ordering::Equal => order == Ordering::Greater,
        }
    }

    fn allows_caret(&self, version: &Version, order: Ordering) -> bool {
        let here = &self.version;
        if order == Ordering::Less {
            return false;
        }
        if here.major > 0 || self.is_minor_open {
            return version.major == here.major;
        }
        if version.major > 0 {
            return false;
        }
        if here.minor > 0 || self.is_patch_open {
            return version.minor == here.minor;
        }
        version.minor == 0 && version.patch == here.patch
    }
}

#[cfg(test)]
mod tests {
    use super::is_compatible;

    #[test]
    fn ranges_are_read_as_helm_reads_them() {
        for (range, version, wanted) in [
            ("1.2.3", "1.2.3", true),
            ("1.2.3", "1.2.4", false),
            ("v1.2.3", "1.2.3", true),
            ("1.2.3+a", "1.2.3+b", true),
            ("", "1.2.3", false),
            ("nonsense", "1.2.3", false),
            ("*", "1.2.3", true),
            ("x", "0.0.1", true),
            ("*", "1.2.3-rc.1", false),
            ("*-0", "1.2.3-rc.1", true),
            ("1", "1.9.0", true),
            ("1.x", "2.0.0", false),
            ("1.2.x", "1.2.9", true),
            ("~1.2.3", "1.2.9", true),
            ("~1.2.3", "1.3.0", false),
            ("~1", "1.9.9", true),
            ("^1.2.3", "1.9.9", true),
            ("^1.2.3", "2.0.0", false),
            ("^0.2.3", "0.2.9", true),
            ("^0.2.3", "0.3.0", false),
            ("^0.0.3", "0.0.4", false),
            ("^0", "0.9.0", true),
            (">=1.2.0, <2", "1.9.0", true),
            (">=1.2.0 <2", "2.0.0", false),
            (">=1.2.0<2", "1.3.0", false),
            (">= 1.2.0", "1.3.0", true),
            ("1.0 - 2.0", "1.5.0", true),
            ("1.0 - 2.0", "2.0.9", true),
            ("1.0 - 2.0", "2.1.0", false),
            ("<1 || >=3", "3.1.0", true),
            ("<1 || >=3", "2.0.0", false),
            ("!=1.2.3", "1.2.3", false),
            ("!=1.2.x", "1.2.4", false),
            ("!=1.x", "2.0.0", true),
            (">1", "1.9.0", false),
            (">1", "2.0.0", true),
            (">1.2", "1.2.9", false),
            ("<=1.2", "1.2.9", true),
            (">=1.2.3-0", "1.2.4-rc.1", true),
            ("=1.2.3", "1.2.3", true),
            ("=>1.2.3", "1.2.3", true),
            ("1.2.3.4", "1.2.3", false),
        ] {
            assert_eq!(
                is_compatible(range, version),
                wanted,
                "{range:?} {version:?}"
            );
        }
    }
}
