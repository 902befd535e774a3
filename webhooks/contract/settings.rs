//! What operators set: a mode for each rule, and each rule's own settings, as flat keys of one ConfigMap.
//!
//! ```yaml
//! mode: warn                            # over all rules, whatever they say below
//! <rule>.mode: off | warn | enforce
//! <rule>.<setting>: ...
//! ```

use super::declaration::Mode;
use super::field::Path;
use super::nearest::nearest;
use super::syntax::dns_name;
use super::verdict::Violation;
use super::version::Version;
use super::{Declaration, Webhook};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The key that overrules every rule's mode, and the last part of a rule's own.
pub const MODE: &str = "mode";

/// More wrong keys than this are no settings at all: what is left is not read.
const VIOLATIONS_MAX: usize = 100;

/// Something of a rule that operators may set.
#[derive(Debug)]
pub struct Setting {
    /// Its key is `<rule>.<name>`.
    pub name: &'static str,
    /// What it may be, and what it is when nobody sets it.
    pub kind: SettingKind,
    /// One sentence: what it does.
    pub summary: &'static str,
}

/// What a setting may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingKind {
    /// `true` or `false`.
    Flag {
        /// When nobody sets it.
        default: bool,
    },
    /// A whole number with a unit, such as `30s`, `5m` or `1h`.
    Duration {
        /// When nobody sets it.
        default: Duration,
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// A version of the platform, such as `v1.0.0-alpha.1`.
    Version {
        /// When nobody sets it.
        default: &'static str,
    },
    /// Names or addresses of hosts with or without a port, separated by commas.
    Hosts {
        /// When nobody sets it.
        default: &'static [&'static str],
    },
    /// Names of users or groups, separated by commas.
    Names {
        /// When nobody sets it.
        default: &'static [&'static str],
    },
    /// A DNS name, such as a cluster's domain.
    Domain {
        /// When nobody sets it.
        default: &'static str,
    },
}

fn parse_names(text: &str) -> Option<SettingValue> {
    let names: Vec<&str> = text.split(',').map(str::trim).collect();
    let is_right = |name: &&str| !name.is_empty() && !name.contains(char::is_whitespace);
    if names == [""] {
        return Some(SettingValue::Names(Arc::default()));
    }
    names
        .iter()
        .all(is_right)
        .then(|| SettingValue::Names(names.iter().map(|name| (*name).to_owned()).collect()))
}

impl SettingKind {
    /// What it is when nobody sets it, as it would be written.
    #[must_use]
    pub fn default_text(&self) -> String {
        match self {
            SettingKind::Flag { default } => default.to_string(),
            SettingKind::Duration { default, .. } => duration_text(*default),
            SettingKind::Version { default } | SettingKind::Domain { default } => {
                (*default).to_owned()
            }
            SettingKind::Names { default } | SettingKind::Hosts { default } => default.join(","),
        }
    }

    /// What may be written, for the docs and messages.
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            SettingKind::Flag { .. } => "true or false".to_owned(),
            SettingKind::Duration { min, max, .. } => format!(
                "a whole number with s, m or h, from {} to {}",
                duration_text(*min),
                duration_text(*max)
            ),
            SettingKind::Version { .. } => "a version such as v1.3.0".to_owned(),
            SettingKind::Hosts { .. } => {
                "hosts such as a.svc or 10.0.0.1:8080, separated by commas, or nothing".to_owned()
            }
            SettingKind::Names { .. } => "names separated by commas, or nothing".to_owned(),
            SettingKind::Domain { .. } => "a DNS name such as cluster.local".to_owned(),
        }
    }

    fn parse(&self, text: &str) -> Option<SettingValue> {
        match self {
            SettingKind::Flag { .. } => text.parse().ok().map(SettingValue::Flag),
            SettingKind::Duration { min, max, .. } => parse_duration(text)
                .filter(|duration| duration >= min && duration <= max)
                .map(SettingValue::Duration),
            SettingKind::Version { .. } => Version::parse(text).map(SettingValue::Version),
            SettingKind::Hosts { .. } => parse_hosts(text).map(SettingValue::Hosts),
            SettingKind::Names { .. } => parse_names(text),
            SettingKind::Domain { .. } => dns_name(text)
                .is_none()
                .then(|| SettingValue::Domain(text.to_owned())),
        }
    }
}

