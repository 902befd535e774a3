//! The server over real TLS, in this process and as the binary that ships.

#![allow(
    missing_docs,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use cozystack_webhook::cluster::Caches;
use cozystack_webhook::dispatch::Dispatcher;
use cozystack_webhook::server::answer::Service;
use cozystack_webhook::server::limits;
use cozystack_webhook::server::tls::{Authority, Folder, Look};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use support::http::plain;
use support::inprocess::Server;
use support::rules::{self, timed};
use support::service::Setup;
use webhooks::REGISTRY;
use webhooks::contract::{Mode, Settings};

const WIDGETS: &str = "/validate/test.io/widgets";

fn review_of(uid: &str, object: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": uid, "operation": "CREATE", "name": "w", "namespace": "n",
            "kind": {"group": "test.io", "version": "v1", "kind": "Widget"},
            "resource": {"group": "test.io", "version": "v1", "resource": "widgets"},
            "userInfo": {"username": "me"},
            "object": object,
        },
    })
}

fn told(what: &str) -> Vec<u8> {
    review_of(
        "u-1",
        &json!({"metadata": {"name": "w"}, "spec": {"do": what}}),
    )
    .to_string()
    .into_bytes()
}

fn widgets() -> Server {
    Server::with_rules(&[&rules::OBEDIENT], Settings::default())
}

#[test]
fn violations_have_code_reason_and_causes() {
    let server = widgets();
    let mut connection = server.admission();
    let answer = connection.post(WIDGETS, &told("refuse")).unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let message = "Widget.test.io \"w\" is invalid: [spec.do: Invalid value: \"refuse\": must be something else, \
                   by policy (to insist, annotate with webhook.cozystack.io/allow: obedient)]";
    let response = &answer.json()["response"];
    assert_eq!(response["uid"], "u-1");
    assert_eq!(
        response["status"],
        json!({
            "code": 422, "reason": "Invalid", "message": message,
            "details": {"group": "test.io", "kind": "Widget", "name": "w", "causes": [
                {"field": "spec.do", "reason": "FieldValueInvalid", "message": "Invalid value: \"refuse\": must be something else"},
                {"reason": "FieldValueForbidden", "message": "by policy (to insist, annotate with webhook.cozystack.io/allow: obedient)"},
            ]},
        })
    );
    assert_eq!(
        response["auditAnnotations"],
        json!({"rule": "obedient", "decision": "denied", "revision": env!("CARGO_PKG_VERSION")})
    );
    // The same connection goes on.
    let answer = connection.post(WIDGETS, &told("policy")).unwrap().json();
    assert_eq!(
        (
            &answer["response"]["status"]["code"],
            &answer["response"]["status"]["reason"]
        ),
        (&json!(403), &json!("Forbidden"))
    );
    assert_eq!(
        connection.post(WIDGETS, &told("nothing")).unwrap().json()["response"],
        json!({"uid": "u-1", "allowed": true})
    );
}

#[test]
fn a_rule_that_fails_is_never_an_answer() {
    let server = Server::with_rules(&[&rules::OBEDIENT], Settings::default());
    let mut connection = server.admission();
    for (what, status, text) in [
        ("panic", 500, "rule obedient: panicked: as told"),
        ("fault", 500, "rule obedient: as told"),
        (
            "read",
            500,
            "rule obedient: rule reads packagesources, which it does not declare",
        ),
    ] {
        for _ in 0..20 {
            let answer = connection.post(WIDGETS, &told(what)).unwrap();
            assert_eq!((answer.status, answer.text().trim()), (status, text));
        }
        assert_eq!(
            connection.post(WIDGETS, &told("nothing")).unwrap().status,
            200
        );
    }
    let (_, metrics) = plain(server.addresses.metrics, "GET", "/metrics", "").unwrap();
    assert!(
        metrics.contains(
            r#"reviews_total{rule="obedient",operation="CREATE",outcome="fault",code="500"} 60"#
        ),
        "{metrics}"
    );
}

