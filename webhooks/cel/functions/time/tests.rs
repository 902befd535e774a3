//! What Kubernetes 1.34.4 answers to the same calls.

use super::{add, add_negated, format_timestamp, parse_timestamp, subtract};
use crate::cel::functions::tables::{check, shown};
use crate::cel::run::Fail;
use crate::cel::value::Timestamp;

#[test]
fn reads_moments() {
    check(&[
        ("timestamp('1970-01-01T00:00:00Z')", "timestamp 0.000000000"),
        (
            "timestamp('2023-01-02T03:04:05.123456789Z')",
            "timestamp 1672628645.123456789",
        ),
        (
            "timestamp('2023-01-02T03:04:05,5Z')",
            "timestamp 1672628645.500000000",
        ),
        (
            "timestamp('2023-01-02T3:04:05Z')",
            "timestamp 1672628645.000000000",
        ),
        (
            "timestamp('2023-01-02T03:04:05+02:00')",
            "timestamp 1672621445.000000000",
        ),
        (
            "timestamp('2023-01-02T03:04:05-24:60')",
            "timestamp 1672718645.000000000",
        ),
        (
            "timestamp('2023-01-02T03:04:05.1234567899Z')",
            "timestamp 1672628645.123456789",
        ),
        (
            "timestamp('1969-12-31T23:59:59.5Z')",
            "timestamp -1.500000000",
        ),
        (
            "timestamp('2000-02-29T00:00:00Z')",
            "timestamp 951782400.000000000",
        ),
        (
            "timestamp('0001-01-01T00:00:00Z')",
            "timestamp -62135596800.000000000",
        ),
        (
            "timestamp('9999-12-31T23:59:59.999999999Z')",
            "timestamp 253402300799.999999999",
        ),
    ]);
}

#[test]
fn refuses_moments() {
    check(&[
        (
            "timestamp('')",
            "error: type conversion error from 'string' to 'google.protobuf.Timestamp'",
        ),
        (
            "timestamp('2023-01-02')",
            "error: type conversion error from 'string' to 'google.protobuf.Timestamp'",
        ),
        (
            "timestamp('2023-01-02T03:04:05')",
            "error: type conversion error from 'string' to 'google.protobuf.Timestamp'",
        ),
        (
            "timestamp('2023-01-02 03:04:05Z')",
            "error: type conversion error from 'string' to 'google.protobuf.Timestamp'",
        ),
        (
            "timestamp('2023-01-02t03:04:05z')",
            "error: type conversion error from 'string' to 'google.protobuf.Timestamp'",
        ),
        (
            "timestamp('2023-01-02T24:00:00Z')",
            "error: type conversion error from 'string' to 'google.protobuf.Timestamp'",
        ),
        (
            "timestamp('2023-01-02T23:59:60Z')",
            "error: type conversion error from 'string' to 'google.protobuf.Timestamp'",
        ),
        (
            "timestamp('2023-01-02T03:04:05+25:00')",
            "error: type conversion error from 'string' to 'google.protobuf.Timestamp'",
        ),
        (
            "timestamp('2023-01-02T03:04:05.Z')",
            "error: type conversion error from 'string' to 'google.protobuf.Timestamp'",
        ),
        (
            "timestamp('1900-02-29T00:00:00Z')",
            "error: type conversion error from 'string' to 'google.protobuf.Timestamp'",
        ),
        (
            "timestamp('0000-12-31T23:59:59Z')",
            "error: timestamp overflow",
        ),
        (
            "timestamp('0001-01-01T00:00:00+01:00')",
            "error: timestamp overflow",
        ),
        (
            "timestamp('9999-12-31T23:59:59-01:00')",
            "error: timestamp overflow",
        ),
    ]);
}