/// Hosts as they stand in the authority of a URL: lower case, without the dot of the root.
fn parse_hosts(text: &str) -> Option<Vec<String>> {
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    let is_part = |part: &str| {
        part.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
    };
    text.split(',')
        .map(|entry| {
            let entry = entry.trim().to_ascii_lowercase();
            let (host, port) = match entry.rsplit_once(':') {
                Some((host, port)) if !host.ends_with(':') && !host.is_empty() => {
                    (host, Some(port.parse::<u16>().ok()?))
                }
                _ => (entry.as_str(), None),
            };
            let host = host.trim_end_matches('.');
            let is_host = match host.strip_prefix('[') {
                Some(rest) => rest
                    .strip_suffix(']')
                    .is_some_and(|address| address.parse::<core::net::Ipv6Addr>().is_ok()),
                None => !host.is_empty() && is_part(host),
            };
            is_host.then(|| match port {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            })
        })
        .collect()
}

fn parse_duration(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        _ => return None,
    };
    let digits = text.strip_suffix(unit)?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits
        .parse::<u64>()
        .ok()?
        .checked_mul(seconds)
        .map(Duration::from_secs)
}

/// The duration as it is written in settings and manifests: in the largest unit that divides it.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds > 0 && seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        seconds if seconds > 0 && seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum SettingValue {
    Flag(bool),
    Duration(Duration),
    Version(Version),
    Hosts(Vec<String>),
    Names(Arc<[String]>),
    Domain(String),
}

/// What is in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    over_all: Option<Mode>,
    modes: BTreeMap<String, Mode>,
    values: Values,
}

/// What is set of a rule, by the rule's id and the setting's name.
type Values = BTreeMap<(&'static str, &'static str), SettingValue>;