#[test]
fn a_deadline_ends_the_work() {
    let server = Server::with_rules(&[&rules::OBEDIENT, &rules::HEAVY], Settings::default());
    let mut connection = server.admission();
    let (answer, took) = timed(|| {
        connection
            .post(&format!("{WIDGETS}?timeout=1s"), &told("loop"))
            .unwrap()
    });
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert!(
        took >= Duration::from_millis(800) && took < Duration::from_millis(990),
        "{took:?}"
    );
    // Work that does not look at the clock is not waited for.
    let (answer, took) = timed(|| {
        connection
            .post(&format!("{WIDGETS}?timeout=500ms"), &told("sleep"))
            .unwrap()
    });
    assert_eq!(answer.status, 504);
    assert!(took < Duration::from_millis(490), "{took:?}");
    let (answer, took) = timed(|| connection.post(WIDGETS, &told("loop")).unwrap());
    assert_eq!(answer.status, 504);
    assert!(
        took < Duration::from_millis(2_300),
        "without a parameter it is 2 s: {took:?}"
    );
}

#[test]
fn long_decisions_queue_and_then_ask_to_come_again() {
    let server = Server::with_rules(&[&rules::HEAVY], Settings::default());
    let cores = std::thread::available_parallelism().unwrap().get();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores * 4)
            .map(|_| {
                scope.spawn(|| {
                    server
                        .admission()
                        .post(&format!("{WIDGETS}?timeout=1s"), &told("sleep"))
                        .unwrap()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let shed: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 503)
        .collect();
    assert!(
        !shed.is_empty()
            && shed
                .iter()
                .all(|answer| answer.header("retry-after") == Some("1"))
    );
    assert!(answers.iter().filter(|answer| answer.status == 200).count() >= cores);
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer.status, 200 | 503 | 504))
    );
}

#[test]
fn mutators_share_one_patch_that_is_made_once() {
    let server = Server::with_rules(&[&rules::LABELS, &rules::MORE_LABELS], Settings::default());
    let mut connection = server.admission();
    let mut object = json!({"metadata": {"name": "w"}});
    let answer = connection
        .post(
            "/mutate/test.io/widgets",
            review_of("u", &object).to_string().as_bytes(),
        )
        .unwrap()
        .json();
    assert_eq!(answer["response"]["patchType"], "JSONPatch");
    let patch = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD
            .decode(answer["response"]["patch"].as_str().unwrap())
            .unwrap()
    };
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    assert_eq!(patch.0.len(), 1, "the parent that both miss comes once");
    json_patch::patch(&mut object, &patch).unwrap();
    assert_eq!(
        object["metadata"]["labels"],
        json!({"test.io/one": "yes", "test.io/two": "yes"})
    );
    let again = connection
        .post(
            "/mutate/test.io/widgets",
            review_of("u", &object).to_string().as_bytes(),
        )
        .unwrap()
        .json();
    assert_eq!(again["response"], json!({"uid": "u", "allowed": true}));
}

#[test]
fn modes_decide_how_serious_a_rule_is() {
    let warns = Server::with_rules(
        &[&rules::OBEDIENT],
        Settings::default().with_mode("obedient", Mode::Warn),
    );
    let answer = warns
        .admission()
        .post(WIDGETS, &told("refuse"))
        .unwrap()
        .json();
    assert_eq!(answer["response"]["allowed"], true);
    assert_eq!(
        answer["response"]["warnings"],
        json!([
            "spec.do: Invalid value: \"refuse\": must be something else",
            "by policy"
        ])
    );
    let off = Server::with_rules(
        &[&rules::OBEDIENT],
        Settings::default().with_mode("obedient", Mode::Off),
    );
    assert_eq!(
        off.admission()
            .post(WIDGETS, &told("panic"))
            .unwrap()
            .json()["response"],
        json!({"uid": "u-1", "allowed": true})
    );
}

