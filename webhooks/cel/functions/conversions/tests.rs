//! What Kubernetes 1.34.4 answers to the same calls.

use crate::cel::functions::tables::check;

#[test]
fn makes_bools() {
    check(&[
        ("bool('true')", "true"),
        ("bool('TRUE')", "true"),
        ("bool('True')", "true"),
        ("bool('t')", "true"),
        ("bool('1')", "true"),
        ("bool('false')", "false"),
        ("bool('F')", "false"),
        ("bool('0')", "false"),
        (
            "bool('tRUE')",
            "error: type conversion error from 'string' to 'bool'",
        ),
        (
            "bool('yes')",
            "error: type conversion error from 'string' to 'bool'",
        ),
        (
            "bool('')",
            "error: type conversion error from 'string' to 'bool'",
        ),
        ("bool(true)", "true"),
    ]);
}

#[test]
fn makes_bytes() {
    check(&[
        ("bytes('')", "bytes "),
        ("bytes('abc')", "bytes 616263"),
        ("bytes('é')", "bytes c3a9"),
        ("bytes(b'abc')", "bytes 616263"),
        (r"bytes(b'\xff')", "bytes ff"),
        (r"bytes('\u0000')", "bytes 00"),
        (r"bytes('\U0001f600')", "bytes f09f9880"),
        ("bytes('a b')", "bytes 612062"),
    ]);
}

#[test]
fn makes_doubles() {
    check(&[
        ("double(1)", "double 1"),
        (
            "double(-9223372036854775808)",
            "double -9.223372036854776e+18",
        ),
        ("double(9007199254740993)", "double 9.007199254740992e+15"),
        (
            "double(18446744073709551615u)",
            "double 1.8446744073709552e+19",
        ),
        ("double(1.5)", "double 1.5"),
        ("double('1.5')", "double 1.5"),
        ("double('1e3')", "double 1000"),
        ("double('-.5')", "double -0.5"),
        ("double('1.')", "double 1"),
        ("double('1_000')", "double 1000"),
        ("double('inf')", "double +Inf"),
        ("double('-Infinity')", "double -Inf"),
        ("double('NaN')", "double NaN"),
        (
            "double('+nan')",
            "error: type conversion error from 'string' to 'double'",
        ),
        (
            "double('1e309')",
            "error: type conversion error from 'string' to 'double'",
        ),
        ("double('1e-400')", "double 0"),
        ("double('0x1p-2')", "double 0.25"),
        ("double('0x1.8p1')", "double 3"),
        (
            "double('0x1')",
            "error: type conversion error from 'string' to 'double'",
        ),
        (
            "double('')",
            "error: type conversion error from 'string' to 'double'",
        ),
        (
            "double('abc')",
            "error: type conversion error from 'string' to 'double'",
        ),
        (
            "double(' 1')",
            "error: type conversion error from 'string' to 'double'",
        ),
        (
            "double('1__0')",
            "error: type conversion error from 'string' to 'double'",
        ),
        (
            "double('0x1p1024')",
            "error: type conversion error from 'string' to 'double'",
        ),
    ]);
}

#[test]
fn makes_durations() {
    check(&[
        ("duration(duration('1s'))", "duration 1000000000"),
        (
            "duration(5)",
            "error: type conversion error from 'int' to 'google.protobuf.Duration'",
        ),
        ("duration('1s')", "duration 1000000000"),
        ("duration('0')", "duration 0"),
        ("duration('1h')", "duration 3600000000000"),
        ("duration('-1h')", "duration -3600000000000"),
        (
            "duration('x')",
            "error: type conversion error from 'string' to 'google.protobuf.Duration'",
        ),
        (
            "duration('')",
            "error: type conversion error from 'string' to 'google.protobuf.Duration'",
        ),
    ]);
}

