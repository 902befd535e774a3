//! What Kubernetes 1.34.4 answers to the same calls.

use crate::cel::functions::tables::check;

#[test]
fn refuses_versions() {
    check(&[
        ("semver('')", "error: Version string empty"),
        ("semver('1')", "error: No Major.Minor.Patch elements found"),
        (
            "semver('1.0')",
            "error: No Major.Minor.Patch elements found",
        ),
        (
            "semver('v1.2.3')",
            r#"error: Invalid character(s) found in major number "v1""#,
        ),
        (
            "semver('a.b.c')",
            r#"error: Invalid character(s) found in major number "a""#,
        ),
        (
            "semver('1.b.c')",
            r#"error: Invalid character(s) found in minor number "b""#,
        ),
        (
            "semver('1.2.c')",
            r#"error: Invalid character(s) found in patch number "c""#,
        ),
        (
            "semver('01.2.3')",
            r#"error: Major number must not contain leading zeroes "01""#,
        ),
        (
            "semver('1.02.3')",
            r#"error: Minor number must not contain leading zeroes "02""#,
        ),
        (
            "semver('1.2.03')",
            r#"error: Patch number must not contain leading zeroes "03""#,
        ),
        (
            "semver('1..2')",
            r#"error: strconv.ParseUint: parsing "": invalid syntax"#,
        ),
        (
            "semver('1.2.')",
            r#"error: strconv.ParseUint: parsing "": invalid syntax"#,
        ),
        (
            "semver('99999999999999999999.0.0')",
            r#"error: strconv.ParseUint: parsing "99999999999999999999": value out of range"#,
        ),
        ("semver('1.2.3-')", "error: Prerelease is empty"),
        (
            "semver('1.2.3-01')",
            r#"error: Numeric PreRelease version must not contain leading zeroes "01""#,
        ),
        ("semver('1.2.3-a..b')", "error: Prerelease is empty"),
        (
            "semver('1.2.3-é')",
            r#"error: Invalid character(s) found in prerelease "é""#,
        ),
        (
            "semver('1.2.3-99999999999999999999')",
            r#"error: strconv.ParseUint: parsing "99999999999999999999": value out of range"#,
        ),
        ("semver('1.2.3+')", "error: Build meta data is empty"),
        (
            "semver('1.2.3+a_b')",
            r#"error: Invalid character(s) found in build meta data "a_b""#,
        ),
        (
            "semver('1.2.3.4')",
            r#"error: Invalid character(s) found in patch number "3.4""#,
        ),
    ]);
}

#[test]
fn normalizes_versions() {
    check(&[
        ("semver('v1.2.3', true).major()", "1"),
        ("semver('v1', true).minor()", "0"),
        ("semver('01.02.03', true).patch()", "3"),
        ("semver('1.0', true).patch()", "0"),
        ("semver('00.00.00-x', true).major()", "0"),
        ("semver('1.2.3', false).patch()", "3"),
        (
            "semver('v1.2.3', false).major()",
            r#"error: Invalid character(s) found in major number "v1""#,
        ),
        (
            "semver('1.0-alpha', true).major()",
            "error: short version cannot contain PreRelease/Build meta data",
        ),
        (
            "semver('v', true).major()",
            r#"error: strconv.ParseUint: parsing "": invalid syntax"#,
        ),
        (
            "semver('vv1', true).major()",
            r#"error: Invalid character(s) found in major number "0v1""#,
        ),
    ]);
}

#[test]
fn asks_whether_versions_are_versions() {
    check(&[
        ("isSemver('1.2.3')", "true"),
        ("isSemver('1.2.3-alpha.1+b.2')", "true"),
        ("isSemver('1.2')", "false"),
        ("isSemver('v1.2.3')", "false"),
        ("isSemver('01.2.3')", "false"),
        ("isSemver('')", "false"),
        ("isSemver('1.2.3-01')", "false"),
        ("isSemver('1.2.3+01')", "true"),
        ("isSemver('1.2', true)", "true"),
        ("isSemver('v1.2.3', true)", "true"),
        ("isSemver('01.2.3', true)", "true"),
        ("isSemver('', true)", "false"),
        ("isSemver('1.2', false)", "false"),
        ("isSemver('1-a', true)", "false"),
        ("isSemver('1.2.3-01', true)", "false"),
        ("isSemver('x', true)", "false"),
    ]);
}

#[test]
fn takes_versions_apart() {
    check(&[
        ("semver('1.2.3').major()", "1"),
        ("semver('0.0.0').major()", "0"),
        ("semver('10.20.30-a.1+b').major()", "10"),
        (
            "semver('18446744073709551615.9223372036854775808.9223372036854775807').major()",
            "-1",
        ),
        ("semver('1.2.3-4').major()", "1"),
        ("semver('1.2.3+4').major()", "1"),
        ("semver('7.8.9--').major()", "7"),
        ("semver('4.5.6-0a').major()", "4"),
        ("semver('1.2.3').minor()", "2"),
        ("semver('0.0.0').minor()", "0"),
        ("semver('10.20.30-a.1+b').minor()", "20"),
        (
            "semver('18446744073709551615.9223372036854775808.9223372036854775807').minor()",
            "-9223372036854775808",
        ),
        ("semver('1.2.3-4').minor()", "2"),
        ("semver('1.2.3+4').minor()", "2"),
        ("semver('7.8.9--').minor()", "8"),
        ("semver('4.5.6-0a').minor()", "5"),
        ("semver('1.2.3').patch()", "3"),
        ("semver('0.0.0').patch()", "0"),
        ("semver('10.20.30-a.1+b').patch()", "30"),
        (
            "semver('18446744073709551615.9223372036854775808.9223372036854775807').patch()",
            "9223372036854775807",
        ),
        ("semver('1.2.3-4').patch()", "3"),
        ("semver('1.2.3+4').patch()", "3"),
        ("semver('7.8.9--').patch()", "9"),
        ("semver('4.5.6-0a').patch()", "6"),
    ]);
}