#[test]
fn writes_moments() {
    check(&[
        (
            "string(timestamp('1970-01-01T00:00:00Z'))",
            r#""1970-01-01T00:00:00Z""#,
        ),
        (
            "string(timestamp('2023-01-02T03:04:05.123456789Z'))",
            r#""2023-01-02T03:04:05.123456789Z""#,
        ),
        (
            "string(timestamp('2023-01-02T03:04:05.100Z'))",
            r#""2023-01-02T03:04:05.1Z""#,
        ),
        (
            "string(timestamp('1969-12-31T23:59:59.5Z'))",
            r#""1969-12-31T23:59:59.5Z""#,
        ),
        (
            "string(timestamp('0001-01-01T00:00:00Z'))",
            r#""0001-01-01T00:00:00Z""#,
        ),
        (
            "string(timestamp('9999-12-31T23:59:59.999999999Z'))",
            r#""9999-12-31T23:59:59.999999999Z""#,
        ),
        (
            "string(timestamp('2024-02-29T12:00:00Z'))",
            r#""2024-02-29T12:00:00Z""#,
        ),
        (
            "string(timestamp('0004-02-29T12:00:00.000000001Z'))",
            r#""0004-02-29T12:00:00.000000001Z""#,
        ),
    ]);
}

#[test]
fn takes_moments_apart_elsewhere() {
    check(&[
        ("timestamp('2023-01-01T00:30:00Z').getHours('UTC')", "0"),
        ("timestamp('2023-01-01T00:30:00Z').getHours('')", "0"),
        ("timestamp('2023-01-01T00:30:00Z').getHours('+02:00')", "2"),
        ("timestamp('2023-01-01T00:30:00Z').getHours('-02:00')", "22"),
        (
            "timestamp('2023-01-01T00:30:00Z').getMinutes('-00:45')",
            "45",
        ),
        (
            "timestamp('2023-01-01T00:30:00Z').getMinutes('02:45')",
            "15",
        ),
        (
            "timestamp('2023-01-01T00:30:00Z').getFullYear('-01:00')",
            "2022",
        ),
        ("timestamp('2023-01-01T00:30:00Z').getMonth('-01:00')", "11"),
        (
            "timestamp('2023-01-01T00:30:00Z').getDayOfYear('-01:00')",
            "364",
        ),
        (
            "timestamp('2023-01-01T00:30:00Z').getDayOfMonth('-01:00')",
            "30",
        ),
        ("timestamp('2023-01-01T00:30:00Z').getDate('-01:00')", "31"),
        (
            "timestamp('2023-01-01T00:30:00Z').getDayOfWeek('-01:00')",
            "6",
        ),
        (
            "timestamp('2023-01-01T00:30:00Z').getSeconds('+05:30')",
            "0",
        ),
        (
            "timestamp('2023-01-01T00:30:00Z').getMilliseconds('+05:30')",
            "0",
        ),
        (
            "timestamp('2023-01-01T00:30:00Z').getFullYear('99999999:00')",
            "1739",
        ),
        (
            "timestamp('2023-01-01T00:30:00Z').getHours(':')",
            r#"error: strconv.Atoi: parsing "": invalid syntax"#,
        ),
        (
            "timestamp('2023-01-01T00:30:00Z').getHours('1:x')",
            r#"error: strconv.Atoi: parsing "x": invalid syntax"#,
        ),
        (
            "timestamp('2023-01-01T00:30:00Z').getHours('99999999999999999999:0')",
            r#"error: strconv.Atoi: parsing "99999999999999999999": value out of range"#,
        ),
        (
            "timestamp('2023-01-01T00:30:00Z').getHours('../x')",
            "error: time: invalid location name",
        ),
        (
            "timestamp('2024-07-01T12:00:00Z').getHours('America/New_York')",
            "8",
        ),
        (
            "timestamp('2024-01-01T12:00:00Z').getHours('America/New_York')",
            "7",
        ),
        (
            "timestamp('2024-01-01T23:30:00Z').getMinutes('Asia/Kolkata')",
            "0",
        ),
        (
            "timestamp('2024-01-01T23:30:00Z').getHours('europe/berlin')",
            "error: unknown time zone europe/berlin",
        ),
        (
            "timestamp('2023-01-01T00:30:00Z').getHours('No/Where')",
            "error: unknown time zone No/Where",
        ),
    ]);
}