#[test]
fn warnings_fit_what_clients_show() {
    let answer = widgets()
        .admission()
        .post(WIDGETS, &told("talk"))
        .unwrap()
        .json();
    let warnings = answer["response"]["warnings"].as_array().unwrap();
    assert!(
        warnings
            .iter()
            .all(|warning| warning.as_str().unwrap().chars().count() == 120)
    );
    assert!(warnings.len() > 10 && warnings.len() <= 4_096 / 120);
}

/// Bodies that are no good, and what is answered.
fn malformed() -> Vec<(&'static str, Vec<u8>, u16)> {
    let good = String::from_utf8(told("nothing")).unwrap();
    let with = |from: &str, to: &str| good.replacen(from, to, 1).into_bytes();
    let nested = |depth: usize| {
        with(
            "\"nothing\"",
            &format!("{}1{}", "[".repeat(depth), "]".repeat(depth)),
        )
    };
    let mut rows: Vec<(&'static str, Vec<u8>, u16)> = vec![
        ("empty", vec![], 400),
        ("null", b"null".to_vec(), 400),
        ("list", b"[]".to_vec(), 400),
        ("number", b"1".to_vec(), 400),
        ("string", b"\"x\"".to_vec(), 400),
        ("object", b"{}".to_vec(), 400),
        ("text", b"hello".to_vec(), 400),
        ("gzip", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0], 400),
        ("bom", [b"\xef\xbb\xbf".to_vec(), good.clone().into_bytes()].concat(), 400),
        ("invalid utf-8", with("\"nothing\"", "\"\u{1}\""), 400),
        ("nul", with("\"u-1\"", "\"u\u{0}\""), 400),
        ("trailing data", [good.clone().into_bytes(), b"x".to_vec()].concat(), 400),
        ("trailing document", [good.clone().into_bytes(), good.clone().into_bytes()].concat(), 400),
        ("v1beta1", with("admission.k8s.io/v1", "admission.k8s.io/v1beta1"), 400),
        ("v2", with("admission.k8s.io/v1", "admission.k8s.io/v2"), 400),
        ("no apiVersion", with("\"apiVersion\":\"admission.k8s.io/v1\",", ""), 400),
        ("apiVersion number", with("\"admission.k8s.io/v1\"", "1"), 400),
        ("other kind", with("AdmissionReview", "ConversionReview"), 400),
        ("no kind", with("\"kind\":\"AdmissionReview\"", "\"x\":1"), 400),
        ("no request", b"{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\"}".to_vec(), 400),
        ("request null", b"{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"request\":null}".to_vec(), 400),
        ("request list", b"{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"request\":[]}".to_vec(), 400),
        ("empty uid", with("\"u-1\"", "\"\""), 400),
        ("no uid", with("\"uid\":\"u-1\",", ""), 400),
        ("uid number", with("\"u-1\"", "5"), 400),
        ("uid twice", with("\"uid\":\"u-1\"", "\"uid\":\"a\",\"uid\":\"u-1\""), 400),
        ("request twice", with("\"request\":", "\"request\":{},\"request\":"), 400),
        ("uid with half a pair", with("\"u-1\"", "\"\\ud800\""), 400),
        ("NaN", with("\"nothing\"", "NaN"), 400),
        ("Infinity", with("\"nothing\"", "Infinity"), 400),
        // From here on the uid can be read, so it is answered.
        ("no operation", with("\"operation\":\"CREATE\",", ""), 200),
        ("operation number", with("\"CREATE\"", "5"), 200),
        ("name number", with("\"name\":\"w\",\"namespace\"", "\"name\":5,\"namespace\""), 200),
        ("kind is text", with("{\"group\":\"test.io\",\"kind\":\"Widget\",\"version\":\"v1\"}", "\"Widget\""), 200),
        ("unknown operation", with("\"CREATE\"", "\"CONNECT\""), 200),
        ("object null", with("{\"metadata\":{\"name\":\"w\"},\"spec\":{\"do\":\"nothing\"}}", "null"), 200),
        ("object text", with("{\"metadata\":{\"name\":\"w\"},\"spec\":{\"do\":\"nothing\"}}", "\"x\""), 200),
        ("object list", with("{\"metadata\":{\"name\":\"w\"},\"spec\":{\"do\":\"nothing\"}}", "[]"), 200),
        ("key twice in the object", with("\"do\":", "\"do\":1,\"do\":"), 200),
        ("-0", with("\"nothing\"", "-0"), 200),
        ("1e400", with("\"nothing\"", "1e400"), 200),
        ("beyond u64", with("\"nothing\"", "18446744073709551616"), 200),
        ("half a pair in the object", with("\"nothing\"", "\"\\ud800\""), 200),
        ("rtl name", with("\"name\":\"w\",\"namespace\"", "\"name\":\"\u{202e}w\u{200b}\",\"namespace\""), 200),
        ("depth 100", nested(100), 200),
        ("depth 126", nested(126), 200),
        ("depth 128", nested(128), 200),
        ("depth 512", nested(512), 200),
        ("depth 10,000", nested(10_000), 200),
        ("depth 100,000", nested(100_000), 200),
        ("a million lists", with("\"nothing\"", &format!("[{}[]]", "[],".repeat(1_000_000))), 200),
        ("key of 1 MiB", with("\"do\"", &format!("\"{}\"", "k".repeat(1 << 20))), 200),
        ("uid of 1 MiB", with("\"u-1\"", &format!("\"{}\"", "u".repeat(1 << 20))), 200),
        ("unknown fields everywhere", with("\"uid\"", "\"x\":{\"y\":[1]},\"uid\""), 200),
        ("subresource", with("\"uid\"", "\"subResource\":\"status\",\"uid\""), 200),
    ];
    for percent in (1..100).step_by(7) {
        rows.push((
            "truncated",
            good.as_bytes()[..good.len() * percent / 100].to_vec(),
            400,
        ));
    }
    rows
}

