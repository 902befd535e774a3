//! What Kubernetes 1.34.4 answers to the same calls.

use crate::cel::functions::tables::check;

#[test]
fn finds_formats() {
    check(&[
        ("format.named('dns1123Label')", "some format DNS1123Label"),
        (
            "format.named('dns1123Subdomain')",
            "some format DNS1123Subdomain",
        ),
        ("format.named('dns1035Label')", "some format DNS1035Label"),
        ("format.named('qualifiedName')", "some format QualifiedName"),
        (
            "format.named('dns1123LabelPrefix')",
            "some format DNS1123LabelPrefix",
        ),
        (
            "format.named('dns1123SubdomainPrefix')",
            "some format DNS1123SubdomainPrefix",
        ),
        (
            "format.named('dns1035LabelPrefix')",
            "some format DNS1035LabelPrefix",
        ),
        ("format.named('labelValue')", "some format LabelValue"),
        ("format.named('uri')", "some format URI"),
        ("format.named('uuid')", "some format uuid"),
        ("format.named('byte')", "some format byte"),
        ("format.named('date')", "some format date"),
        ("format.named('datetime')", "some format datetime"),
        ("format.named('DNS1123Label')", "none"),
        ("format.named('')", "none"),
        ("format.uuid() == format.uuid()", "true"),
        ("format.uuid() == format.byte()", "false"),
    ]);
}

#[test]
fn checks_dns_1123_labels() {
    check(&[
        ("format.dns1123Label().validate('a')", "none"),
        ("format.dns1123Label().validate('a-1')", "none"),
        ("format.dns1123Label().validate('1a')", "none"),
        (
            "format.dns1123Label().validate('')",
            r#"some ["a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"]"#,
        ),
        (
            "format.dns1123Label().validate('A')",
            r#"some ["a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"]"#,
        ),
        (
            "format.dns1123Label().validate('a-')",
            r#"some ["a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"]"#,
        ),
        (
            "format.dns1123Label().validate('a.b')",
            r#"some ["must not contain dots"]"#,
        ),
        (
            "format.dns1123Label().validate('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')",
            r#"some ["must be no more than 63 characters"]"#,
        ),
        (
            "format.dns1123Label().validate('é')",
            r#"some ["a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"]"#,
        ),
    ]);
}

#[test]
fn checks_dns_1123_subdomains() {
    check(&[
        ("format.dns1123Subdomain().validate('a')", "none"),
        ("format.dns1123Subdomain().validate('a.b-c.1')", "none"),
        (
            "format.dns1123Subdomain().validate('a..b')",
            r#"some ["a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"]"#,
        ),
        (
            "format.dns1123Subdomain().validate('.a')",
            r#"some ["a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"]"#,
        ),
        (
            "format.dns1123Subdomain().validate('A.b')",
            r#"some ["a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"]"#,
        ),
        (
            "format.dns1123Subdomain().validate('')",
            r#"some ["a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"]"#,
        ),
        (
            "format.dns1123Subdomain().validate('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')",
            "none",
        ),
        (
            "format.dns1123Subdomain().validate('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')",
            r#"some ["must be no more than 253 characters"]"#,
        ),
        (
            "format.dns1123Subdomain().validate('a_b')",
            r#"some ["a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"]"#,
        ),
    ]);
}

#[test]
fn checks_dns_1035_labels() {
    check(&[
        ("format.dns1035Label().validate('a')", "none"),
        ("format.dns1035Label().validate('a-1')", "none"),
        (
            "format.dns1035Label().validate('1a')",
            r#"some ["a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"]"#,
        ),
        (
            "format.dns1035Label().validate('')",
            r#"some ["a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"]"#,
        ),
        (
            "format.dns1035Label().validate('A')",
            r#"some ["a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"]"#,
        ),
        (
            "format.dns1035Label().validate('a-')",
            r#"some ["a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"]"#,
        ),
        (
            "format.dns1035Label().validate('a.b')",
            r#"some ["a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"]"#,
        ),
        (
            "format.dns1035Label().validate('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')",
            r#"some ["must be no more than 63 characters"]"#,
        ),
        (
            "format.dns1035Label().validate('-a')",
            r#"some ["a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"]"#,
        ),
    ]);
}

#[test]
fn checks_prefixes_of_dns_1123_labels() {
    check(&[
        ("format.dns1123LabelPrefix().validate('a-')", "none"),
        ("format.dns1123LabelPrefix().validate('ab-')", "none"),
        ("format.dns1123LabelPrefix().validate('a--')", "none"),
        (
            "format.dns1123LabelPrefix().validate('-')",
            r#"some ["a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"]"#,
        ),
        ("format.dns1123LabelPrefix().validate('--')", "none"),
        ("format.dns1123LabelPrefix().validate('A-')", "none"),
        (
            "format.dns1123LabelPrefix().validate('a.b-')",
            r#"some ["must not contain dots"]"#,
        ),
        (
            "format.dns1123LabelPrefix().validate('é-')",
            r#"some ["a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"]"#,
        ),
        ("format.dns1123LabelPrefix().validate('1a')", "none"),
    ]);
}