#[test]
fn reads_spans() {
    check(&[
        ("duration('0')", "duration 0"),
        ("duration('-0')", "duration 0"),
        ("duration('1h30m')", "duration 5400000000000"),
        ("duration('-1.5s')", "duration -1500000000"),
        ("duration('+1ms')", "duration 1000000"),
        ("duration('1us1µs1μs1ns')", "duration 3001"),
        ("duration('.5s')", "duration 500000000"),
        ("duration('1.s')", "duration 1000000000"),
        ("duration('0.1h')", "duration 360000000000"),
        (
            "duration('0.333333333333333333333333h')",
            "duration 1200000000000",
        ),
        (
            "duration('9223372036854775807ns')",
            "duration 9223372036854775807",
        ),
        (
            "duration('-9223372036854775808ns')",
            "duration -9223372036854775808",
        ),
        (
            "duration('2562047h47m16.854775807s')",
            "duration 9223372036854775807",
        ),
    ]);
}

#[test]
fn refuses_spans() {
    check(&[
        (
            "duration('')",
            "error: type conversion error from 'string' to 'google.protobuf.Duration'",
        ),
        (
            "duration('-')",
            "error: type conversion error from 'string' to 'google.protobuf.Duration'",
        ),
        (
            "duration('1')",
            "error: type conversion error from 'string' to 'google.protobuf.Duration'",
        ),
        (
            "duration('s')",
            "error: type conversion error from 'string' to 'google.protobuf.Duration'",
        ),
        (
            "duration('-.s')",
            "error: type conversion error from 'string' to 'google.protobuf.Duration'",
        ),
        (
            "duration('1d')",
            "error: type conversion error from 'string' to 'google.protobuf.Duration'",
        ),
        (
            "duration('1h1')",
            "error: type conversion error from 'string' to 'google.protobuf.Duration'",
        ),
        (
            "duration('1 s')",
            "error: type conversion error from 'string' to 'google.protobuf.Duration'",
        ),
        (
            "duration('+-1s')",
            "error: type conversion error from 'string' to 'google.protobuf.Duration'",
        ),
        (
            "duration('9223372036854775808ns')",
            "error: type conversion error from 'string' to 'google.protobuf.Duration'",
        ),
        (
            "duration('-9223372036854775809ns')",
            "error: type conversion error from 'string' to 'google.protobuf.Duration'",
        ),
        (
            "duration('2562048h')",
            "error: type conversion error from 'string' to 'google.protobuf.Duration'",
        ),
        (
            "duration('99999999999999999999s')",
            "error: type conversion error from 'string' to 'google.protobuf.Duration'",
        ),
        (
            "duration('1.2.3s')",
            "error: type conversion error from 'string' to 'google.protobuf.Duration'",
        ),
    ]);
}