#[test]
fn malformed_reviews_get_a_clean_answer() {
    let server = Server::with_rules(REGISTRY, Settings::default());
    let widgets = Server::with_rules(&[&rules::OBEDIENT], Settings::default());
    let rows = malformed();
    assert!(rows.len() >= 60, "{}", rows.len());
    let paths: Vec<String> = server
        .service
        .dispatcher
        .entries()
        .map(|entry| entry.path.clone())
        .collect();
    assert!(paths.len() >= 5, "{paths:?}");
    let check = |server: &Server, path: &str| {
        let mut connection = server.admission();
        for (name, body, status) in &rows {
            let answer = connection
                .post(path, body)
                .unwrap_or_else(|error| panic!("{name} at {path}: {error}"));
            assert_eq!(
                answer.status,
                *status,
                "{name} at {path}: {}",
                &answer.text()[..answer.text().len().min(300)]
            );
            if answer.status == 200 {
                let response = answer.json()["response"].clone();
                let uid = response["uid"].as_str().unwrap();
                assert!(uid == "u-1" || uid.len() == 1 << 20, "{name}: {uid}");
            }
        }
        assert_eq!(connection.post(path, &told("nothing")).unwrap().status, 200);
    };
    check(&widgets, WIDGETS);
    for path in &paths {
        check(&server, path);
    }
    // A definition that cannot be read is never let through.
    for depth in [128, 10_000] {
        let deep = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        for (kind, plural) in [
            ("ApplicationDefinition", "applicationdefinitions"),
            (
                "CozystackResourceDefinition",
                "cozystackresourcedefinitions",
            ),
            ("Package", "packages"),
            ("PackageSource", "packagesources"),
        ] {
            let path = format!("/validate/cozystack.io/{plural}");
            assert!(paths.contains(&path), "{paths:?}");
            let body = format!(
                r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"uid":"deep","operation":"CREATE","name":"x","kind":{{"group":"cozystack.io","version":"v1alpha1","kind":"{kind}"}},"resource":{{"group":"cozystack.io","version":"v1alpha1","resource":"{plural}"}},"object":{{"apiVersion":"cozystack.io/v1alpha1","kind":"{kind}","metadata":{{"name":"x"}},"spec":{deep}}}}}}}"#
            );
            let answer = server
                .admission()
                .post(&path, body.as_bytes())
                .unwrap()
                .json();
            assert_eq!(
                (&answer["response"]["uid"], &answer["response"]["allowed"]),
                (&json!("deep"), &json!(false)),
                "{answer}"
            );
        }
    }
}

