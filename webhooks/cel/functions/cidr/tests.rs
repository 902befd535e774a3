//! What Kubernetes 1.34.4 answers to the same calls.

use crate::cel::functions::tables::check;

#[test]
fn reads_ranges() {
    check(&[
        ("cidr('10.0.0.0/8')", "cidr 10.0.0.0/8"),
        ("cidr('10.1.2.3/8')", "cidr 10.1.2.3/8"),
        ("cidr('0.0.0.0/0')", "cidr 0.0.0.0/0"),
        ("cidr('1.2.3.4/32')", "cidr 1.2.3.4/32"),
        ("cidr('::/0')", "cidr ::/0"),
        ("cidr('2001:DB8::/32')", "cidr 2001:db8::/32"),
        ("cidr('2001:db8::1/128')", "cidr 2001:db8::1/128"),
        ("cidr('::1.2.3.4/100')", "cidr ::102:304/100"),
    ]);
}

#[test]
fn refuses_ranges() {
    check(&[
        (
            "cidr('')",
            r#"error: network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix(""): no '/'"#,
        ),
        (
            "cidr('10.0.0.0')",
            r#"error: network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix("10.0.0.0"): no '/'"#,
        ),
        (
            "cidr('10.0.0.0/')",
            r#"error: network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix("10.0.0.0/"): bad bits after slash: """#,
        ),
        (
            "cidr('10.0.0.0/08')",
            r#"error: network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix("10.0.0.0/08"): bad bits after slash: "08""#,
        ),
        (
            "cidr('10.0.0.0/+8')",
            r#"error: network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix("10.0.0.0/+8"): bad bits after slash: "+8""#,
        ),
        (
            "cidr('10.0.0.0/33')",
            r#"error: network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix("10.0.0.0/33"): prefix length out of range"#,
        ),
        (
            "cidr('::1/129')",
            r#"error: network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix("::1/129"): prefix length out of range"#,
        ),
        (
            "cidr('10.0.0.0/x')",
            r#"error: network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix("10.0.0.0/x"): bad bits after slash: "x""#,
        ),
        (
            "cidr('10.0.0.256/8')",
            r#"error: network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix("10.0.0.256/8"): ParseAddr("10.0.0.256"): IPv4 field has value >255"#,
        ),
        (
            "cidr('10.0.0.0/8/8')",
            r#"error: network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix("10.0.0.0/8/8"): ParseAddr("10.0.0.0/8"): unexpected character (at "/8")"#,
        ),
        (
            "cidr('fe80::1%eth0/64')",
            r#"error: network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix("fe80::1%eth0/64"): IPv6 zones cannot be present in a prefix"#,
        ),
        (
            "cidr('::ffff:1.2.3.4/100')",
            r#"error: network address parse error during conversion from string: IPv4-mapped IPv6 address "::ffff:1.2.3.4/100" is not allowed"#,
        ),
        (
            "cidr('10.0.0.0/99999999999999999999')",
            r#"error: network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix("10.0.0.0/99999999999999999999"): bad bits after slash: "99999999999999999999""#,
        ),
        (
            "cidr('10.0.0.0/999999999999999999')",
            r#"error: network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix("10.0.0.0/999999999999999999"): prefix length out of range"#,
        ),
    ]);
}

#[test]
fn asks_whether_ranges_are_ranges() {
    check(&[
        ("isCIDR('10.0.0.0/8')", "true"),
        ("isCIDR('::/0')", "true"),
        ("isCIDR('10.0.0.0')", "false"),
        ("isCIDR('10.0.0.0/33')", "false"),
        ("isCIDR('10.0.0.0/00')", "false"),
        ("isCIDR('10.0.0.0/0')", "true"),
        ("isCIDR('::ffff:1.2.3.4/100')", "false"),
        ("isCIDR('fe80::1%eth0/64')", "false"),
    ]);
}

#[test]
fn finds_addresses_in_ranges() {
    check(&[
        ("cidr('10.0.0.0/8').containsIP('10.1.2.3')", "true"),
        ("cidr('10.0.0.0/8').containsIP('11.1.2.3')", "false"),
        ("cidr('10.0.0.0/8').containsIP(ip('10.1.2.3'))", "true"),
        ("cidr('10.0.0.0/8').containsIP('::1')", "false"),
        ("cidr('0.0.0.0/0').containsIP(ip('1.2.3.4'))", "true"),
        ("cidr('::/0').containsIP(ip('1.2.3.4'))", "false"),
        (
            "cidr('2001:db8::/32').containsIP('2001:db8:ffff::1')",
            "true",
        ),
        (
            "cidr('2001:db8::ff00:1/121').containsIP(ip('2001:db8::ff00:80'))",
            "false",
        ),
        ("cidr('1.2.3.4/32').containsIP('1.2.3.4')", "true"),
        (
            "cidr('10.0.0.0/8').containsIP('x')",
            "error: no such overload",
        ),
        (
            "cidr('::/0').containsIP('fe80::1%eth0')",
            "error: no such overload",
        ),
    ]);
}