#[test]
fn checks_prefixes_of_dns_1123_subdomains() {
    check(&[
        ("format.dns1123SubdomainPrefix().validate('a.b-')", "none"),
        ("format.dns1123SubdomainPrefix().validate('a.-')", "none"),
        ("format.dns1123SubdomainPrefix().validate('a-')", "none"),
        ("format.dns1123SubdomainPrefix().validate('--')", "none"),
        (
            "format.dns1123SubdomainPrefix().validate('-')",
            r#"some ["a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"]"#,
        ),
        (
            "format.dns1123SubdomainPrefix().validate('')",
            r#"some ["a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"]"#,
        ),
        (
            "format.dns1123SubdomainPrefix().validate('A.b-')",
            r#"some ["a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"]"#,
        ),
        (
            "format.dns1123SubdomainPrefix().validate('a..b-')",
            r#"some ["a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"]"#,
        ),
        ("format.dns1123SubdomainPrefix().validate('a')", "none"),
    ]);
}

#[test]
fn checks_prefixes_of_dns_1035_labels() {
    check(&[
        ("format.dns1035LabelPrefix().validate('a-')", "none"),
        ("format.dns1035LabelPrefix().validate('1-')", "none"),
        ("format.dns1035LabelPrefix().validate('ab-')", "none"),
        ("format.dns1035LabelPrefix().validate('--')", "none"),
        (
            "format.dns1035LabelPrefix().validate('-')",
            r#"some ["a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"]"#,
        ),
        (
            "format.dns1035LabelPrefix().validate('')",
            r#"some ["a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"]"#,
        ),
        (
            "format.dns1035LabelPrefix().validate('1a-')",
            r#"some ["a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"]"#,
        ),
        ("format.dns1035LabelPrefix().validate('A-')", "none"),
        ("format.dns1035LabelPrefix().validate('a')", "none"),
    ]);
}

#[test]
fn checks_qualified_names() {
    check(&[
        ("format.qualifiedName().validate('MyName')", "none"),
        (
            "format.qualifiedName().validate('example.com/my.name')",
            "none",
        ),
        (
            "format.qualifiedName().validate('/x')",
            r#"some ["prefix part must be non-empty"]"#,
        ),
        (
            "format.qualifiedName().validate('x/')",
            r#"some ["name part must be non-empty", "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"]"#,
        ),
        (
            "format.qualifiedName().validate('x/y/z')",
            r#"some ["a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]"#,
        ),
        (
            "format.qualifiedName().validate('X/y')",
            r#"some ["prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"]"#,
        ),
        (
            "format.qualifiedName().validate('_a')",
            r#"some ["name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"]"#,
        ),
        (
            "format.qualifiedName().validate('')",
            r#"some ["name part must be non-empty", "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"]"#,
        ),
        (
            "format.qualifiedName().validate('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')",
            r#"some ["name part must be no more than 63 characters"]"#,
        ),
        (
            "format.qualifiedName().validate('a/é')",
            r#"some ["name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"]"#,
        ),
        (
            "format.qualifiedName().validate('X/_')",
            r#"some ["prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')", "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"]"#,
        ),
    ]);
}

#[test]
fn checks_label_values() {
    check(&[
        ("format.labelValue().validate('')", "none"),
        ("format.labelValue().validate('MyValue')", "none"),
        ("format.labelValue().validate('my_value.1')", "none"),
        (
            "format.labelValue().validate('_a')",
            r#"some ["a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"]"#,
        ),
        (
            "format.labelValue().validate('a_')",
            r#"some ["a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"]"#,
        ),
        (
            "format.labelValue().validate('a b')",
            r#"some ["a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"]"#,
        ),
        (
            "format.labelValue().validate('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')",
            r#"some ["must be no more than 63 characters"]"#,
        ),
        (
            "format.labelValue().validate('é')",
            r#"some ["a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"]"#,
        ),
        (
            "format.labelValue().validate('-')",
            r#"some ["a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"]"#,
        ),
    ]);
}

#[test]
fn checks_uris() {
    check(&[
        ("format.uri().validate('/abs')", "none"),
        ("format.uri().validate('http://x')", "none"),
        (
            "format.uri().validate('x')",
            r#"some ["parse \"x\": invalid URI for request"]"#,
        ),
        (
            "format.uri().validate('')",
            r#"some ["parse \"\": empty url"]"#,
        ),
        (
            "format.uri().validate('http://[zz]/')",
            r#"some ["parse \"http://[zz]/\": invalid host: ParseAddr(\"zz\"): unable to parse IP"]"#,
        ),
        (
            "format.uri().validate('/a%zz')",
            r#"some ["parse \"/a%zz\": invalid URL escape \"%zz\""]"#,
        ),
        ("format.uri().validate('//host:bad/')", "none"),
        (
            "format.uri().validate('../a')",
            r#"some ["parse \"../a\": invalid URI for request"]"#,
        ),
    ]);
}