#[test]
fn http_is_held_to_its_rules() {
    let server = widgets();
    let mut connection = server.admission();
    let good = told("nothing");
    assert_eq!(
        connection
            .request("POST", WIDGETS, "application/json; charset=utf-8", &good)
            .unwrap()
            .status,
        200
    );
    for (method, path, kind, status) in [
        ("POST", WIDGETS, "text/plain", 415),
        ("POST", WIDGETS, "application/yaml", 415),
        ("GET", WIDGETS, "application/json", 405),
        ("PUT", WIDGETS, "application/json", 405),
        ("POST", "/", "application/json", 404),
        ("POST", "/validate/test.io/others", "application/json", 404),
        (
            "POST",
            "/convert/cozystackresourcedefinitions",
            "application/json",
            404,
        ),
        ("POST", "/null", "application/json", 404),
    ] {
        let answer = server
            .admission()
            .request(method, path, kind, &good)
            .unwrap();
        assert_eq!(answer.status, status, "{method} {path} {kind}");
    }
    // The limit to the byte, with and without an announced length.
    let padded = |size: usize| {
        let mut body = good.clone();
        body.resize(size, b' ');
        body
    };
    let max = limits::ADMISSION_BODY_MAX_BYTES;
    assert_eq!(
        server
            .admission()
            .post(WIDGETS, &padded(max))
            .unwrap()
            .status,
        200
    );
    let answer = server.admission().post(WIDGETS, &padded(max + 1));
    // The server may close before it has read everything: then there is no answer to read.
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 413));
    let mut connection = server.admission();
    connection
        .send(format!("POST {WIDGETS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", good.len()).as_bytes())
        .unwrap();
    connection.send(&good).unwrap();
    connection.send(b"\r\n0\r\n\r\n").unwrap();
    assert_eq!(connection.receive().unwrap().status, 200);
}

#[test]
fn slow_clients_are_cut() {
    let server = widgets();
    std::thread::scope(|scope| {
        // A head that never ends.
        let head = scope.spawn(|| {
            let mut connection = server.admission();
            connection.send(b"POST / HTTP/1.1\r\nHost: x\r\n").unwrap();
            let (answer, took) = timed(|| connection.receive());
            assert!(
                took < limits::HEAD_TIME + Duration::from_secs(2),
                "{took:?}"
            );
            assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 408));
        });
        // A body that never ends.
        let body = scope.spawn(|| {
            let mut connection = server.admission();
            connection
                .send(format!("POST {WIDGETS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{").as_bytes())
                .unwrap();
            let (answer, took) = timed(|| connection.receive());
            assert!(took < limits::ADMISSION_BODY_TIME + Duration::from_secs(2), "{took:?}");
            assert_eq!(answer.unwrap().status, 408);
        });
        // A handshake that never begins.
        let handshake = scope.spawn(|| {
            use std::io::Read as _;
            let mut stream = std::net::TcpStream::connect(server.addresses.admission).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            let (closed, took) = timed(|| stream.read(&mut [0; 16]));
            assert!(
                took < limits::HANDSHAKE_TIME + Duration::from_secs(2),
                "{took:?}"
            );
            assert!(closed.is_err() || closed.is_ok_and(|count| count == 0));
        });
        for thread in [head, body, handshake] {
            thread.join().unwrap();
        }
    });
    assert_eq!(
        server
            .admission()
            .post(WIDGETS, &told("nothing"))
            .unwrap()
            .status,
        200
    );
}

fn conversion_review(objects: &[Value], to: &str) -> Vec<u8> {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
        "request": {"uid": "c-1", "desiredAPIVersion": to, "objects": objects},
    })
    .to_string()
    .into_bytes()
}