#[test]
fn finds_ranges_in_ranges() {
    check(&[
        ("cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')", "true"),
        ("cidr('10.0.0.0/8').containsCIDR('10.0.0.0/8')", "true"),
        ("cidr('10.0.0.0/8').containsCIDR('10.0.0.0/7')", "false"),
        (
            "cidr('10.0.0.0/8').containsCIDR(cidr('11.0.0.0/16'))",
            "false",
        ),
        (
            "cidr('10.9.9.9/8').containsCIDR(cidr('10.1.2.3/32'))",
            "true",
        ),
        ("cidr('0.0.0.0/0').containsCIDR('::/0')", "false"),
        ("cidr('::/0').containsCIDR(cidr('2001:db8::/32'))", "true"),
        (
            "cidr('10.0.0.0/8').containsCIDR('x')",
            r#"error: network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix("x"): no '/'"#,
        ),
    ]);
}

#[test]
fn takes_ranges_apart() {
    check(&[
        ("cidr('10.1.2.3/8').ip()", "ip 10.1.2.3"),
        ("cidr('0.0.0.0/0').ip()", "ip 0.0.0.0"),
        ("cidr('1.2.3.4/31').ip()", "ip 1.2.3.4"),
        ("cidr('2001:db8::ff01/120').ip()", "ip 2001:db8::ff01"),
        ("cidr('ffff::1/0').ip()", "ip ffff::1"),
        ("cidr('::1/128').ip()", "ip ::1"),
        ("cidr('192.168.1.1/32').ip()", "ip 192.168.1.1"),
        ("cidr('2001:db8:1:2::3/63').ip()", "ip 2001:db8:1:2::3"),
        ("cidr('10.1.2.3/8').prefixLength()", "8"),
        ("cidr('0.0.0.0/0').prefixLength()", "0"),
        ("cidr('1.2.3.4/31').prefixLength()", "31"),
        ("cidr('2001:db8::ff01/120').prefixLength()", "120"),
        ("cidr('ffff::1/0').prefixLength()", "0"),
        ("cidr('::1/128').prefixLength()", "128"),
        ("cidr('192.168.1.1/32').prefixLength()", "32"),
        ("cidr('2001:db8:1:2::3/63').prefixLength()", "63"),
        ("cidr('10.1.2.3/8').masked()", "cidr 10.0.0.0/8"),
        ("cidr('0.0.0.0/0').masked()", "cidr 0.0.0.0/0"),
        ("cidr('1.2.3.4/31').masked()", "cidr 1.2.3.4/31"),
        (
            "cidr('2001:db8::ff01/120').masked()",
            "cidr 2001:db8::ff00/120",
        ),
        ("cidr('ffff::1/0').masked()", "cidr ::/0"),
        ("cidr('::1/128').masked()", "cidr ::1/128"),
        ("cidr('192.168.1.1/32').masked()", "cidr 192.168.1.1/32"),
        (
            "cidr('2001:db8:1:2::3/63').masked()",
            "cidr 2001:db8:1:2::/63",
        ),
    ]);
}

#[test]
fn writes_and_compares_ranges() {
    check(&[
        ("string(cidr('10.1.2.3/8'))", r#""10.1.2.3/8""#),
        ("string(cidr('2001:DB8::/32'))", r#""2001:db8::/32""#),
        ("cidr('10.0.0.0/8') == cidr('10.0.0.0/8')", "true"),
        ("cidr('10.0.0.0/8') == cidr('10.0.0.1/8')", "false"),
        ("cidr('10.0.0.0/8') == cidr('10.0.0.0/9')", "false"),
        ("cidr('10.0.0.0/8') == cidr('10.0.0.1/8').masked()", "true"),
        ("cidr('::/0') == cidr('0.0.0.0/0')", "false"),
        ("cidr('2001:DB8::/32') == cidr('2001:db8:0::/32')", "true"),
    ]);
}
