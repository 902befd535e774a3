use super::{compile, find, find_all, instructions, matches};
use crate::cel::functions::testing::{Outcome, call, error, list, text};
use crate::cel::run::{Fail, Limit, Run};
use crate::cel::value::Value;
use proptest::prelude::*;

/// Whether a part of the text matches.
fn is_match(pattern: &str, of: &str) -> Result<bool, Fail> {
    Ok(compile(pattern)?.is_match(of))
}

fn refusal(pattern: &str) -> String {
    compile(pattern)
        .err()
        .map_or_else(String::new, |fail| fail.to_string())
}

#[test]
fn what_go_and_the_engine_write_differently_means_what_go_says() {
    let rows = [
        // Of ASCII alone.
        (r"\d", "٣", false),
        (r"\w", "é", false),
        (r"\s", "\u{a0}", false),
        (r"\s", "\u{b}", false),
        (r"\S", "\u{a0}", true),
        (r"é\b", "é", false),
        (r"\Bé", "é", true),
        (r"(?i)\w", "ſ", true),
        (r"(?i)[^k]", "\u{212a}", false),
        // Plain characters where the engine would see an operation on sets or a nested one.
        (r"^[a&&b]$", "&", true),
        (r"^[a&&b]$", "a", true),
        (r"^[a~~b]$", "~", true),
        (r"^[[a]]$", "[]", true),
        (r"^[[a]$", "[", true),
        (r"[]a]", "]", true),
        (r"[[:alpha:]-]", "-", true),
        (r"^[:alpha:]$", ":", true),
        // No counts.
        (r"^a{,3}$", "a{,3}", true),
        (r"^a{$", "a{", true),
        (r"^{1,$", "{1,", true),
        (r"^a{01}$", "a{01}", true),
        // Literal passages and code points.
        (r"^\Qa.b\E+$", "a.bb", true),
        (r"\Qa.b", "axb", false),
        (r"^\x{1F600}$", "😀", true),
        (r"\101", "A", true),
        (r"\x{D800}", "a", false),
        (r"^[^\x{D800}]$", "a", true),
        (r"a b", "ab", false),
        (r"#c", "#c", true),
        // Names are free to repeat.
        (r"(?P<n>a)(?<n>b)", "ab", true),
        // Flags apply from where they stand, and repetitions to what stands before them.
        (r"^a(?i)b$", "aB", true),
        (r"^a(?i)b$", "AB", false),
        (r"^a(?i)*$", "aaa", true),
        (r"(?m)^b$", "a\nb\nc", true),
        (r"^b$", "a\nb\nc", false),
        (r"a$", "a\n", false),
        (r"(?s)a.b", "a\nb", true),
        (r"a.b", "a\nb", false),
        (r"a[^x]b", "a\nb", true),
        (r"^\PL$", "1", true),
        (r"^\p{^Greek}$", "ω", false),
        (r"^[\p{Greek}\d]$", "ω", true),
        (r"\pC", "\u{378}", false),
        (r"\p{Cs}", "a", false),
    ];
    for (pattern, of, expected) in rows {
        assert_eq!(is_match(pattern, of), Ok(expected), "{pattern} on {of:?}");
    }
}