#[test]
fn makes_dyns() {
    check(&[
        ("dyn(1)", "1"),
        ("dyn('x')", r#""x""#),
        ("dyn(null)", "null"),
        ("dyn(true)", "true"),
        ("dyn(1.5)", "double 1.5"),
        ("dyn(1u)", "1u"),
        ("dyn(b'x')", "bytes 78"),
        ("dyn(duration('1s'))", "duration 1000000000"),
    ]);
}

#[test]
fn makes_ints() {
    check(&[
        ("int(1)", "1"),
        ("int(1.9)", "1"),
        ("int(-1.9)", "-1"),
        ("int(9223372036854774784.0)", "9223372036854774784"),
        ("int(9223372036854775807.0)", "error: integer overflow"),
        ("int(-9223372036854775808.0)", "error: integer overflow"),
        ("int(double('nan'))", "error: integer overflow"),
        ("int(1u)", "1"),
        ("int(9223372036854775808u)", "error: integer overflow"),
        ("int(duration('1s'))", "1000000000"),
        ("int(timestamp('1969-12-31T23:59:59.5Z'))", "-1"),
        ("int('-5')", "-5"),
        ("int('+5')", "5"),
        ("int('9223372036854775807')", "9223372036854775807"),
        (
            "int('9223372036854775808')",
            "error: type conversion error from 'string' to 'int'",
        ),
        (
            "int('1.0')",
            "error: type conversion error from 'string' to 'int'",
        ),
        (
            "int('')",
            "error: type conversion error from 'string' to 'int'",
        ),
        (
            "int('0x10')",
            "error: type conversion error from 'string' to 'int'",
        ),
        (
            "int('1_0')",
            "error: type conversion error from 'string' to 'int'",
        ),
    ]);
}

#[test]
fn makes_uints() {
    check(&[
        ("uint(1u)", "1u"),
        ("uint(1.9)", "1u"),
        ("uint(-0.5)", "error: unsigned integer overflow"),
        ("uint(18446744073709549568.0)", "18446744073709549568u"),
        (
            "uint(18446744073709551615.0)",
            "error: unsigned integer overflow",
        ),
        ("uint(1)", "1u"),
        ("uint(-1)", "error: unsigned integer overflow"),
        ("uint('5')", "5u"),
        (
            "uint('+5')",
            "error: type conversion error from 'string' to 'uint'",
        ),
        (
            "uint('-5')",
            "error: type conversion error from 'string' to 'uint'",
        ),
        ("uint('18446744073709551615')", "18446744073709551615u"),
        (
            "uint('18446744073709551616')",
            "error: type conversion error from 'string' to 'uint'",
        ),
        (
            "uint('')",
            "error: type conversion error from 'string' to 'uint'",
        ),
        (
            "uint('a')",
            "error: type conversion error from 'string' to 'uint'",
        ),
    ]);
}

#[test]
fn makes_texts() {
    check(&[
        ("string('x')", r#""x""#),
        ("string(true)", r#""true""#),
        ("string(false)", r#""false""#),
        ("string(b'abc')", r#""abc""#),
        (
            r"string(b'\xff')",
            "error: invalid UTF-8 in bytes, cannot convert to string",
        ),
        ("string(1)", r#""1""#),
        ("string(-9223372036854775808)", r#""-9223372036854775808""#),
        ("string(18446744073709551615u)", r#""18446744073709551615""#),
        ("string(duration('90m'))", r#""5400s""#),
        (
            "string(timestamp('2023-01-02T03:04:05Z'))",
            r#""2023-01-02T03:04:05Z""#,
        ),
        ("string(0.0)", r#""0""#),
        ("string(-0.0)", r#""-0""#),
        ("string(1.0)", r#""1""#),
        ("string(1.5)", r#""1.5""#),
        ("string(100000.0)", r#""100000""#),
        ("string(999999.0)", r#""999999""#),
        ("string(1000000.0)", r#""1e+06""#),
        ("string(1234567.0)", r#""1.234567e+06""#),
        ("string(0.0001)", r#""0.0001""#),
        ("string(0.00001)", r#""1e-05""#),
        ("string(1e21)", r#""1e+21""#),
        ("string(1e100)", r#""1e+100""#),
        ("string(-1.5e-7)", r#""-1.5e-07""#),
        ("string(5e-324)", r#""5e-324""#),
        (
            "string(1.7976931348623157e308)",
            r#""1.7976931348623157e+308""#,
        ),
        ("string(1264197519485952.25)", r#""1.2641975194859522e+15""#),
        ("string(1264197519485952.75)", r#""1.2641975194859528e+15""#),
        ("string(double('inf'))", r#""+Inf""#),
        ("string(double('-inf'))", r#""-Inf""#),
        ("string(double('nan'))", r#""NaN""#),
    ]);
}

#[test]
fn makes_moments() {
    check(&[
        ("timestamp(0)", "timestamp 0.000000000"),
        (
            "timestamp(253402300799)",
            "timestamp 253402300799.000000000",
        ),
        ("timestamp(253402300800)", "error: timestamp overflow"),
        (
            "timestamp(-62135596800)",
            "timestamp -62135596800.000000000",
        ),
        ("timestamp(-62135596801)", "error: timestamp overflow"),
        (
            "timestamp(9223372036854775807)",
            "error: timestamp overflow",
        ),
        ("timestamp(timestamp(1))", "timestamp 1.000000000"),
        (
            "timestamp('2023-01-02T03:04:05Z')",
            "timestamp 1672628645.000000000",
        ),
        (
            "timestamp('x')",
            "error: type conversion error from 'string' to 'google.protobuf.Timestamp'",
        ),
    ]);
}
