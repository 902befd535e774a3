//! What Kubernetes 1.34.4 answers to the same calls.

use crate::cel::functions::tables::check;

#[test]
fn reads_addresses() {
    check(&[
        ("ip('127.0.0.1')", "ip 127.0.0.1"),
        ("ip('::1')", "ip ::1"),
        ("ip('2001:DB8::1')", "ip 2001:db8::1"),
        ("ip('1:2:3:4:5:6:7::')", "ip 1:2:3:4:5:6:7:0"),
        ("ip('::2:3:4:5:6:7:8')", "ip 0:2:3:4:5:6:7:8"),
        ("ip('fe80:0:0:0:1:0:0:1')", "ip fe80::1:0:0:1"),
        ("ip('::1.2.3.4')", "ip ::102:304"),
        ("ip('1:2:3:4:5:6:1.2.3.4')", "ip 1:2:3:4:5:6:102:304"),
    ]);
}

#[test]
fn refuses_addresses() {
    check(&[
        (
            "ip('')",
            r#"error: IP Address "" parse error during conversion from string: ParseAddr(""): unable to parse IP"#,
        ),
        (
            "ip('abc')",
            r#"error: IP Address "abc" parse error during conversion from string: ParseAddr("abc"): unable to parse IP"#,
        ),
        (
            "ip('%x')",
            r#"error: IP Address "%x" parse error during conversion from string: ParseAddr("%x"): missing IPv6 address"#,
        ),
        (
            "ip('127.0.0.01')",
            r#"error: IP Address "127.0.0.01" parse error during conversion from string: ParseAddr("127.0.0.01"): IPv4 field has octet with leading zero"#,
        ),
        (
            "ip('127.0.0.256')",
            r#"error: IP Address "127.0.0.256" parse error during conversion from string: ParseAddr("127.0.0.256"): IPv4 field has value >255"#,
        ),
        (
            "ip('1.2.3')",
            r#"error: IP Address "1.2.3" parse error during conversion from string: ParseAddr("1.2.3"): IPv4 address too short"#,
        ),
        (
            "ip('1.2.3.4.5')",
            r#"error: IP Address "1.2.3.4.5" parse error during conversion from string: ParseAddr("1.2.3.4.5"): IPv4 address too long"#,
        ),
        (
            "ip('1..2.3')",
            r#"error: IP Address "1..2.3" parse error during conversion from string: ParseAddr("1..2.3"): IPv4 field must have at least one digit (at ".2.3")"#,
        ),
        (
            "ip('1.2.3.')",
            r#"error: IP Address "1.2.3." parse error during conversion from string: ParseAddr("1.2.3."): IPv4 field must have at least one digit (at ".")"#,
        ),
        (
            "ip('1.2.3.é')",
            r#"error: IP Address "1.2.3.é" parse error during conversion from string: ParseAddr("1.2.3.é"): unexpected character (at "é")"#,
        ),
        (
            "ip('::ffff:1.2.3.4')",
            r#"error: IPv4-mapped IPv6 address "::ffff:1.2.3.4" is not allowed"#,
        ),
        (
            "ip('fe80::1%eth0')",
            r#"error: IP address "fe80::1%eth0" with zone value is not allowed"#,
        ),
        (
            "ip('fe80::1%')",
            r#"error: IP Address "fe80::1%" parse error during conversion from string: ParseAddr("fe80::1%"): zone must be a non-empty string"#,
        ),
        (
            "ip('12345::')",
            r#"error: IP Address "12345::" parse error during conversion from string: ParseAddr("12345::"): each group must have 4 or less digits (at "12345::")"#,
        ),
        (
            "ip('g::')",
            r#"error: IP Address "g::" parse error during conversion from string: ParseAddr("g::"): each colon-separated field must have at least one digit (at "g::")"#,
        ),
        (
            "ip('1:')",
            r#"error: IP Address "1:" parse error during conversion from string: ParseAddr("1:"): colon must be followed by more characters (at ":")"#,
        ),
        (
            "ip('1:2')",
            r#"error: IP Address "1:2" parse error during conversion from string: ParseAddr("1:2"): address string too short"#,
        ),
        (
            "ip('1::2::3')",
            r#"error: IP Address "1::2::3" parse error during conversion from string: ParseAddr("1::2::3"): multiple :: in address (at ":3")"#,
        ),
        (
            "ip('1:2:3:4:5:6:7:8:9')",
            r#"error: IP Address "1:2:3:4:5:6:7:8:9" parse error during conversion from string: ParseAddr("1:2:3:4:5:6:7:8:9"): trailing garbage after address (at "9")"#,
        ),
        (
            "ip('::2:3:4:5:6:7:8:9')",
            r#"error: IP Address "::2:3:4:5:6:7:8:9" parse error during conversion from string: ParseAddr("::2:3:4:5:6:7:8:9"): the :: must expand to at least one field of zeros"#,
        ),
        (
            "ip('1:2:3:4:5:6:7:1.2.3.4')",
            r#"error: IP Address "1:2:3:4:5:6:7:1.2.3.4" parse error during conversion from string: ParseAddr("1:2:3:4:5:6:7:1.2.3.4"): embedded IPv4 address must replace the final 2 fields of the address (at "1.2.3.4")"#,
        ),
        (
            "ip('1:2:1.2.3.4')",
            r#"error: IP Address "1:2:1.2.3.4" parse error during conversion from string: ParseAddr("1:2:1.2.3.4"): embedded IPv4 address must replace the final 2 fields of the address (at "1.2.3.4")"#,
        ),
        (
            "ip('1x:')",
            r#"error: IP Address "1x:" parse error during conversion from string: ParseAddr("1x:"): unexpected character, want colon (at "x:")"#,
        ),
    ]);
}