#[test]
fn writes_spans() {
    check(&[
        ("string(duration('0'))", r#""0s""#),
        ("string(duration('1s'))", r#""1s""#),
        ("string(duration('90m'))", r#""5400s""#),
        ("string(duration('1.5s'))", r#""1.5s""#),
        ("string(duration('-0.5s'))", r#""-0.5s""#),
        ("string(duration('1ns'))", r#""0.000000001s""#),
        (
            "string(duration('9223372036854775807ns'))",
            r#""9223372036.854776s""#,
        ),
        (
            "string(duration('-9223372036854775808ns'))",
            r#""-9223372036.854776s""#,
        ),
        ("string(duration('123456789ns'))", r#""0.123456789s""#),
        (
            "string(duration('8589934592007812500ns'))",
            r#""8589934592.007812s""#,
        ),
    ]);
}

#[test]
fn counts_spans() {
    check(&[
        ("duration('0').getHours()", "0"),
        ("duration('3723.456s').getHours()", "1"),
        ("duration('-3723.456s').getHours()", "-1"),
        ("duration('59m59.999s').getHours()", "0"),
        ("duration('2562046h59m59.999999999s').getHours()", "2562047"),
        ("duration('-9223372036854775808ns').getHours()", "-2562047"),
        ("duration('1ms').getHours()", "0"),
        ("duration('999us').getHours()", "0"),
        ("duration('0').getMinutes()", "0"),
        ("duration('3723.456s').getMinutes()", "62"),
        ("duration('-3723.456s').getMinutes()", "-62"),
        ("duration('59m59.999s').getMinutes()", "59"),
        (
            "duration('2562046h59m59.999999999s').getMinutes()",
            "153722820",
        ),
        (
            "duration('-9223372036854775808ns').getMinutes()",
            "-153722867",
        ),
        ("duration('1ms').getMinutes()", "0"),
        ("duration('999us').getMinutes()", "0"),
        ("duration('0').getSeconds()", "0"),
        ("duration('3723.456s').getSeconds()", "3723"),
        ("duration('-3723.456s').getSeconds()", "-3723"),
        ("duration('59m59.999s').getSeconds()", "3599"),
        (
            "duration('2562046h59m59.999999999s').getSeconds()",
            "9223369200",
        ),
        (
            "duration('-9223372036854775808ns').getSeconds()",
            "-9223372036",
        ),
        ("duration('1ms').getSeconds()", "0"),
        ("duration('999us').getSeconds()", "0"),
        ("duration('0').getMilliseconds()", "0"),
        ("duration('3723.456s').getMilliseconds()", "3723456"),
        ("duration('-3723.456s').getMilliseconds()", "-3723456"),
        ("duration('59m59.999s').getMilliseconds()", "3599999"),
        (
            "duration('2562046h59m59.999999999s').getMilliseconds()",
            "9223369199999",
        ),
        (
            "duration('-9223372036854775808ns').getMilliseconds()",
            "-9223372036854",
        ),
        ("duration('1ms').getMilliseconds()", "1"),
        ("duration('999us').getMilliseconds()", "0"),
    ]);
}

#[test]
fn takes_moments_apart() {
    let getters = [
        "getFullYear",
        "getMonth",
        "getDayOfYear",
        "getDayOfMonth",
        "getDate",
        "getDayOfWeek",
        "getHours",
        "getMinutes",
        "getSeconds",
        "getMilliseconds",
    ];
    let table = [
        (
            "2023-07-14T10:30:45.123Z",
            [2023, 6, 194, 13, 14, 5, 10, 30, 45, 123],
        ),
        (
            "1969-12-31T23:59:59.5Z",
            [1969, 11, 364, 30, 31, 3, 23, 59, 59, 500],
        ),
        (
            "2024-12-31T00:00:00Z",
            [2024, 11, 365, 30, 31, 2, 0, 0, 0, 0],
        ),
        ("0001-01-01T00:00:00Z", [1, 0, 0, 0, 1, 1, 0, 0, 0, 0]),
        (
            "9999-12-31T23:59:59.999Z",
            [9999, 11, 364, 30, 31, 5, 23, 59, 59, 999],
        ),
        ("2023-03-01T00:59:00Z", [2023, 2, 59, 0, 1, 3, 0, 59, 0, 0]),
        (
            "2024-03-01T12:00:00.0009Z",
            [2024, 2, 60, 0, 1, 5, 12, 0, 0, 0],
        ),
        ("1600-02-29T01:02:03Z", [1600, 1, 59, 28, 29, 2, 1, 2, 3, 0]),
        ("2000-01-01T00:00:00Z", [2000, 0, 0, 0, 1, 6, 0, 0, 0, 0]),
        (
            "1900-12-31T13:00:59Z",
            [1900, 11, 364, 30, 31, 1, 13, 0, 59, 0],
        ),
    ];
    for (moment, values) in table {
        for (getter, value) in getters.iter().zip(values) {
            let expression = format!("timestamp('{moment}').{getter}()");
            assert_eq!(shown(&expression), value.to_string(), "{expression}");
        }
    }
}

fn at(text: &str) -> Timestamp {
    parse_timestamp(text).expect(text)
}

#[test]
fn adds_spans_to_moments() {
    let table = [
        (
            "2023-01-01T00:00:00Z",
            1,
            Ok("2023-01-01T00:00:00.000000001Z"),
        ),
        (
            "2023-01-01T00:00:00Z",
            -1,
            Ok("2022-12-31T23:59:59.999999999Z"),
        ),
        (
            "2023-01-01T00:00:00.6Z",
            600_000_000,
            Ok("2023-01-01T00:00:01.2Z"),
        ),
        (
            "2023-01-01T00:00:00.2Z",
            -1_500_000_000,
            Ok("2022-12-31T23:59:58.7Z"),
        ),
        (
            "1970-01-01T00:00:00Z",
            i64::MAX,
            Ok("2262-04-11T23:47:16.854775807Z"),
        ),
        (
            "1970-01-01T00:00:00Z",
            i64::MIN,
            Ok("1677-09-21T00:12:43.145224192Z"),
        ),
        (
            "9999-12-31T23:59:59.999999999Z",
            0,
            Ok("9999-12-31T23:59:59.999999999Z"),
        ),
        (
            "9999-12-31T23:59:59.999999999Z",
            1,
            Err("timestamp overflow"),
        ),
        ("0001-01-01T00:00:00Z", -1, Err("timestamp overflow")),
        ("0001-01-01T00:00:00Z", i64::MIN, Err("timestamp overflow")),
    ];
    for (moment, span, expected) in table {
        let sum = add(at(moment), span).map(format_timestamp);
        let expected = expected.map(str::to_owned).map_err(Fail::error);
        assert_eq!(sum, expected, "{moment} + {span}");
    }
    let moment = at("1970-01-01T00:00:00Z");
    assert_eq!(add_negated(moment, 1), add(moment, -1));
    assert_eq!(
        add_negated(moment, i64::MIN),
        Err(Fail::error("integer overflow"))
    );
}

#[test]
fn subtracts_moments() {
    let table = [
        (
            "2023-01-01T00:00:01Z",
            "2023-01-01T00:00:00Z",
            Ok(1_000_000_000),
        ),
        (
            "2023-01-01T00:00:00Z",
            "2023-01-01T00:00:01Z",
            Ok(-1_000_000_000),
        ),
        (
            "2023-01-01T00:00:00.1Z",
            "2022-12-31T23:59:59.9Z",
            Ok(200_000_000),
        ),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", Ok(0)),
        (
            "2262-04-11T23:47:16.854775807Z",
            "1970-01-01T00:00:00Z",
            Ok(i64::MAX),
        ),
        (
            "2262-04-11T23:47:16.854775808Z",
            "1970-01-01T00:00:00Z",
            Err("integer overflow"),
        ),
        (
            "1677-09-21T00:12:44.145224192Z",
            "1970-01-01T00:00:00Z",
            Ok(i64::MIN + 1_000_000_000),
        ),
        (
            "9999-12-31T23:59:59Z",
            "0001-01-01T00:00:00Z",
            Err("integer overflow"),
        ),
    ];
    for (one, other, expected) in table {
        let expected = expected.map_err(Fail::error);
        assert_eq!(subtract(at(one), at(other)), expected, "{one} - {other}");
    }
}

#[test]
fn takes_long_texts_in_its_stride() {
    let digits = "9".repeat(1 << 20);
    for text in [
        format!("duration('{digits}s')"),
        format!("duration('0.{digits}x')"),
        format!("timestamp('2023-01-01T00:00:00.{digits}')"),
        format!("timestamp('{digits}')"),
    ] {
        assert!(shown(&text).starts_with("error: type conversion error"));
    }
}