#[test]
fn checks_uuids() {
    check(&[
        (
            "format.uuid().validate('e2b3b8a0-1c2d-4e5f-8a9b-0c1d2e3f4a5b')",
            "none",
        ),
        (
            "format.uuid().validate('E2B3B8A01C2D4E5F8A9B0C1D2E3F4A5B')",
            "none",
        ),
        (
            "format.uuid().validate('e2b3b8a01c2d-4e5f8a9b-0c1d2e3f4a5b')",
            "none",
        ),
        (
            "format.uuid().validate('')",
            r#"some ["does not match the UUID format"]"#,
        ),
        (
            "format.uuid().validate('e2b3b8a0-1c2d-4e5f-8a9b-0c1d2e3f4a5')",
            r#"some ["does not match the UUID format"]"#,
        ),
        (
            "format.uuid().validate('e2b3b8a0--1c2d-4e5f-8a9b-0c1d2e3f4a5b')",
            r#"some ["does not match the UUID format"]"#,
        ),
        (
            "format.uuid().validate('g2b3b8a0-1c2d-4e5f-8a9b-0c1d2e3f4a5b')",
            r#"some ["does not match the UUID format"]"#,
        ),
        (
            "format.uuid().validate('e2b3b8a0-1c2d-4e5f-8a9b-0c1d2e3f4a5b-')",
            r#"some ["does not match the UUID format"]"#,
        ),
    ]);
}

#[test]
fn checks_base64() {
    check(&[
        ("format.byte().validate('aGVsbG8=')", "none"),
        ("format.byte().validate('aGVsbA==')", "none"),
        ("format.byte().validate('aGVs')", "none"),
        ("format.byte().validate('aG+/')", "none"),
        ("format.byte().validate('')", r#"some ["invalid base64"]"#),
        (
            "format.byte().validate('aGVsbG8')",
            r#"some ["invalid base64"]"#,
        ),
        (
            "format.byte().validate('a===')",
            r#"some ["invalid base64"]"#,
        ),
        (
            "format.byte().validate('====')",
            r#"some ["invalid base64"]"#,
        ),
        (
            "format.byte().validate('aG-_')",
            r#"some ["invalid base64"]"#,
        ),
        (
            r"format.byte().validate('aGVs\n')",
            r#"some ["invalid base64"]"#,
        ),
    ]);
}

#[test]
fn checks_dates() {
    check(&[
        ("format.date().validate('2023-01-31')", "none"),
        ("format.date().validate('2024-02-29')", "none"),
        ("format.date().validate('0000-01-01')", "none"),
        ("format.date().validate('')", r#"some ["invalid date"]"#),
        (
            "format.date().validate('2023-02-29')",
            r#"some ["invalid date"]"#,
        ),
        (
            "format.date().validate('2023-13-01')",
            r#"some ["invalid date"]"#,
        ),
        (
            "format.date().validate('2023-1-1')",
            r#"some ["invalid date"]"#,
        ),
        (
            "format.date().validate('2023-01-01T')",
            r#"some ["invalid date"]"#,
        ),
        (
            "format.date().validate('2023-04-31')",
            r#"some ["invalid date"]"#,
        ),
    ]);
}

#[test]
fn checks_date_times() {
    check(&[
        ("format.datetime().validate('2023-01-01T00:00:00Z')", "none"),
        (
            "format.datetime().validate('2023-01-01t23:59:59.999+99:99')",
            "none",
        ),
        (
            "format.datetime().validate('2023-01-01T00:00:00é5Z')",
            "none",
        ),
        (
            "format.datetime().validate('2023-01-01T00:00:00ZTxx')",
            "none",
        ),
        (
            "format.datetime().validate('2023-01-01')",
            r#"some ["invalid datetime"]"#,
        ),
        (
            "format.datetime().validate('2023-01-01T24:00:00Z')",
            r#"some ["invalid datetime"]"#,
        ),
        (
            "format.datetime().validate('2023-01-01T00:60:00Z')",
            r#"some ["invalid datetime"]"#,
        ),
        (
            "format.datetime().validate('2023-01-01T00:00:60Z')",
            r#"some ["invalid datetime"]"#,
        ),
        (
            "format.datetime().validate('2023-01-01T00:00:00')",
            r#"some ["invalid datetime"]"#,
        ),
        (
            "format.datetime().validate('2023-01-01T00:00:00.Z')",
            r#"some ["invalid datetime"]"#,
        ),
        (
            r"format.datetime().validate('2023-01-01T00:00:00\n5Z')",
            r#"some ["invalid datetime"]"#,
        ),
        (
            "format.datetime().validate('2023-02-30T00:00:00Z')",
            r#"some ["invalid datetime"]"#,
        ),
        (
            "format.datetime().validate('')",
            r#"some ["invalid datetime"]"#,
        ),
    ]);
}
