//! Versions of the platform, such as `v1.0.0-alpha.1`.

/// A version, ordered: what comes before a release (`-alpha.1`, `-rc.2`) comes before it, and is not told apart further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
    is_release: bool,
}

impl Version {
    /// A release.
    #[must_use]
    pub const fn release(major: u32, minor: u32, patch: u32) -> Version {
        Version {
            major,
            minor,
            patch,
            is_release: true,
        }
    }

    /// Reads `1.2.3`, with or without a `v` before and `-rc.1` or `+build` behind.
    #[must_use]
    pub fn parse(text: &str) -> Option<Version> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (text, build) = text.split_once('+').unwrap_or((text, "0"));
        let (numbers, before) = text.split_once('-').unwrap_or((text, "0"));
        let is_suffix = |suffix: &str| {
            suffix.split('.').all(|part| {
                !part.is_empty()
                    && part
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            })
        };
        if !is_suffix(build) || !is_suffix(before) {
            return None;
        }
        let mut parts = numbers.split('.').map(|digits| {
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| digits.parse::<u32>().ok()).flatten()
        });
        let version = Version {
            major: parts.next()??,
            minor: parts.next()??,
            patch: parts.next()??,
            is_release: !text.contains('-'),
        };
        parts.next().is_none().then_some(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered() {
        let parse = |text: &str| Version::parse(text).unwrap();
        assert!(parse("v1.0.0-alpha.1") < parse("v1.0.0"));
        assert!(parse("v1.3.0-rc.1") < Version::release(1, 3, 0));
        assert_eq!(parse("1.3.0"), Version::release(1, 3, 0));
        assert_eq!(parse("v1.3.0+build-1.x"), Version::release(1, 3, 0));
        assert!(parse("1.10.0") > parse("1.9.9"));
        for wrong in [
            "",
            "v",
            "1",
            "1.2",
            "1.2.3.4",
            "1.2.x",
            "1..3",
            "+1.2.3",
            "1.2.3-",
            "1.2.3-a_b",
            "1.2.3+",
            "99999999999.0.0",
            "v v1.2.3",
            "1.2.3-é",
        ] {
            assert_eq!(Version::parse(wrong), None, "{wrong}");
        }
    }
}