#[test]
fn what_go_refuses_is_refused_in_its_words() {
    let rows = [
        ("(", "missing closing ): `(`"),
        ("a)", "unexpected ): `a)`"),
        ("[a", "missing closing ]: `[a`"),
        ("[]", "missing closing ]: `[]`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a*+", "invalid nested repetition operator: `*+`"),
        ("a???", "invalid nested repetition operator: `???`"),
        ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("(?i)*", "missing argument to repetition operator: `*`"),
        ("a|+?", "missing argument to repetition operator: `+?`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{2,1}", "invalid repeat count: `{2,1}`"),
        ("(a{100}){11}", "invalid repeat count: `{11}`"),
        ("((a{0}){1000}){1000}", "invalid repeat count: `{1000}`"),
        (r"\8", r"invalid escape sequence: `\8`"),
        (r"(a)\1", r"invalid escape sequence: `\1`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        (r"\Z", r"invalid escape sequence: `\Z`"),
        (r"\é", r"invalid escape sequence: `\é`"),
        (r"[\b]", r"invalid escape sequence: `\b`"),
        (r"\x{110000}", r"invalid escape sequence: `\x{110000`"),
        (r"\x1", r"invalid escape sequence: `\x1`"),
        ("\\", "trailing backslash at end of expression: ``"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?<!a)", "invalid or unsupported Perl syntax: `(?<`"),
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ("(?i-)", "invalid or unsupported Perl syntax: `(?i-)`"),
        ("(?P=n)", "invalid or unsupported Perl syntax: `(?P`"),
        ("(?P<n", "invalid named capture: `(?P<n`"),
        ("(?P<n-m>a)", "invalid named capture: `(?P<n-m>`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        (r"\p{Foo}", r"invalid character class range: `\p{Foo}`"),
        (
            r"\p{Letter}",
            r"invalid character class range: `\p{Letter}`",
        ),
        (r"\pX", r"invalid character class range: `\pX`"),
        (r"\p{Greek", r"invalid character class range: `\p{Greek`"),
    ];
    for (pattern, expected) in rows {
        let expected = if pattern == "(?<!a)" {
            // Taken for the start of a name.
            "invalid named capture: `(?<!a)`"
        } else {
            expected
        };
        assert_eq!(
            refusal(pattern),
            format!("error parsing regexp: {expected}")
        );
    }
}

#[test]
fn what_takes_too_much_is_refused() {
    for pattern in [
        "a".repeat(16 * 1024 + 1),
        r"\pL{1000}".to_owned(),
        r"\pL".repeat(65),
    ] {
        let message = refusal(&pattern);
        assert!(
            message.starts_with("error parsing regexp: expression too large: `"),
            "{message}"
        );
    }
    for (open, close) in [("(", ")"), ("(?i:", ")+")] {
        let nested =
            |depth: usize| [open.repeat(depth), "a".to_owned(), close.repeat(depth)].concat();
        assert_eq!(refusal(&nested(100)), "");
        let message = refusal(&nested(101));
        assert!(
            message.starts_with("error parsing regexp: expression nests too deeply: `"),
            "{message}"
        );
        assert!(!refusal(&nested(5000)).is_empty());
    }
}

#[test]
fn every_class_that_go_names_is_known_to_the_engine() {
    for name in super::unicode::names() {
        assert_eq!(refusal(&format!(r"\p{{{name}}}")), "");
        assert_eq!(refusal(&format!(r"(?i)[^\P{{{name}}}a]")), "");
    }
}

#[test]
fn matches_looks_for_any_part() {
    let rows = [
        ("", "", true),
        ("abc", "b", true),
        ("abc", "^b", false),
        ("abc", "", true),
        ("abc", "a.c", true),
        ("abc", "A", false),
        ("abc", "(?i)A", true),
        ("日本", "^..$", true),
    ];
    for (of, pattern, expected) in rows {
        assert_eq!(
            call(matches, &[Value::text(of), Value::text(pattern)]),
            expected.to_string()
        );
    }
    assert_eq!(
        call(matches, &[Value::text("a"), Value::text("(")]),
        "error: error parsing regexp: missing closing ): `(`"
    );
    assert_eq!(
        call(matches, &[Value::Int(1), Value::text("a")]),
        "error: no such overload"
    );
}

#[test]
fn find_gives_the_first_match_or_nothing() {
    let rows = [
        ("abc", "b", "b"),
        ("abc", "x", ""),
        ("abc", "x*", ""),
        ("aab", "a+", "aa"),
        ("aab", "a+?", "a"),
        ("aab", "(?U)a+", "a"),
        ("aab", "a|ab", "a"),
        ("x é 日", "[^ x]+", "é"),
    ];
    for (of, pattern, expected) in rows {
        assert_eq!(
            call(find, &[Value::text(of), Value::text(pattern)]),
            text(expected)
        );
    }
    assert_eq!(
        call(find, &[Value::text("a"), Value::text("a**")]),
        error("Illegal regex: error parsing regexp: invalid nested repetition operator: `**`")
    );
}

#[test]
fn find_all_gives_all_matches_up_to_a_limit() {
    let rows: [(&str, &str, Option<i64>, &[&str]); 10] = [
        ("abab", "a", None, &["a", "a"]),
        ("abab", "x", None, &[]),
        ("aabab", "a*", None, &["aa", "a", ""]),
        ("aabab", "a*", Some(2), &["aa", "a"]),
        ("aabab", "a*", Some(0), &[]),
        ("aabab", "a*", Some(-5), &["aa", "a", ""]),
        ("", "a*", None, &[""]),
        ("日本", "", None, &["", "", ""]),
        ("a1b22", r"\d+", Some(9), &["1", "22"]),
        ("aXbX", "(?i)x", Some(1), &["X"]),
    ];
    for (of, pattern, limit, expected) in rows {
        let mut arguments = vec![Value::text(of), Value::text(pattern)];
        arguments.extend(limit.map(Value::Int));
        assert_eq!(call(find_all, &arguments), list(expected));
    }
    assert_eq!(
        call(
            find_all,
            &[Value::text("a"), Value::text("("), Value::Int(1)]
        ),
        error("Illegal regex: error parsing regexp: missing closing ): `(`")
    );
}

#[test]
fn a_search_is_paid_for_by_its_text_and_its_pattern() {
    let stopped = |function: Outcome, of: &str, pattern: &str| {
        let mut run = Run::new(None, &[]);
        function(&mut run, &[Value::text(of), Value::text(pattern)]).err()
    };
    let of = "ab".repeat(50_000);
    assert_eq!(stopped(matches, &of, "c"), None);
    let steps = Some(Fail::Stopped(Limit::Steps));
    assert_eq!(stopped(matches, &of, "(a|b)*a(a|b){500}c"), steps);
    // Each of the hundred thousand matches looks to the end first.
    assert_eq!(stopped(find_all, &of, "a.*c|a|b"), steps);
    assert_eq!(stopped(find_all, "a,b,c,d", "[a-z]"), None);
}

#[test]
fn repetitions_are_counted_as_written_out() {
    let rows = [
        ("abc", 4),
        ("a{3}", 4),
        ("(a|b){10}", 31),
        ("((ab){10}){10}", 201),
        ("a{1000}b{,5}", 1005),
        (r"\{5}", 4),
        (".{100}", 801),
        ("[^x]{1,900}", 7201),
        ("[[:alpha:]_]{10}", 11),
        ("[]a]{10,}", 11),
        (r"\pL{2}", 129),
        (r"\p{Lu}{2}", 129),
        ("(a{3}", 4),
    ];
    for (pattern, at_least) in rows {
        let count = instructions(pattern);
        assert!(
            (at_least..at_least * 3).contains(&count),
            "{pattern}: {count}"
        );
    }
}

proptest! {
    /// Whatever is written, it is either refused or read by the engine, never taken apart wrongly.
    #[test]
    fn any_pattern_is_refused_or_compiled(
        pattern in r"([ab(|)*+?.^$\\{},0-9\[\]:pLd\-&~QEé]|\(\?[imsU]|\[:alpha:\]|\\x\{[0-9a-f]{1,5}\}){0,24}"
    ) {
        if let Err(fail) = compile(&pattern) {
            let message = fail.to_string();
            prop_assert!(message.starts_with("error parsing regexp: "), "{message}");
            prop_assert!(!message.contains("nests too deeply"), "{message}");
        }
    }

    /// A quoted text matches itself and nothing shorter.
    #[test]
    fn a_literal_passage_matches_itself(of in r"[^\\]{1,20}") {
        let pattern = format!(r"^\Q{of}\E$");
        prop_assert_eq!(is_match(&pattern, &of), Ok(true));
        let mut shorter = of.clone();
        shorter.pop();
        prop_assert_eq!(is_match(&pattern, &shorter), Ok(false));
    }
}