fn legacy(name: &str) -> Value {
    json!({
        "apiVersion": "cozystack.io/v1alpha1", "kind": "CozystackResourceDefinition", "metadata": {"name": name},
        "spec": {"release": {"prefix": "x-", "chart": {"name": "vpn", "sourceRef": {"kind": "HelmRepository", "name": "cozystack-apps", "namespace": "cozy-public"}}}},
    })
}

const CONVERT: &str = "/convert/cozystackresourcedefinitions";

#[test]
fn conversion_needs_no_cluster() {
    // The caches never become known.
    let caches = Arc::new(Caches::of(REGISTRY));
    let server = Server::of(Arc::new(Service::new(
        Dispatcher::new(REGISTRY, Settings::default()),
        caches,
    )));
    let answer = server
        .conversion()
        .post(
            CONVERT,
            &conversion_review(&[legacy("a")], "cozystack.io/v1alpha2"),
        )
        .unwrap();
    assert_eq!(
        answer.json()["response"]["result"],
        json!({"status": "Success"})
    );
    let (status, text) = plain(server.addresses.probes, "GET", "/readyz?verbose", "").unwrap();
    assert_eq!(status, 503);
    assert!(
        text.contains("[-] cache/helmreleases: syncing") && text.contains("[+] certificate"),
        "{text}"
    );
    assert_eq!(
        plain(server.addresses.probes, "GET", "/healthz", "")
            .unwrap()
            .0,
        200
    );
    let definition = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "u", "operation": "CREATE", "kind": {"group": "cozystack.io", "version": "v1alpha1", "kind": "ApplicationDefinition"},
            "resource": {"group": "cozystack.io", "version": "v1alpha1", "resource": "applicationdefinitions"}, "object": {}},
    });
    let answer = server
        .admission()
        .post(
            "/validate/cozystack.io/applicationdefinitions",
            definition.to_string().as_bytes(),
        )
        .unwrap();
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("1"))
    );
}

#[test]
fn conversions_keep_order_and_count_or_fail_whole() {
    let server = Server::with_rules(REGISTRY, Settings::default());
    let mut connection = server.conversion();
    let objects: Vec<Value> = (0..1_000)
        .map(|number| legacy(&format!("d{number}")))
        .collect();
    let answer = connection
        .post(
            CONVERT,
            &conversion_review(&objects, "cozystack.io/v1alpha2"),
        )
        .unwrap()
        .json();
    let converted = answer["response"]["convertedObjects"].as_array().unwrap();
    assert_eq!(answer["response"]["uid"], "c-1");
    assert_eq!(converted.len(), 1_000);
    assert!(
        converted
            .iter()
            .enumerate()
            .all(|(number, object)| object["metadata"]["name"] == format!("d{number}"))
    );
    let mut objects = objects;
    objects[700]["kind"] = "Other".into();
    let answer = connection
        .post(
            CONVERT,
            &conversion_review(&objects, "cozystack.io/v1alpha2"),
        )
        .unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json()["response"]["result"],
        json!({"status": "Failure", "message": "object 700 (d700): kind: is Other, must be CozystackResourceDefinition"})
    );
    assert_eq!(answer.json()["response"]["convertedObjects"], json!([]));
    // An empty list is legal.
    let answer = connection
        .post(CONVERT, &conversion_review(&[], "cozystack.io/v1alpha2"))
        .unwrap()
        .json();
    assert_eq!(answer["response"]["convertedObjects"], json!([]));
    for (body, status) in [(&b"{}"[..], 400), (b"null", 400), (b"", 400)] {
        assert_eq!(connection.post(CONVERT, body).unwrap().status, status);
    }
    let successor = connection
        .post(
            "/rename/cozystackresourcedefinitions",
            &conversion_review(&[legacy("a")], "cozystack.io/v1alpha1"),
        )
        .unwrap()
        .json();
    assert_eq!(
        successor["response"]["convertedObjects"][0]["kind"],
        "ApplicationDefinition"
    );
}

