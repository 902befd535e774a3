//! What Kubernetes 1.34.4 answers to the same calls.

use crate::cel::functions::tables::{check, shown};

#[test]
fn reads_urls() {
    check(&[
        (
            "url('https://user:pass@example.com:80/path?query=val#fragment')",
            r#"url "https://user:pass@example.com:80/path?query=val#fragment""#,
        ),
        ("url('/absolute-path')", r#"url "/absolute-path""#),
        ("url('mailto:a@b.c')", r#"url "mailto:a@b.c""#),
        ("url('HTTP://Host/Path')", r#"url "http://Host/Path""#),
        ("url('foo://a:1,b:2/')", r#"url "foo://a:1,b:2/""#),
        (
            "url('http://[fe80::1%25e%20n]/')",
            r#"url "http://[fe80::1%25e%20n]/""#,
        ),
        ("url('http://host/?')", r#"url "http://host/?""#),
        ("url('http://h?#f%20g')", r#"url "http://h?#f%20g""#),
        ("url('/ü é')", r#"url "/%C3%BC%20%C3%A9""#),
        ("url('*')", r#"url "*""#),
    ]);
}

#[test]
fn refuses_urls() {
    check(&[
        (
            "url('')",
            r#"error: URL parse error during conversion from string: parse "": empty url"#,
        ),
        (
            "url('../relative-path')",
            r#"error: URL parse error during conversion from string: parse "../relative-path": invalid URI for request"#,
        ),
        (
            "url('https://a:b:c/')",
            r#"error: URL parse error during conversion from string: parse "https://a:b:c/": invalid port ":c" after host"#,
        ),
        (
            "url(':x')",
            r#"error: URL parse error during conversion from string: parse ":x": missing protocol scheme"#,
        ),
        (
            "url('http://host#frag')",
            r##"error: URL parse error during conversion from string: parse "http://host#frag": invalid character "#" in host name"##,
        ),
        (
            "url('http://ho st/')",
            r#"error: URL parse error during conversion from string: parse "http://ho st/": invalid character " " in host name"#,
        ),
        (
            "url('http://ho%20st/')",
            r#"error: URL parse error during conversion from string: parse "http://ho%20st/": invalid URL escape "%20""#,
        ),
        (
            "url('/a%zz')",
            r#"error: URL parse error during conversion from string: parse "/a%zz": invalid URL escape "%zz""#,
        ),
        (
            "url('/a%aé')",
            r#"error: URL parse error during conversion from string: parse "/a%aé": invalid URL escape "%a\xc3""#,
        ),
        (
            "url('http://[zz]/')",
            r#"error: URL parse error during conversion from string: parse "http://[zz]/": invalid host: ParseAddr("zz"): unable to parse IP"#,
        ),
        (
            "url('http://[1.2.3.4]/')",
            r#"error: URL parse error during conversion from string: parse "http://[1.2.3.4]/": invalid IP-literal"#,
        ),
        (
            "url('http://[::1')",
            r#"error: URL parse error during conversion from string: parse "http://[::1": missing ']' in host"#,
        ),
        (
            "url('http://a[::1]/')",
            r#"error: URL parse error during conversion from string: parse "http://a[::1]/": invalid IP-literal"#,
        ),
        (
            "url('http://[::1]:x/')",
            r#"error: URL parse error during conversion from string: parse "http://[::1]:x/": invalid port ":x" after host"#,
        ),
        (
            "url('http://u s@h/')",
            r#"error: URL parse error during conversion from string: parse "http://u s@h/": net/url: invalid userinfo"#,
        ),
        (
            "url('//host:bad/')",
            r#"error: URL parse error during conversion from string: parse "//host:bad/": invalid port ":bad" after host"#,
        ),
        (
            "url('/\u{1}')",
            r#"error: URL parse error during conversion from string: parse "/\x01": net/url: invalid control character in URL"#,
        ),
        (
            "url('1http://x')",
            r#"error: URL parse error during conversion from string: parse "1http://x": invalid URI for request"#,
        ),
    ]);
}

#[test]
fn asks_whether_urls_are_urls() {
    check(&[
        ("isURL('https://example.com')", "true"),
        ("isURL('/absolute-path')", "true"),
        ("isURL('//host:bad/')", "true"),
        ("isURL('../relative-path')", "false"),
        ("isURL('https://a:b:c/')", "false"),
        ("isURL('')", "false"),
        ("isURL('a b:c')", "false"),
        ("isURL('http://[::ffff:1.2.3.4]/')", "true"),
    ]);
}

#[test]
fn takes_urls_apart() {
    check(&[
        ("url('https://example.com/').getScheme()", r#""https""#),
        ("url('/path').getScheme()", r#""""#),
        ("url('HTTP://x').getScheme()", r#""http""#),
        ("url('a+b-c.d://x').getScheme()", r#""a+b-c.d""#),
        ("url('mailto:a').getScheme()", r#""mailto""#),
        ("url('//host/x').getScheme()", r#""""#),
        ("url('*').getScheme()", r#""""#),
        ("url('foo:/x').getScheme()", r#""foo""#),
        (
            "url('https://example.com:80/').getHost()",
            r#""example.com:80""#,
        ),
        ("url('https://example.com/').getHost()", r#""example.com""#),
        ("url('https://[::1]:80/').getHost()", r#""[::1]:80""#),
        ("url('https://[::1]/').getHost()", r#""[::1]""#),
        ("url('/path').getHost()", r#""""#),
        ("url('//host/path').getHost()", r#""host""#),
        ("url('http://u@h:1/').getHost()", r#""h:1""#),
        ("url('http://h%C3%BCst/').getHost()", r#""hüst""#),
        (
            "url('https://example.com:80/').getHostname()",
            r#""example.com""#,
        ),
        (
            "url('https://127.0.0.1:80/').getHostname()",
            r#""127.0.0.1""#,
        ),
        ("url('https://[::1]:80/').getHostname()", r#""::1""#),
        ("url('https://[::1]/').getHostname()", r#""::1""#),
        ("url('/path').getHostname()", r#""""#),
        ("url('http://host:/').getHostname()", r#""host""#),
        ("url('foo://a:1,b:2/').getHostname()", r#""a:1,b""#),
        ("url('http:///x').getHostname()", r#""""#),
        ("url('https://example.com:80/').getPort()", r#""80""#),
        ("url('https://example.com/').getPort()", r#""""#),
        ("url('/path').getPort()", r#""""#),
        ("url('http://host:/').getPort()", r#""""#),
        ("url('https://[::1]:80/').getPort()", r#""80""#),
        ("url('https://[::1]/').getPort()", r#""""#),
        ("url('foo://a:1,b:2/').getPort()", r#""2""#),
        ("url('mailto:a:5').getPort()", r#""""#),
        (
            "url('https://example.com/path').getEscapedPath()",
            r#""/path""#,
        ),
        (
            "url('https://example.com/path with spaces/').getEscapedPath()",
            r#""/path%20with%20spaces/""#,
        ),
        ("url('https://example.com').getEscapedPath()", r#""""#),
        ("url('/a%2fb').getEscapedPath()", r#""/a%2fb""#),
        (
            "url('/a;b,c:d@e!$&()*+=~').getEscapedPath()",
            r#""/a;b,c:d@e!$&()*+=~""#,
        ),
        ("url('/[x]').getEscapedPath()", r#""/[x]""#),
        ("url('/ü').getEscapedPath()", r#""/%C3%BC""#),
        ("url('*').getEscapedPath()", r#""*""#),
        ("url('foo:bar').getEscapedPath()", r#""""#),
        ("url('/a#b').getEscapedPath()", r#""/a""#),
        (
            "url('https://example.com/path?k1=a&k2=b&k2=c').getQuery()",
            r#"{"k1": ["a"], "k2": ["b", "c"]}"#,
        ),
        (
            "url('https://example.com/path?key with spaces=value with spaces').getQuery()",
            r#"{"key with spaces": ["value with spaces"]}"#,
        ),
        ("url('https://example.com/path?').getQuery()", "{}"),
        ("url('https://example.com/path').getQuery()", "{}"),
        ("url('/a?b;c=d&e').getQuery()", r#"{"e": [""]}"#),
        (
            "url('/a?a=1&b=&c&=d&&e=%20+').getQuery()",
            r#"{"": ["d"], "a": ["1"], "b": [""], "c": [""], "e": ["  "]}"#,
        ),
        ("url('/a?%61=%62').getQuery()", r#"{"a": ["b"]}"#),
        ("url('/a?b=%zz&d=e').getQuery()", r#"{"d": ["e"]}"#),
    ]);
}

#[test]
fn compares_urls() {
    check(&[
        ("url('http://a') == url('HTTP://a')", "true"),
        ("url('/a%2f') == url('/a%2F')", "false"),
        ("url('/a%41') == url('/aA')", "false"),
        ("url('http://a?') == url('http://a')", "false"),
        ("url('/x y') == url('/x%20y')", "true"),
        (
            "url('http://a#f') == url('http://a#%66')",
            r##"error: URL parse error during conversion from string: parse "http://a#f": invalid character "#" in host name"##,
        ),
        ("url('/a') == url('/b')", "false"),
        ("url('http://u:p@h/') == url('http://u:p@h/')", "true"),
    ]);
}

#[test]
fn reads_no_query_that_has_too_many_parameters() {
    let most = "a&".repeat(9_999);
    assert!(shown(&format!("url('/?{most}').getQuery()")).starts_with(r#"{"a": ["", "#));
    assert_eq!(shown(&format!("url('/?{most}a&').getQuery()")), "{}");
}