impl Settings {
    /// Reads `data` of a settings ConfigMap. What is wrong is listed with its path and left out of the settings.
    #[must_use]
    pub fn read(
        data: &Map<String, Value>,
        registry: &[&'static Webhook],
    ) -> (Settings, Vec<Violation>) {
        let mut settings = Settings::default();
        let mut violations = Vec::new();
        let root = Path::ROOT;
        let path = root.member("data");
        for (key, value) in data {
            if violations.len() == VIOLATIONS_MAX {
                break;
            }
            let path = path.key(key);
            let Some(text) = value.as_str() else {
                violations.push(Violation::wrong_type(&path, value, "a string"));
                continue;
            };
            if let Err(violation) = settings.take(key, text, &path, registry) {
                violations.push(violation);
            }
        }
        (settings, violations)
    }

    fn take(
        &mut self,
        key: &str,
        text: &str,
        path: &Path<'_>,
        registry: &[&'static Webhook],
    ) -> Result<(), Violation> {
        let mode = || {
            Mode::ALL
                .into_iter()
                .find(|mode| mode.as_str() == text)
                .ok_or_else(|| Violation::not_supported(path, text, &Mode::ALL.map(Mode::as_str)))
        };
        if key == MODE {
            self.over_all = Some(mode()?);
            return Ok(());
        }
        let declarations = || registry.iter().map(|webhook| &webhook.declaration);
        let found = key.split_once('.').and_then(|(rule, name)| {
            declarations()
                .find(|declaration| declaration.id == rule)
                .map(|declaration| (declaration, name))
        });
        let setting = found.and_then(|(declaration, name)| {
            let mut settings = declaration.settings.iter();
            let setting = settings.find(|setting| setting.name == name)?;
            Some((declaration.id, setting))
        });
        match (found, setting) {
            (Some((declaration, MODE)), _) => {
                self.modes.insert(declaration.id.to_owned(), mode()?);
            }
            (_, Some((rule, setting))) => {
                let value = setting.kind.parse(text).ok_or_else(|| {
                    Violation::invalid(path, text, format!("must be {}", setting.kind.expected()))
                })?;
                self.values.insert((rule, setting.name), value);
            }
            _ => {
                let nearest = nearest(key, declarations().flat_map(keys).chain([MODE.to_owned()]));
                return Err(Violation::forbidden(
                    path,
                    match nearest {
                        Some(nearest) => format!("is no setting; did you mean {nearest}?"),
                        None => "is no setting; keys are mode, <rule>.mode and <rule>.<setting>"
                            .to_owned(),
                    },
                ));
            }
        }
        Ok(())
    }

    /// This mode for that rule.
    #[must_use]
    pub fn with_mode(mut self, rule: &str, mode: Mode) -> Settings {
        self.modes.insert(rule.to_owned(), mode);
        self
    }

    /// The mode in force for a rule.
    #[must_use]
    pub fn mode(&self, declaration: &Declaration) -> Mode {
        self.over_all
            .or_else(|| self.modes.get(declaration.id).copied())
            .unwrap_or(declaration.default_mode)
    }

    /// The same settings with every rule that only warns enforced: what it would refuse is then told apart from what
    /// it warns of anyway.
    #[must_use]
    pub fn enforced(&self, registry: &[&'static Webhook]) -> Settings {
        let modes = registry.iter().map(|webhook| {
            let mode = match self.mode(&webhook.declaration) {
                Mode::Warn => Mode::Enforce,
                mode => mode,
            };
            (webhook.declaration.id.to_owned(), mode)
        });
        Settings {
            over_all: None,
            modes: modes.collect(),
            values: self.values.clone(),
        }
    }

    /// The own settings of a rule.
    #[must_use]
    pub fn of(&self, declaration: &'static Declaration) -> RuleSettings<'_> {
        RuleSettings {
            declaration,
            values: &self.values,
        }
    }
}

/// All keys of a rule.
pub fn keys(declaration: &'static Declaration) -> impl Iterator<Item = String> {
    std::iter::once(MODE)
        .chain(declaration.settings.iter().map(|setting| setting.name))
        .map(|name| format!("{}.{name}", declaration.id))
}

/// The settings of one rule. A name that the rule does not declare gives the zero value of its kind.
#[derive(Debug, Clone, Copy)]
pub struct RuleSettings<'a> {
    declaration: &'static Declaration,
    values: &'a Values,
}

impl RuleSettings<'_> {
    fn value(&self, name: &str) -> Option<SettingValue> {
        let set = self.values.get(&(self.declaration.id, name));
        set.cloned().or_else(|| {
            let mut declared = self.declaration.settings.iter();
            declared
                .find(|setting| setting.name == name)
                .and_then(|setting| match setting.kind {
                    SettingKind::Flag { default } => Some(SettingValue::Flag(default)),
                    SettingKind::Duration { default, .. } => Some(SettingValue::Duration(default)),
                    SettingKind::Version { default } => {
                        Version::parse(default).map(SettingValue::Version)
                    }
                    SettingKind::Hosts { default } => {
                        let hosts = default.iter().map(|host| (*host).to_owned());
                        Some(SettingValue::Hosts(hosts.collect()))
                    }
                    SettingKind::Names { .. } => parse_names(&setting.kind.default_text()),
                    SettingKind::Domain { default } => {
                        Some(SettingValue::Domain(default.to_owned()))
                    }
                })
        })
    }

    /// The flag of that name.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.value(name), Some(SettingValue::Flag(true)))
    }

    /// The duration of that name.
    #[must_use]
    pub fn duration(&self, name: &str) -> Duration {
        match self.value(name) {
            Some(SettingValue::Duration(duration)) => duration,
            _ => Duration::ZERO,
        }
    }

    /// The hosts of that name: lower case, without a dot at the end, with a port where one is given.
    #[must_use]
    pub fn hosts(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Some(SettingValue::Hosts(hosts)) => hosts,
            _ => Vec::new(),
        }
    }