#[test]
fn conversions_of_a_hundred_megabytes_wait_their_turn() {
    let server = Server::with_rules(REGISTRY, Settings::default());
    let mut big = legacy("big");
    big["spec"]["padding"] = "x".repeat(10_000).into();
    let objects: Vec<Value> = vec![big; 9_000];
    let body = conversion_review(&objects, "cozystack.io/v1alpha2");
    assert!(body.len() > 90_000_000 && body.len() < limits::CONVERSION_BODY_MAX_BYTES);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    server
                        .conversion()
                        .post(&format!("{CONVERT}?timeout=30s"), &body)
                        .unwrap()
                })
            })
            .collect();
        // Small ones, on the other port, are not held up.
        let widgets = widgets();
        assert_eq!(
            widgets
                .admission()
                .post(WIDGETS, &told("nothing"))
                .unwrap()
                .status,
            200
        );
        for thread in threads {
            let answer = thread.join().unwrap();
            assert!(
                matches!(answer.status, 200 | 503),
                "{} {}",
                answer.status,
                answer.text()
            );
        }
    });
}

#[test]
fn both_protocols_are_offered() {
    let setup_folder = tempfile::tempdir().unwrap();
    let setup = Setup::new(setup_folder.path());
    let objects = format!("{}/testcases/manifests", env!("CARGO_MANIFEST_DIR"));
    let _service = setup.start_ready(&["--objects", &objects]);
    for protocol in ["h2", "http/1.1"] {
        let mut config = (*support::http::client_config(&setup.authority)).clone();
        config.alpn_protocols = vec![protocol.into()];
        let mut connection =
            support::http::Connection::open(setup.admission, &Arc::new(config)).unwrap();
        assert_eq!(connection.protocol().as_deref(), Some(protocol.as_bytes()));
    }
}

#[test]
fn certificates_are_reloaded_and_bad_ones_are_not() {
    let root = tempfile::tempdir().unwrap();
    let authority = Authority::new().unwrap();
    // As a kubelet does it: files are links into ..data, which is a link that is renamed over.
    let put = |generation: u32, chain: &str, key: &str| {
        let data = root.path().join(format!("..{generation}"));
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("tls.crt"), chain).unwrap();
        std::fs::write(data.join("tls.key"), key).unwrap();
        let link = root.path().join("..tmp");
        std::os::unix::fs::symlink(&data, &link).unwrap();
        std::fs::rename(&link, root.path().join("..data")).unwrap();
    };
    let issue = || authority.issue(&["localhost".to_owned()]).unwrap();
    let (chain, key) = issue();
    put(0, &chain, &key);
    for name in ["tls.crt", "tls.key"] {
        std::os::unix::fs::symlink(format!("..data/{name}"), root.path().join(name)).unwrap();
    }
    let mut folder = Folder::open(root.path()).unwrap();
    assert_eq!(folder.look().unwrap(), Look::Same);
    for generation in 1..=3 {
        let (chain, key) = issue();
        // A chain is as good as a leaf.
        put(generation, &format!("{chain}{}", authority.pem()), &key);
        assert_eq!(folder.look().unwrap(), Look::Swapped, "swap {generation}");
        assert_eq!(folder.look().unwrap(), Look::Same);
    }
    let (other_chain, _) = issue();
    let (chain, key) = issue();
    put(4, &other_chain, &key);
    assert!(folder.look().is_err(), "a key of another certificate");
    put(5, "garbage", &key);
    assert!(folder.look().is_err());
    put(6, &chain, &key);
    assert_eq!(
        folder.look().unwrap(),
        Look::Swapped,
        "after a bad pair the next good one is taken"
    );

    // The same of the running service: what is presented changes, without a restart.
    let setup_folder = tempfile::tempdir().unwrap();
    let setup = Setup::new(setup_folder.path());
    let objects = format!("{}/testcases/manifests", env!("CARGO_MANIFEST_DIR"));
    let service = setup.start_ready(&["--objects", &objects]);
    let mut seen = setup.connect(setup.admission).peer_certificate();
    for _ in 0..3 {
        setup.renew();
        let end = std::time::Instant::now() + Duration::from_secs(10);
        let new = loop {
            let new = setup.connect(setup.conversion).peer_certificate();
            if new != seen {
                break new;
            }
            assert!(std::time::Instant::now() < end, "{}", service.log_tail());
            std::thread::sleep(Duration::from_millis(100));
        };
        seen = new;
    }
    std::fs::write(setup.folder.join("tls.crt"), "garbage").unwrap();
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(setup.connect(setup.admission).peer_certificate(), seen);
    assert!(
        service.log_text().contains("the old one is kept"),
        "{}",
        service.log_tail()
    );
}