#[test]
fn asks_whether_addresses_are_addresses() {
    check(&[
        ("isIP('127.0.0.1')", "true"),
        ("isIP('::')", "true"),
        ("isIP('::ffff:1.2.3.4')", "false"),
        ("isIP('fe80::1%eth0')", "false"),
        ("isIP('127.0.0.01')", "false"),
        ("isIP('')", "false"),
        ("isIP('1.2.3.4/8')", "false"),
        ("isIP('2001:db8::abcd')", "true"),
    ]);
}

#[test]
fn asks_whether_addresses_are_canonical() {
    check(&[
        ("ip.isCanonical('127.0.0.1')", "true"),
        ("ip.isCanonical('::1')", "true"),
        ("ip.isCanonical('2001:DB8::1')", "false"),
        ("ip.isCanonical('2001:db8:0::1')", "false"),
        ("ip.isCanonical('::1.2.3.4')", "false"),
        ("ip.isCanonical('1:0:0:2:0:0:0:3')", "false"),
        ("ip.isCanonical('1:0:0:2::3')", "true"),
        (
            "ip.isCanonical('x')",
            r#"error: IP Address "x" parse error during conversion from string: ParseAddr("x"): unable to parse IP"#,
        ),
    ]);
}

#[test]
fn asks_addresses() {
    check(&[
        ("ip('127.0.0.1').family()", "4"),
        ("ip('::1').family()", "6"),
        ("ip('0.0.0.0').isUnspecified()", "true"),
        ("ip('::').isUnspecified()", "true"),
        ("ip('0.0.0.1').isUnspecified()", "false"),
        ("ip('::1').isUnspecified()", "false"),
        ("ip('127.0.0.1').isLoopback()", "true"),
        ("ip('127.1.2.3').isLoopback()", "true"),
        ("ip('::1').isLoopback()", "true"),
        ("ip('128.0.0.1').isLoopback()", "false"),
        ("ip('::2').isLoopback()", "false"),
        ("ip('224.0.0.1').isLinkLocalMulticast()", "true"),
        ("ip('224.0.1.1').isLinkLocalMulticast()", "false"),
        ("ip('ff02::1').isLinkLocalMulticast()", "true"),
        ("ip('ff12::1').isLinkLocalMulticast()", "true"),
        ("ip('ff05::1').isLinkLocalMulticast()", "false"),
        ("ip('10.0.0.1').isLinkLocalMulticast()", "false"),
        ("ip('169.254.1.1').isLinkLocalUnicast()", "true"),
        ("ip('169.253.1.1').isLinkLocalUnicast()", "false"),
        ("ip('fe80::1').isLinkLocalUnicast()", "true"),
        ("ip('febf::1').isLinkLocalUnicast()", "true"),
        ("ip('fec0::1').isLinkLocalUnicast()", "false"),
        ("ip('::1').isLinkLocalUnicast()", "false"),
        ("ip('10.0.0.1').isGlobalUnicast()", "true"),
        ("ip('255.255.255.255').isGlobalUnicast()", "false"),
        ("ip('0.0.0.0').isGlobalUnicast()", "false"),
        ("ip('127.0.0.1').isGlobalUnicast()", "false"),
        ("ip('224.0.0.1').isGlobalUnicast()", "false"),
        ("ip('169.254.1.1').isGlobalUnicast()", "false"),
        ("ip('2001:db8::1').isGlobalUnicast()", "true"),
        ("ip('fc00::1').isGlobalUnicast()", "true"),
        ("ip('ff02::1').isGlobalUnicast()", "false"),
        ("ip('::').isGlobalUnicast()", "false"),
    ]);
}

#[test]
fn writes_and_compares_addresses() {
    check(&[
        ("string(ip('127.0.0.1'))", r#""127.0.0.1""#),
        ("string(ip('2001:DB8:0::1'))", r#""2001:db8::1""#),
        ("string(ip('1:0:0:2:0:0:0:3'))", r#""1:0:0:2::3""#),
        ("string(ip('::1.2.3.4'))", r#""::102:304""#),
        ("ip('1.2.3.4') == ip('1.2.3.4')", "true"),
        ("ip('::') == ip('0.0.0.0')", "false"),
        ("ip('2001:DB8::1') == ip('2001:db8:0::1')", "true"),
        ("ip('1.2.3.4') == ip('1.2.3.5')", "false"),
    ]);
}
