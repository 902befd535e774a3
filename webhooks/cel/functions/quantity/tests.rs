//! What Kubernetes 1.34.4 answers to the same calls.

use crate::cel::functions::tables::{check, shown};

#[test]
fn refuses_quantities() {
    check(&[
        (
            "quantity('')",
            "error: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            "quantity('abc')",
            "error: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            "quantity('1 ')",
            "error: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            "quantity('1.2.3')",
            "error: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        ("quantity('1e')", "error: unable to parse quantity's suffix"),
        ("quantity('1K')", "error: unable to parse quantity's suffix"),
        (
            "quantity('1mi')",
            "error: unable to parse quantity's suffix",
        ),
        (
            "quantity('1e5e')",
            "error: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            "quantity('1é')",
            "error: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            "quantity('１')",
            "error: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        ("quantity('1i')", "error: unable to parse quantity's suffix"),
        (
            "quantity('.e-10')",
            "error: unable to parse numeric part of quantity",
        ),
        (
            "quantity('1e99999999999999999999')",
            "error: unable to parse quantity's suffix",
        ),
        (
            "quantity('+-1')",
            "error: unable to parse quantity's suffix",
        ),
    ]);
}

#[test]
fn asks_whether_quantities_are_quantities() {
    check(&[
        ("isQuantity('1.5Gi')", "true"),
        ("isQuantity('100m')", "true"),
        ("isQuantity('12e6')", "true"),
        ("isQuantity('1.')", "true"),
        ("isQuantity('-')", "true"),
        ("isQuantity('+.5')", "true"),
        ("isQuantity('1K')", "false"),
        ("isQuantity('1e+')", "false"),
        ("isQuantity('')", "false"),
        ("isQuantity('1Gi ')", "false"),
        ("isQuantity('1E')", "true"),
        ("isQuantity('1Ei')", "true"),
    ]);
}

#[test]
fn tells_signs() {
    check(&[
        ("sign(quantity('0'))", "0"),
        ("sign(quantity('1'))", "1"),
        ("sign(quantity('-1'))", "-1"),
        ("sign(quantity('-0'))", "0"),
        ("sign(quantity('-0.0'))", "0"),
        ("sign(quantity('0.1n'))", "1"),
        ("sign(quantity('-0.1n'))", "-1"),
        ("sign(quantity('-9Ei'))", "-1"),
        ("sign(quantity('0Ki'))", "0"),
        ("sign(quantity('-'))", "0"),
        ("sign(quantity('1e-400'))", "1"),
    ]);
}

#[test]
fn knows_whole_numbers() {
    check(&[
        ("quantity('1').isInteger()", "true"),
        ("quantity('1.5').isInteger()", "false"),
        ("quantity('1.0').isInteger()", "false"),
        ("quantity('1k').isInteger()", "true"),
        ("quantity('1Ki').isInteger()", "true"),
        ("quantity('1.5Ki').isInteger()", "false"),
        ("quantity('1e3').isInteger()", "true"),
        ("quantity('1e18').isInteger()", "true"),
        ("quantity('1e19').isInteger()", "false"),
        ("quantity('9223372036854775807').isInteger()", "false"),
        ("quantity('1Ei').isInteger()", "false"),
        ("quantity('7Ei').isInteger()", "false"),
        ("quantity('1000m').isInteger()", "false"),
        ("quantity('0e400').isInteger()", "true"),
        ("quantity('123456789012345678').isInteger()", "true"),
        ("quantity('1234567890123456789').isInteger()", "false"),
        ("quantity('1').asInteger()", "1"),
        ("quantity('-1').asInteger()", "-1"),
        ("quantity('1k').asInteger()", "1000"),
        ("quantity('1Ki').asInteger()", "1024"),
        ("quantity('12e6').asInteger()", "12000000"),
        ("quantity('5G').asInteger()", "5000000000"),
        ("quantity('2Gi').asInteger()", "2147483648"),
        (
            "quantity('1.5').asInteger()",
            "error: cannot convert value to integer",
        ),
        (
            "quantity('1000m').asInteger()",
            "error: cannot convert value to integer",
        ),
        (
            "quantity('1e19').asInteger()",
            "error: cannot convert value to integer",
        ),
        (
            "quantity('9223372036854775807').asInteger()",
            "error: cannot convert value to integer",
        ),
        ("quantity('-0').asInteger()", "0"),
    ]);
}

#[test]
fn makes_floats() {
    check(&[
        ("quantity('0').asApproximateFloat()", "double 0"),
        ("quantity('1.5').asApproximateFloat()", "double 1.5"),
        (
            "quantity('-1.5Gi').asApproximateFloat()",
            "double -1.610612736e+09",
        ),
        ("quantity('100m').asApproximateFloat()", "double 0.1"),
        ("quantity('1n').asApproximateFloat()", "double 1e-09"),
        ("quantity('0.1n').asApproximateFloat()", "double 1e-09"),
        ("quantity('-0.1n').asApproximateFloat()", "double -1e-09"),
        (
            "quantity('0.0000000001').asApproximateFloat()",
            "double 1e-09",
        ),
        ("quantity('1e308').asApproximateFloat()", "double 1e+308"),
        ("quantity('1e309').asApproximateFloat()", "double +Inf"),
        ("quantity('0e400').asApproximateFloat()", "double NaN"),
        ("quantity('1e-400').asApproximateFloat()", "double 1e-09"),
        (
            "quantity('9Ei').asApproximateFloat()",
            "double 9.223372036854776e+18",
        ),
        (
            "quantity('-9Ei').asApproximateFloat()",
            "double -9.223372036854776e+18",
        ),
        (
            "quantity('8Ei').asApproximateFloat()",
            "double 9.223372036854776e+18",
        ),
        ("quantity('10E').asApproximateFloat()", "double 1e+19"),
        (
            "quantity('1234567890123456789e400').asApproximateFloat()",
            "double +Inf",
        ),
        (
            "quantity('0.3').asApproximateFloat()",
            "double 0.30000000000000004",
        ),
        (
            "quantity('1234567890123456789.1234567891').asApproximateFloat()",
            "double 1.234567890123457e+18",
        ),
    ]);
}

#[test]
fn adds_quantities() {
    check(&[
        ("quantity('1').add(quantity('1')).asInteger()", "2"),
        (
            "quantity('1.5').add(quantity('1.5')).asInteger()",
            "error: cannot convert value to integer",
        ),
        (
            "quantity('1Gi').add(quantity('1M')).asInteger()",
            "1074741824",
        ),
        (
            "quantity('0').add(quantity('1.5Ki')).asApproximateFloat()",
            "double 1536",
        ),
        ("quantity('1k').add(1).asInteger()", "1001"),
        (
            "quantity('9223372036854775807').add(1).isInteger()",
            "false",
        ),
        (
            "quantity('9223372036854775807').add(1).asApproximateFloat()",
            "double 9.223372036854776e+18",
        ),
        ("quantity('1').add(-2).asInteger()", "-1"),
        (
            "quantity('1n').add(quantity('1E')).asApproximateFloat()",
            "double 1.0000000000000001e+18",
        ),
        ("quantity('1').sub(quantity('1')).asInteger()", "0"),
        (
            "quantity('1').sub(quantity('1.5')).asApproximateFloat()",
            "double -0.5",
        ),
        ("quantity('1k').sub(1).asInteger()", "999"),
        (
            "quantity('1').sub(-9223372036854775808).asApproximateFloat()",
            "double -9.223372036854776e+18",
        ),
        (
            "quantity('0').sub(-9223372036854775808).asInteger()",
            "-9223372036854775808",
        ),
        (
            "quantity('-1').sub(-9223372036854775808).isInteger()",
            "false",
        ),
        ("quantity('10E').sub(quantity('10E')).isInteger()", "true"),
        (
            "quantity('1.0000000001').add(quantity('1')).asApproximateFloat()",
            "double 2.000000001",
        ),
        (
            "quantity('1e20').sub(quantity('1e20')).asApproximateFloat()",
            "double 0",
        ),
        (
            "quantity('5m').sub(quantity('4m')).asApproximateFloat()",
            "double 0.001",
        ),
    ]);
}

#[test]
fn compares_quantities() {
    check(&[
        ("quantity('1').compareTo(quantity('1'))", "0"),
        ("quantity('1').compareTo(quantity('1000m'))", "0"),
        ("quantity('1k').compareTo(quantity('1Ki'))", "-1"),
        ("quantity('-1').compareTo(quantity('1'))", "-1"),
        ("quantity('-1Ki').compareTo(quantity('-1k'))", "-1"),
        ("quantity('0').compareTo(quantity('-0.0'))", "0"),
        ("quantity('1e400').compareTo(quantity('1'))", "1"),
        ("quantity('0e400').compareTo(quantity('1n'))", "-1"),
        ("quantity('9Ei').compareTo(quantity('8Ei'))", "0"),
        (
            "quantity('9223372036854775807n').compareTo(quantity('9223372036854775808n'))",
            "-1",
        ),
        (
            "quantity('123456789012345678901234567890').compareTo(quantity('123456789012345678901234567890.0'))",
            "0",
        ),
        ("quantity('1Gi').isGreaterThan(quantity('1G'))", "true"),
        ("quantity('1G').isGreaterThan(quantity('1Gi'))", "false"),
        ("quantity('1').isGreaterThan(quantity('1'))", "false"),
        ("quantity('0.1n').isGreaterThan(quantity('0'))", "true"),
        ("quantity('-1').isGreaterThan(quantity('-2'))", "true"),
        ("quantity('1e19').isGreaterThan(quantity('1e18'))", "true"),
        ("quantity('1m').isGreaterThan(quantity('1u'))", "true"),
        ("quantity('1').isGreaterThan(quantity('2'))", "false"),
        ("quantity('1M').isLessThan(quantity('1Mi'))", "true"),
        ("quantity('1Mi').isLessThan(quantity('1M'))", "false"),
        ("quantity('1').isLessThan(quantity('1'))", "false"),
        ("quantity('-0.1n').isLessThan(quantity('0'))", "true"),
        ("quantity('-2').isLessThan(quantity('-1'))", "true"),
        ("quantity('1e18').isLessThan(quantity('1e19'))", "true"),
        ("quantity('1u').isLessThan(quantity('1m'))", "true"),
        ("quantity('2').isLessThan(quantity('1'))", "false"),
        ("quantity('1') == quantity('1000m')", "true"),
        ("quantity('1k') == quantity('1Ki')", "false"),
        ("quantity('1e19') == quantity('10E')", "true"),
    ]);
}

/// The API server would count to numbers that no machine holds.
#[test]
fn stops_at_numbers_that_nobody_can_hold() {
    let stopped = "stopped: it makes more than 8 MiB of values";
    check(&[
        ("quantity('1e999999999')", "quantity"),
        ("quantity('1e999999999').isInteger()", "false"),
        ("quantity('0e999999999').isInteger()", "true"),
        (
            "quantity('1e999999999').asApproximateFloat()",
            "double +Inf",
        ),
        ("quantity('1e999999999').compareTo(quantity('1'))", "1"),
        ("quantity('-1e999999999').compareTo(quantity('1e-9'))", "-1"),
        ("quantity('1e999999999').add(quantity('1'))", stopped),
        ("quantity('1').sub(quantity('1e999999999'))", stopped),
        ("quantity('1234567890123456789e999999999')", stopped),
        ("isQuantity('1234567890123456789e2147483647')", stopped),
        ("quantity('1e-2147483648').compareTo(quantity('1n'))", "0"),
        (
            "quantity('1e-2147483648').asApproximateFloat()",
            "double 1e-09",
        ),
    ]);
    let digits = "9".repeat(1 << 20);
    for (expression, expected) in [
        (format!("quantity('{digits}')"), stopped),
        (format!("quantity('{digits}Ei')"), stopped),
        (
            format!("quantity('0.{digits}').compareTo(quantity('1'))"),
            "0",
        ),
        (format!("isQuantity('{digits}x')"), "false"),
        (format!("isQuantity('1e{digits}')"), "false"),
    ] {
        assert_eq!(shown(&expression), expected);
    }
}