#[test]
fn the_end_is_polite() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::new(folder.path());
    let objects = format!("{}/testcases/manifests", env!("CARGO_MANIFEST_DIR"));
    let mut service = setup.start_with_drain("2", &["--objects", &objects]);
    let body = conversion_review(&[legacy("a")], "cozystack.io/v1alpha2");
    let mut before = setup.connect(setup.conversion);
    assert_eq!(
        before.post(CONVERT, &body).unwrap().header("connection"),
        None
    );
    // A request that is half sent when the end begins.
    let mut half = setup.connect(setup.conversion);
    half.send(format!("POST {CONVERT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes())
        .unwrap();
    half.send(&body[..10]).unwrap();
    let id = service.id().to_string();
    std::thread::scope(|scope| {
        let end = scope.spawn(|| service.terminate());
        std::thread::sleep(Duration::from_millis(700));
        let _ = id;
        // Not ready at once, still answering, and asking for a new connection.
        let (status, text) = plain(setup.probes, "GET", "/readyz", "").unwrap();
        assert_eq!(status, 503, "{text}");
        assert!(text.contains("[-] shutdown: draining"), "{text}");
        half.send(&body[10..]).unwrap();
        let answer = half.receive().unwrap();
        assert_eq!(answer.json()["response"]["result"]["status"], "Success");
        assert_eq!(answer.header("connection"), Some("close"));
        let (took, is_clean) = end.join().unwrap();
        assert!(is_clean);
        assert!(
            took >= Duration::from_secs(2) && took < Duration::from_secs(30),
            "{took:?}"
        );
    });
}

#[test]
fn logs_never_hold_bodies() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::new(folder.path());
    let objects = format!("{}/testcases/manifests", env!("CARGO_MANIFEST_DIR"));
    let service = setup.start_ready(&[
        "--objects",
        &objects,
        "--log-level",
        "trace",
        "--log-format",
        "json",
    ]);
    let canary = "canary-7f3a";
    let mut object = legacy("x");
    object["spec"]["release"]["secret"] = canary.into();
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "u", "operation": "CREATE", "name": "x", "kind": {"group": "cozystack.io", "version": "v1alpha1", "kind": "CozystackResourceDefinition"},
            "resource": {"group": "cozystack.io", "version": "v1alpha1", "resource": "cozystackresourcedefinitions"}, "object": object},
    });
    let answer = setup
        .connect(setup.admission)
        .post(
            "/validate/cozystack.io/cozystackresourcedefinitions",
            review.to_string().as_bytes(),
        )
        .unwrap();
    assert_eq!(answer.status, 200);
    setup
        .connect(setup.conversion)
        .post(
            CONVERT,
            &conversion_review(&[object], "cozystack.io/v1alpha2"),
        )
        .unwrap();
    let log = service.log_text();
    let line = log
        .lines()
        .find(|line| line.contains("\"message\":\"review\""))
        .unwrap_or_else(|| panic!("{log}"));
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(
        (&line["name"], &line["operation"], &line["code"]),
        (&json!("x"), &json!("CREATE"), &json!(422))
    );
    assert!(!log.contains(canary));
    let (_, metrics) = plain(setup.metrics, "GET", "/metrics", "").unwrap();
    assert!(
        !metrics.contains(canary)
            && metrics.contains("cozystack_webhook_request_duration_seconds_bucket")
    );
}