    /// Whether the list of that name has one of these names.
    #[must_use]
    pub fn lists<'n>(&self, name: &str, mut names: impl Iterator<Item = &'n str>) -> bool {
        match self.value(name) {
            Some(SettingValue::Names(listed)) => {
                names.any(|name| listed.iter().any(|listed| listed == name))
            }
            _ => false,
        }
    }

    /// The DNS name of that name.
    #[must_use]
    pub fn domain(&self, name: &str) -> String {
        match self.value(name) {
            Some(SettingValue::Domain(domain)) => domain,
            _ => String::new(),
        }
    }

    /// The version of that name, where somebody has set it.
    #[must_use]
    pub fn given_version(&self, name: &str) -> Option<Version> {
        match self.values.get(&(self.declaration.id, name)) {
            Some(SettingValue::Version(version)) => Some(*version),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{REGISTRY, cozystack_resource_definition};
    use serde_json::json;

    fn read(data: &Value) -> (Settings, Vec<String>) {
        let (settings, violations) = Settings::read(data.as_object().unwrap(), REGISTRY);
        let messages = violations.iter().map(Violation::message).collect();
        (settings, messages)
    }

    #[test]
    fn modes_and_values_are_read() {
        let legacy = &cozystack_resource_definition::WEBHOOK.declaration;
        let (settings, violations) = read(&json!({}));
        assert!(violations.is_empty());
        assert_eq!(settings.mode(legacy), Mode::Enforce);
        assert!(settings.of(legacy).flag("bridge"));
        assert_eq!(
            settings.of(legacy).duration("chart-interval"),
            Duration::from_mins(5)
        );
        let (settings, violations) = read(&json!({
            "cozystack-resource-definition.mode": "warn",
            "cozystack-resource-definition.bridge": "false",
            "cozystack-resource-definition.chart-interval": "90s",
        }));
        assert!(violations.is_empty(), "{violations:?}");
        assert_eq!(settings.mode(legacy), Mode::Warn);
        assert!(!settings.of(legacy).flag("bridge"));
        assert_eq!(
            settings.of(legacy).duration("chart-interval"),
            Duration::from_secs(90)
        );
        let (settings, _) =
            read(&json!({"mode": "off", "cozystack-resource-definition.mode": "warn"}));
        assert_eq!(settings.mode(legacy), Mode::Off);
    }

    #[test]
    fn defaults_are_what_may_be_written() {
        for webhook in REGISTRY {
            for setting in webhook.declaration.settings {
                let text = setting.kind.default_text();
                assert!(
                    setting.kind.parse(&text).is_some(),
                    "{}: {text}",
                    setting.name
                );
            }
        }
    }

    #[test]
    fn everything_wrong_is_named_and_the_rest_counts() {
        let (settings, violations) = read(&json!({
            "application-definition.mode": "of",
            "aplication-definition.mode": "off",
            "cozystack-resource-definition.brige": "false",
            "cozystack-resource-definition.bridge": "no",
            "cozystack-resource-definition.chart-interval": "1.5m",
            "cozystack-resource-definition.mode": "warn",
            "modus": "off",
            "zzz": "x",
            "mode": true,
        }));
        assert_eq!(
            violations,
            [
                "data[aplication-definition.mode]: Forbidden: is no setting; did you mean application-definition.mode?",
                r#"data[application-definition.mode]: Unsupported value: "of": supported values: "off", "warn", "enforce""#,
                r#"data[cozystack-resource-definition.bridge]: Invalid value: "no": must be true or false"#,
                "data[cozystack-resource-definition.brige]: Forbidden: is no setting; did you mean cozystack-resource-definition.bridge?",
                r#"data[cozystack-resource-definition.chart-interval]: Invalid value: "1.5m": must be a whole number with s, m or h, from 10s to 24h"#,
                r#"data[mode]: Invalid value: "boolean": must be a string"#,
                "data[modus]: Forbidden: is no setting; did you mean mode?",
                "data[zzz]: Forbidden: is no setting; keys are mode, <rule>.mode and <rule>.<setting>",
            ]
        );
        assert_eq!(
            settings.mode(&cozystack_resource_definition::WEBHOOK.declaration),
            Mode::Warn
        );
    }

    #[test]
    fn hosts_are_read_as_urls_have_them() {
        for (text, hosts) in [
            ("", vec![]),
            (
                " A.svc. , b:80,[::1]:8080,[::1],10.0.0.1",
                vec!["a.svc", "b:80", "[::1]:8080", "[::1]", "10.0.0.1"],
            ),
        ] {
            assert_eq!(parse_hosts(text).unwrap(), hosts, "{text}");
        }
        for text in [
            "a,", "http://a", "a/b", "a:", "a:x", "a:99999", "u@a", "::1", "[x]", "a b", ".",
        ] {
            assert_eq!(parse_hosts(text), None, "{text}");
        }
    }

    #[test]
    fn names_are_lists() {
        let names = |text: &str| match parse_names(text) {
            Some(SettingValue::Names(names)) => Some(names.join("+")),
            _ => None,
        };
        assert_eq!(names("").as_deref(), Some(""));
        assert_eq!(names("a").as_deref(), Some("a"));
        assert_eq!(
            names("system:masters, oidc:x").as_deref(),
            Some("system:masters+oidc:x")
        );
        for wrong in [",", "a,", "a b", "a,,b"] {
            assert_eq!(names(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn durations_are_written_as_they_are_read() {
        for text in ["1s", "90s", "5m", "1h", "24h"] {
            assert_eq!(
                parse_duration(text).map(duration_text).as_deref(),
                Some(text)
            );
        }
        for text in [
            "",
            "s",
            "5",
            "-5s",
            "+5s",
            "1.5m",
            "5d",
            "99999999999999999999h",
            "5é",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