#[test]
fn compares_versions() {
    check(&[
        ("semver('1.0.0').compareTo(semver('1.0.0'))", "0"),
        ("semver('1.0.0').compareTo(semver('1.0.1'))", "-1"),
        ("semver('1.10.0').compareTo(semver('1.9.0'))", "1"),
        ("semver('2.0.0').compareTo(semver('1.9.9'))", "1"),
        ("semver('1.0.0-alpha').compareTo(semver('1.0.0'))", "-1"),
        (
            "semver('1.0.0-alpha').compareTo(semver('1.0.0-alpha.1'))",
            "-1",
        ),
        (
            "semver('1.0.0-alpha.1').compareTo(semver('1.0.0-alpha.beta'))",
            "-1",
        ),
        (
            "semver('1.0.0-beta.2').compareTo(semver('1.0.0-beta.11'))",
            "-1",
        ),
        (
            "semver('1.0.0-rc.1').compareTo(semver('1.0.0-beta.11'))",
            "1",
        ),
        ("semver('1.0.0+a').compareTo(semver('1.0.0+b'))", "0"),
        ("semver('1.0.0-A').compareTo(semver('1.0.0-a'))", "-1"),
        ("semver('1.0.0').isGreaterThan(semver('1.0.0'))", "false"),
        ("semver('1.0.0').isGreaterThan(semver('1.0.1'))", "false"),
        ("semver('1.10.0').isGreaterThan(semver('1.9.0'))", "true"),
        ("semver('2.0.0').isGreaterThan(semver('1.9.9'))", "true"),
        (
            "semver('1.0.0-alpha').isGreaterThan(semver('1.0.0'))",
            "false",
        ),
        (
            "semver('1.0.0-alpha').isGreaterThan(semver('1.0.0-alpha.1'))",
            "false",
        ),
        (
            "semver('1.0.0-alpha.1').isGreaterThan(semver('1.0.0-alpha.beta'))",
            "false",
        ),
        (
            "semver('1.0.0-beta.2').isGreaterThan(semver('1.0.0-beta.11'))",
            "false",
        ),
        (
            "semver('1.0.0-rc.1').isGreaterThan(semver('1.0.0-beta.11'))",
            "true",
        ),
        (
            "semver('1.0.0+a').isGreaterThan(semver('1.0.0+b'))",
            "false",
        ),
        (
            "semver('1.0.0-A').isGreaterThan(semver('1.0.0-a'))",
            "false",
        ),
        ("semver('1.0.0').isLessThan(semver('1.0.0'))", "false"),
        ("semver('1.0.0').isLessThan(semver('1.0.1'))", "true"),
        ("semver('1.10.0').isLessThan(semver('1.9.0'))", "false"),
        ("semver('2.0.0').isLessThan(semver('1.9.9'))", "false"),
        ("semver('1.0.0-alpha').isLessThan(semver('1.0.0'))", "true"),
        (
            "semver('1.0.0-alpha').isLessThan(semver('1.0.0-alpha.1'))",
            "true",
        ),
        (
            "semver('1.0.0-alpha.1').isLessThan(semver('1.0.0-alpha.beta'))",
            "true",
        ),
        (
            "semver('1.0.0-beta.2').isLessThan(semver('1.0.0-beta.11'))",
            "true",
        ),
        (
            "semver('1.0.0-rc.1').isLessThan(semver('1.0.0-beta.11'))",
            "false",
        ),
        ("semver('1.0.0+a').isLessThan(semver('1.0.0+b'))", "false"),
        ("semver('1.0.0-A').isLessThan(semver('1.0.0-a'))", "true"),
        ("semver('1.0.0') == semver('1.0.0')", "true"),
        ("semver('1.0.0') == semver('1.0.1')", "false"),
        ("semver('1.10.0') == semver('1.9.0')", "false"),
        ("semver('2.0.0') == semver('1.9.9')", "false"),
        ("semver('1.0.0-alpha') == semver('1.0.0')", "false"),
        ("semver('1.0.0-alpha') == semver('1.0.0-alpha.1')", "false"),
        (
            "semver('1.0.0-alpha.1') == semver('1.0.0-alpha.beta')",
            "false",
        ),
        ("semver('1.0.0-beta.2') == semver('1.0.0-beta.11')", "false"),
        ("semver('1.0.0-rc.1') == semver('1.0.0-beta.11')", "false"),
        ("semver('1.0.0+a') == semver('1.0.0+b')", "true"),
        ("semver('1.0.0-A') == semver('1.0.0-a')", "false"),
    ]);
}
