//! Label selectors as controllers take them on their command line: `a=b,c!=d,e in (f, g),h,!i`.

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// A selector; an empty one selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

impl Selector {
    /// Reads a selector; none when it is none.
    pub fn parse(text: &str) -> Option<Selector> {
        let mut requirements = Vec::new();
        for part in split(text) {
            requirements.push(requirement(part.trim())?);
        }
        Some(Selector(requirements))
    }

    /// Whether it selects an object with these labels.
    pub fn selects<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => {
                label(key).is_some_and(|found| values.iter().any(|value| value == found))
            }
            Requirement::NotIn(key, values) => {
                label(key).is_none_or(|found| values.iter().all(|value| value != found))
            }
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Absent(key) => label(key).is_none(),
        })
    }

    /// The values of a label, if it selects by that label and a list of its values alone.
    pub fn only_values(&self, key: &str) -> Option<&[String]> {
        match self.0.as_slice() {
            [Requirement::In(named, values)] if named == key => Some(values),
            _ => None,
        }
    }
}

/// The parts between commas that stand in no parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0_u32);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                parts.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(text.get(start..).filter(|rest| !rest.trim().is_empty()));
    parts
}

fn requirement(text: &str) -> Option<Requirement> {
    let key = |text: &str| {
        let key = text.trim();
        let is_key = !key.is_empty() && !key.contains([' ', '(', ')', '=', '!']);
        is_key.then(|| key.to_owned())
    };
    if let Some(absent) = text.strip_prefix('!') {
        return Some(Requirement::Absent(key(absent)?));
    }
    if let Some((name, value)) = text.split_once("!=") {
        return Some(Requirement::NotIn(
            key(name)?,
            vec![value.trim().to_owned()],
        ));
    }
    if let Some((name, value)) = text.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value);
        return Some(Requirement::In(key(name)?, vec![value.trim().to_owned()]));
    }
    let Some((head, list)) = text.split_once('(') else {
        return Some(Requirement::Exists(key(text)?));
    };
    let values = list.strip_suffix(')')?;
    let values = values.split(',').map(|value| value.trim().to_owned());
    let (name, operator) = head.trim().rsplit_once(' ')?;
    match operator {
        "in" => Some(Requirement::In(key(name)?, values.collect())),
        "notin" => Some(Requirement::NotIn(key(name)?, values.collect())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_read_as_controllers_read_them() {
        let selects = |selector: &str, labels: &[(&'static str, &'static str)]| {
            let selector = Selector::parse(selector).unwrap();
            selector.selects(|key| {
                let mut labels = labels.iter();
                labels
                    .find(|(name, _)| *name == key)
                    .map(|(_, value)| *value)
            })
        };
        let ab = [("a", "b")];
        for (selector, is_selected) in [
            ("", true),
            ("a=b", true),
            ("a==b", true),
            ("a = b", true),
            ("a=c", false),
            ("a!=b", false),
            ("a!=c", true),
            ("x!=c", true),
            ("a", true),
            ("x", false),
            ("!a", false),
            ("!x", true),
            ("a in (b)", true),
            ("a in (c, b),!x", true),
            ("a in (c,d)", false),
            ("a notin (b, c)", false),
            ("a notin (c)", true),
            ("a=b,x=y", false),
        ] {
            assert_eq!(selects(selector, &ab), is_selected, "{selector}");
        }
        for wrong in [
            "a in b",
            "a in (b",
            "=b",
            "a within (b)",
            "a b",
            "!",
            "a(b)",
        ] {
            assert_eq!(Selector::parse(wrong), None, "{wrong}");
        }
        let values = |selector: &str| {
            let selector = Selector::parse(selector).unwrap();
            selector.only_values("a").map(<[String]>::to_vec)
        };
        assert_eq!(values("a in (b, c)").unwrap(), ["b", "c"]);
        assert_eq!(values("a"), None);
        assert_eq!(values("!a"), None);
        assert_eq!(values("a=b,c"), None);
    }
}
