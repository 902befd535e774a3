//! `make bench`: what a review costs, as ratios to a responder that decides nothing, in one run on one core.
//!
//! The server is this program again, pinned to one core with one worker: the shipped rules and `POST /null`, all behind
//! the same TLS and limits. The client has the other core. TLS 1.3, HTTP/1.1 keep-alive, 8 connections. A size is that of
//! the review's body: with managedFields, and an UPDATE with oldObject.

#![allow(
    missing_docs,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "../support/http.rs"]
#[allow(dead_code)]
mod http;

use cozystack_webhook::cluster::Caches;
use cozystack_webhook::dispatch::Dispatcher;
use cozystack_webhook::server::answer::Service;
use cozystack_webhook::server::{CertificateSource, Config, start};
use http::Connection;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use webhooks::REGISTRY;
use webhooks::cel::{self, Document, Environment, Fail, Program, Run, Scope};
use webhooks::charts::{Chart, Component};
use webhooks::contract::{Object, Settings};

const CONNECTIONS: usize = 8;
const ROUND: Duration = Duration::from_secs(3);
const WARM_UP: Duration = Duration::from_millis(500);
const SIZES_BYTES: [usize; 3] = [2_000, 12_000, 100_000];

/// Tenants of the server that is loaded, unless it is measured how it does with more.
const TENANTS: usize = 100;
const MANY_TENANTS: usize = 50_000;

/// What a server has in its caches.
#[derive(Clone, Copy)]
struct Cached {
    packages: usize,
    tenants: usize,
    machines: usize,
    /// Policies about the Package that is reviewed.
    policies: usize,
    /// Policies about others.
    other_policies: usize,
    has_hostile_policy: bool,
}

impl Cached {
    const USUAL: Cached = Cached {
        packages: FEW,
        tenants: TENANTS,
        machines: 0,
        policies: 0,
        other_policies: 0,
        has_hostile_policy: false,
    };
}

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--serve");
    if arguments.next().is_some() {
        let mut count = || arguments.next().unwrap().parse().unwrap();
        return serve(Cached {
            packages: count(),
            tenants: count(),
            machines: count(),
            policies: count(),
            other_policies: count(),
            has_hostile_policy: count() > 0,
        });
    }
    if std::env::args().any(|argument| argument == "--machines") {
        return machines();
    }
    if std::env::args().any(|argument| argument == "--policies") {
        return policies();
    }
    let server = Server::start(Cached::USUAL);
    if std::env::args().any(|argument| argument == "--packages") {
        return packages(&server);
    }
    println!(
        "{:<34}{:>8}{:>12}{:>14}{:>10}{:>10}{:>10}",
        "what", "bytes", "requests/s", "CPU us/review", "x null", "p50 us", "p99 us"
    );
    for size in SIZES_BYTES {
        let mut null = 0.0;
        for (name, path, body) in [
            ("null", "/null", helm_release(size)),
            (
                "mutate: shard of a new release",
                SHARD,
                release(size, false),
            ),
            ("mutate: shard that was lost", SHARD, release(size, true)),
            (
                "validate: ApplicationDefinition",
                "/validate/cozystack.io/applicationdefinitions",
                definition(size),
            ),
        ] {
            let (rate, cpu, p50, p99) = server.load(server.admission, path, &body);
            if name == "null" {
                null = cpu;
            }
            println!(
                "{name:<34}{:>8}{rate:>12.0}{cpu:>14.1}{:>10.2}{p50:>10}{p99:>10}",
                body.len(),
                cpu / null
            );
        }
    }
    beside_tenants(&server);
    let one = conversion(1);
    let (rate, cpu, p50, p99) = server.load(server.conversion, CONVERT, &one);
    println!(
        "{:<34}{:>8}{rate:>12.0}{cpu:>14.1}{:>10}{p50:>10}{p99:>10}",
        "convert: one object",
        one.len(),
        "-"
    );

    packages(&server);

    let mut connection = server.connect(server.conversion);
    let (mut count, started) = (0_u32, Instant::now());
    while started.elapsed() < ROUND {
        assert_eq!(connection.post(CONVERT, &one).unwrap().status, 200);
        count += 1;
    }
    println!(
        "\nconversions one after the other over one connection: {:.0} a second",
        f64::from(count) / started.elapsed().as_secs_f64()
    );

    let many = conversion(10_000);
    let before = server.cpu();
    let started = Instant::now();
    let answer = server
        .connect(server.conversion)
        .post(&format!("{CONVERT}?timeout=30s"), &many)
        .unwrap();
    assert_eq!(
        answer.json()["response"]["result"]["status"],
        "Success",
        "{}",
        answer.status
    );
    println!(
        "10,000 objects of 10 kB in one review ({} MB): {:.2} s, {:.0} ms CPU, peak RSS {} MB",
        many.len() / 1_000_000,
        started.elapsed().as_secs_f64(),
        (server.cpu() - before) * 1e3,
        server.status_kib("VmHWM:") / 1024
    );
    drop(server);
    machines();
    policies();
}

/// A review of a Package by policies, and by policies among others that are not about it.
fn policies() {
    let body = package();
    for (policies, other_policies) in [(0, 0), (10, 0), (5, 0), (5, 195)] {
        let server = Server::start(Cached {
            policies,
            other_policies,
            ..Cached::USUAL
        });
        let (_, null, _, _) = server.load(server.admission, "/null", &body);
        let (rate, cpu, p50, p99) = server.load(server.admission, PACKAGE_PATH, &body);
        println!(
            "{:<34}{:>8}{rate:>12.0}{cpu:>14.1}{:>10.2}{p50:>10}{p99:>10}",
            format!(
                "validate: Package, {policies} of {} rules",
                policies + other_policies
            ),
            body.len(),
            cpu / null
        );
    }
    beside_hostile();
    hostile();
}

/// How others fare while a policy that is written to stall is asked ten times a second.
fn beside_hostile() {
    let server = Server::start(Cached {
        has_hostile_policy: true,
        ..Cached::USUAL
    });
    let body = release(12_000, false);
    let (_, _, _, alone) = server.load(server.admission, SHARD, &body);
    let is_over = AtomicBool::new(false);
    let (asked, (_, _, _, beside)) = std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let mut connection = server.connect(server.admission);
            let body = package_with(
                json!({"list": (0..2_000).collect::<Vec<_>>()}),
                "cozystack.gizmo2",
            );
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) {
                let answer = connection.post(PACKAGE_PATH, &body).unwrap();
                let said = answer.json()["response"]["status"]["message"].to_string();
                assert!(said.contains("it takes more than 1000000 steps"), "{said}");
                count += 1;
                std::thread::sleep(Duration::from_millis(100));
            }
            count
        });
        let loaded = server.load(server.admission, SHARD, &body);
        is_over.store(true, Ordering::Relaxed);
        (asked.join().unwrap(), loaded)
    });
    println!(
        "p99 of others, us: {alone} alone, {beside} while {asked} reviews are stopped by what they may use up"
    );
}

/// What is written to stall: how long until it is stopped, and what it takes until then.
fn hostile() {
    let items: Vec<usize> = (0..20_000).collect();
    let object = json!({"list": items, "text": "a".repeat(20_000)}).to_string();
    let raw: &RawValue = serde_json::from_str(&object).unwrap();
    println!("\n{:<66}{:>10}{:>12}", "expression", "ms", "steps");
    for expression in [
        "object.list.all(a, object.list.all(b, a + b >= 0))",
        "object.list.map(a, object.list.map(b, a * b)).size() > 0",
        "object.list.filter(a, object.list.exists(b, b == a + 1)).size() == 0",
        "object.list.transformMapEntry(i, v, {v: i}).size() > 0",
        "object.list.all(x, object.list == object.list)",
        "object.list.map(a, object.text + object.text).size() > 0",
        "object.list.all(a, object.text.matches('(a+)+$'))",
        "object.list.all(a, object.text.matches('(x+x+)+y' + string(a)))",
        "object.list.all(a, object.text.find('[^x]{1,900}' + string(a)) == '')",
        "object.list.all(a, object.text.replace('a', 'bb').size() > 0)",
        "object.list.all(a, object.text.split('').size() > 0)",
        "object.list.all(a, '%s'.format([object.list]).size() > 0)",
        "object.list.all(a, quantity(string(a) + 'e999').isInteger())",
        "object.list.all(a, sets.contains(object.list, object.list))",
        "object.list.all(a, url('http://a/?' + object.text).getQuery().size() > 0)",
        "object.list.all(a, object.text.indexOf('b') < 0)",
        "[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, [1,2,3,4,5,6,7,8,9,10].all(e, [1,2,3,4,5,6,7,8,9,10].all(f, true))))))",
    ] {
        let program = Program::compile(expression, &Environment::admission()).unwrap();
        let document = Document::new(raw.get());
        let mut scope = Scope::new();
        scope.bind("object", cel::Value::of_json(raw.into(), &document));
        let mut run = Run::new(None, &[]);
        let started = Instant::now();
        let outcome = program.evaluate(&scope, &mut run);
        let time = started.elapsed();
        let shown: String = expression.chars().take(64).collect();
        let ended = match outcome {
            Ok(_) => "",
            Err(Fail::Stopped(_)) => "stopped",
            Err(Fail::Error(_)) => "error",
        };
        println!(
            "{shown:<66}{:>10.1}{:>12}  {ended}",
            time.as_secs_f64() * 1e3,
            run.steps()
        );
    }
}

/// What operators ask of Packages, in ten ways.
const EXPRESSIONS: [&str; 10] = [
    "object.spec.variant == 'default'",
    "values.section00.replicas >= 2",
    "values.section01.host.endsWith('.example.org')",
    "values.section02.users.all(user, user.name.startsWith('user-'))",
    "quantity(values.section03.resources.limits.memory).isLessThan(quantity('8Gi'))",
    "!has(object.metadata.labels) || object.metadata.labels.?team.orValue('') != 'nobody'",
    "request.operation in ['CREATE', 'UPDATE']",
    "values.section04.labels['app.kubernetes.io/name'] == 'gizmo'",
    "values.section05.port in [8080, 8443]",
    "values.section06.host.matches('^[a-z0-9.-]+$')",
];

fn add_policies(caches: &Caches, about: usize, others: usize) {
    for number in 0..about + others {
        let name = if number < about {
            "cozystack.gizmo1".to_owned()
        } else {
            format!("cozystack.other{number}")
        };
        let expression = EXPRESSIONS[number % EXPRESSIONS.len()];
        let mut of = json!({"packages": {"names": [name]}});
        if expression.starts_with("values") || expression.starts_with("quantity") {
            of["components"] = json!(["*"]);
        }
        let policy = json!({
            "apiVersion": "policy.cozystack.io/v1alpha1", "kind": "PackagePolicy",
            "metadata": {"name": format!("policy{number}")},
            "spec": {"match": of, "validations": [{"expression": expression, "message": "as it should be"}]},
        });
        caches.policies.put(&Object::of(policy).unwrap());
    }
    let held = caches.policies.held();
    assert!(held.iter().all(|held| held.violations.is_empty()));
}

/// A review of a Package among few others and among many; each has a source and a chart.
fn packages(few: &Server) {
    let body = package();
    let many = Server::start(Cached {
        packages: MANY,
        ..Cached::USUAL
    });
    for (server, count) in [(few, FEW), (&many, MANY)] {
        let (_, null, _, _) = server.load(server.admission, "/null", &body);
        let (rate, cpu, p50, p99) = server.load(server.admission, PACKAGE_PATH, &body);
        println!(
            "{:<34}{:>8}{rate:>12.0}{cpu:>14.1}{:>10.2}{p50:>10}{p99:>10}",
            format!("validate: Package, among {count}"),
            body.len(),
            cpu / null
        );
    }
    let kib = many
        .status_kib("VmRSS:")
        .saturating_sub(few.status_kib("VmRSS:"));
    println!(
        "a Package, its source and its place in the indexes: {} bytes of memory",
        kib * 1024 / (MANY - FEW) as u64
    );
}

const PACKAGE_PATH: &str = "/validate/cozystack.io/packages";
/// A platform has about eighty.
const FEW: usize = 80;
const MANY: usize = 5_000;

const CONVERT: &str = "/convert/cozystackresourcedefinitions";

const MACHINES: &str = "/mutate/kubevirt.io/virtualmachines";
/// Machines, Services and releases of one namespace.
const MACHINE_COUNTS: [usize; 3] = [10, 500, 5_000];

/// What a machine costs among few and many.
fn machines() {
    println!("\nmachines, as many Services and releases in one namespace");
    for count in MACHINE_COUNTS {
        let server = Server::start(Cached {
            machines: count,
            ..Cached::USUAL
        });
        let size = 12_000;
        let mut null = 0.0;
        for (name, path, body) in [
            ("null", "/null", machine_review(size, "m0", true)),
            (
                "mutate: with a Service",
                MACHINES,
                machine_review(size, "m0", true),
            ),
            (
                "mutate: its Service's name",
                MACHINES,
                machine_review(size, "m1", false),
            ),
            (
                "mutate: without a Service",
                MACHINES,
                machine_review(size, "new", false),
            ),
        ] {
            let (rate, cpu, p50, p99) = server.load(server.admission, path, &body);
            if name == "null" {
                null = cpu;
            }
            println!(
                "{:<34}{:>8}{rate:>12.0}{cpu:>14.1}{:>10.2}{p50:>10}{p99:>10}",
                format!("{count}: {name}"),
                body.len(),
                cpu / null
            );
        }
    }
}

fn machine(name: &str, is_noted: bool, padding: usize) -> Value {
    let labels = json!({
        "app.kubernetes.io/name": "vm-instance", "app.kubernetes.io/instance": name,
        "app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/version": "0.12.0", "helm.sh/chart": "vm-instance-0.12.0",
    });
    let mut object = json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
        "metadata": {
            "name": name, "namespace": "tenant-a", "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x".repeat(padding / 4)},
            "labels": {"helm.toolkit.fluxcd.io/name": name, "helm.toolkit.fluxcd.io/namespace": "tenant-a", "app.kubernetes.io/name": "vm-instance"},
            "managedFields": managed_fields(padding / 2),
        },
        "spec": {
            "runStrategy": "Always",
            "template": {
                "metadata": {"labels": labels},
                "spec": {"domain": {"devices": {"disks": managed_fields(padding / 4)}}},
            },
        },
    });
    if is_noted {
        object["metadata"]["annotations"]["webhook.cozystack.io/vm-fqdn"] =
            format!("{name}.tenant-a.svc.cozy.local").into();
    }
    object
}

/// An update as the API server sends it, of the machine of that name.
fn machine_review(size: usize, name: &str, is_noted: bool) -> Vec<u8> {
    let resource = ("kubevirt.io", "v1", "VirtualMachine", "virtualmachines");
    update(size, resource, |padding| machine(name, is_noted, padding))
}

/// The first half of the Services is the charts', the others are what the service has made for machines of nobody's.
fn add_machines(caches: &Caches, count: usize) {
    let put = |group: &str, kind: &str, value: Value| {
        let object = webhooks::contract::Object::of(value).unwrap();
        caches.put(group, kind, object);
    };
    for number in 0..count {
        let name = format!("m{number}");
        put("kubevirt.io", "VirtualMachine", machine(&name, true, 2_000));
        let release = json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": name, "namespace": "tenant-a"}, "spec": {"values": {"external": false}},
        });
        put("helm.toolkit.fluxcd.io", "HelmRelease", release);
        let selector = if number < count.div_ceil(2) {
            json!({"app.kubernetes.io/name": "vm-instance", "app.kubernetes.io/instance": name})
        } else {
            json!({"kubevirt.io": "virt-launcher", "vm.kubevirt.io/name": name})
        };
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "tenant-a"},
            "spec": {"clusterIP": "None", "selector": selector, "ports": [{"port": 65535}]},
        });
        put("", "Service", service);
    }
}

/// Packages that wait for nothing, with their sources; one chart for all.
fn fill(caches: &Caches, packages: usize) {
    let chart = Chart {
        name: "gizmo".to_owned(),
        version: "0.1.0".to_owned(),
        values: gizmo_values(12),
        schema: Some(gizmo_schema().to_string()),
        ..Chart::default()
    };
    let chart = Arc::new(Component::new(chart, [], "sha256:0"));
    for number in 0..packages {
        let name = format!("cozystack.gizmo{number}");
        let component = format!("gizmo{number}");
        let source = json!({
            "apiVersion": "cozystack.io/v1alpha1", "kind": "PackageSource", "metadata": {"name": name},
            "spec": {
                "sourceRef": {"kind": "OCIRepository", "name": "packages", "namespace": "cozy-system", "path": "/"},
                "variants": [{"name": "default", "dependsOn": ["cozystack.gizmo0"], "components": [
                    {"name": component, "path": "system/gizmo", "install": {"namespace": "cozy-gizmo", "releaseName": component}}]}],
            },
        });
        let package = json!({
            "apiVersion": "cozystack.io/v1alpha1", "kind": "Package", "metadata": {"name": name},
            "spec": {"variant": "default", "ignoreDependencies": [], "components": {component: {"values": {"note": "short"}}}},
        });
        for object in [source, package] {
            let kind = object["kind"].as_str().unwrap().to_owned();
            caches.put("cozystack.io", &kind, Object::of(object).unwrap());
        }
        caches.charts.put(
            &format!("cozystack-gizmo{number}-default-gizmo{number}"),
            Arc::clone(&chart),
        );
    }
}

/// Values of about 560 bytes a section.
fn gizmo_values(sections: usize) -> Value {
    let sections: serde_json::Map<String, Value> = (0..sections)
        .map(|number| {
            let users: Vec<Value> = (0..4)
                .map(|user| json!({"name": format!("user-{user}"), "roles": ["reader", "writer"], "quota": "10Gi"}))
                .collect();
            let section = json!({
                "enabled": true, "replicas": 3, "host": format!("gizmo{number}.example.org"), "port": 8080,
                "resources": {"cpu": "500m", "memory": 512, "limits": {"cpu": 2, "memory": "1Gi"}},
                "labels": {"app.kubernetes.io/name": "gizmo", "team": "platform"}, "users": users,
            });
            (format!("section{number:02}"), section)
        })
        .collect();
    Value::Object(sections)
}

/// A schema of about 23 KB: patterns, numbers or strings, no unknown names.
fn gizmo_schema() -> Value {
    let quantity = json!({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^[0-9]+(m|Ki|Mi|Gi)?$"}],
        "description": "How much of it is asked for, as Kubernetes writes quantities."});
    let properties: serde_json::Map<String, Value> = (0..12)
        .map(|number| {
            let section = json!({
                "type": "object", "additionalProperties": false, "required": ["enabled", "host"],
                "properties": {
                    "enabled": {"type": "boolean", "description": "Whether this section is there at all."},
                    "replicas": {"type": "integer", "minimum": 1, "maximum": 9, "description": "How many there are of it."},
                    "host": {"type": "string", "pattern": "^[a-z0-9.-]+$", "maxLength": 253, "description": "Where it is found."},
                    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
                    "resources": {"type": "object", "additionalProperties": false, "properties": {"cpu": quantity, "memory": quantity,
                        "limits": {"type": "object", "additionalProperties": false, "properties": {"cpu": quantity, "memory": quantity}}}},
                    "labels": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 63}},
                    "users": {"type": "array", "items": {"type": "object", "additionalProperties": false, "required": ["name"], "properties": {
                        "name": {"type": "string", "pattern": "^[a-z][a-z0-9-]*$"}, "quota": quantity,
                        "roles": {"type": "array", "items": {"enum": ["reader", "writer", "owner"]}}}}},
                },
            });
            (format!("section{number:02}"), section)
        })
        .collect();
    json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
        "additionalProperties": false, "properties": properties})
}

/// A new Package of 12 KB, 5.6 KB of it values, as Flux applies it.
fn package() -> Vec<u8> {
    package_with(gizmo_values(12), "cozystack.gizmo1")
}

fn package_with(values: Value, name: &str) -> Vec<u8> {
    let component = name.trim_start_matches("cozystack.");
    let object = |padding| {
        json!({
            "apiVersion": "cozystack.io/v1alpha1", "kind": "Package",
            "metadata": {"name": name, "managedFields": managed_fields(padding)},
            "spec": {"variant": "default", "components": {component: {"values": values}}},
        })
    };
    let review = |padding| {
        json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "operation": "CREATE", "name": name,
                "kind": {"group": "cozystack.io", "version": "v1alpha1", "kind": "Package"},
                "resource": {"group": "cozystack.io", "version": "v1alpha1", "resource": "packages"},
                "userInfo": {"username": "flux", "groups": ["system:authenticated"]},
                "object": object(padding), "oldObject": null, "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
            },
        })
        .to_string()
        .into_bytes()
    };
    let mut padding = 0;
    let mut body = review(padding);
    while body.len() < 12_000 {
        padding += 40;
        body = review(padding);
    }
    body
}

const SHARD: &str = "/mutate/helm.toolkit.fluxcd.io/helmreleases";

/// What a review costs beside a hundred tenants and beside fifty thousand, and what memory each takes.
fn beside_tenants(few: &Server) {
    let many = Server::start(Cached {
        tenants: MANY_TENANTS,
        ..Cached::USUAL
    });
    println!(
        "\n{:<34}{:>20}{:>20}{:>10}",
        "CPU us/review", "100 tenants", "50,000 tenants", "ratio"
    );
    for (name, path, body) in [
        ("shard of a new release", SHARD, release(12_000, false)),
        (
            "labels of a namespace",
            "/mutate/core/namespaces",
            bare_namespace(),
        ),
        (
            "egress of a tenant, completed",
            "/mutate/cilium.io/ciliumclusterwidenetworkpolicies",
            egress(),
        ),
        (
            "egress of a tenant, checked",
            "/validate/cilium.io/ciliumclusterwidenetworkpolicies",
            egress(),
        ),
    ] {
        let (_, one, _, _) = few.load(few.admission, path, &body);
        let (_, two, _, _) = many.load(many.admission, path, &body);
        println!("{name:<34}{one:>20.1}{two:>20.1}{:>10.2}", two / one);
    }
    println!(
        "memory of a cached namespace: {} bytes",
        many.bytes_per_tenant
    );
}

fn serve(cached: Cached) {
    let caches = Arc::new(Caches::of(REGISTRY));
    let before = resident_bytes();
    for number in 0..cached.tenants {
        caches.put("", "Namespace", Object::of(namespace(number)).unwrap());
    }
    let bytes_per_tenant = (resident_bytes() - before) / cached.tenants.max(1);
    fill(&caches, cached.packages);
    add_machines(&caches, cached.machines);
    add_policies(&caches, cached.policies, cached.other_policies);
    if cached.has_hostile_policy {
        let policy = json!({
            "apiVersion": "policy.cozystack.io/v1alpha1", "kind": "PackagePolicy", "metadata": {"name": "hostile"},
            "spec": {
                "match": {"packages": {"names": ["cozystack.gizmo2"]}, "components": ["*"]},
                "validations": [{"expression": "values.list.all(a, values.list.all(b, a + b >= 0))"}],
            },
        });
        caches.policies.put(&Object::of(policy).unwrap());
    }
    caches.put("", "Namespace", Object::of(root()).unwrap());
    caches.put("apps", "Deployment", Object::of(flux_tenants()).unwrap());
    caches.settle();
    let service = Arc::new(Service::new(
        Dispatcher::new(REGISTRY, Settings::default()),
        caches,
    ));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let authority = std::env::temp_dir().join(format!(
        "cozystack-webhook-bench-{}.crt",
        std::process::id()
    ));
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let config = Config {
        admission: any,
        conversion: any,
        probes: any,
        metrics: any,
        certificate: CertificateSource::SelfSigned {
            names: vec!["localhost".to_owned()],
            authority_file: Some(authority.clone()),
        },
        workers: 1,
        drain: Duration::ZERO,
        has_null_route: true,
    };
    let running = {
        let _inside = runtime.enter();
        start(&config, service).unwrap()
    };
    println!(
        "{} {} {} {bytes_per_tenant}",
        running.addresses.admission,
        running.addresses.conversion,
        authority.display()
    );
    std::io::stdout().flush().unwrap();
    // Until the parent is gone.
    let _ = std::io::stdin().read_line(&mut String::new());
    let _ = std::fs::remove_file(authority);
}

/// Memory of this process that is in use.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

struct Server {
    bytes_per_tenant: usize,
    child: Child,
    admission: SocketAddr,
    conversion: SocketAddr,
    client: Arc<rustls::ClientConfig>,
}

impl Server {
    fn start(cached: Cached) -> Server {
        // The client's threads inherit the second core; the server gets the first to itself.
        let this = std::process::id().to_string();
        let pinned = Command::new("taskset")
            .args(["-a", "-p", "-c", "1", &this])
            .stdout(Stdio::null())
            .status();
        let is_pinned = pinned.is_ok_and(|status| status.success());
        let program = std::env::current_exe().unwrap();
        let mut command = if is_pinned {
            let mut command = Command::new("taskset");
            command.args(["-c", "0"]).arg(program);
            command
        } else {
            eprintln!(
                "taskset is not there: server and client share the cores, figures are not comparable"
            );
            Command::new(program)
        };
        let mut child = command
            .arg("--serve")
            .args(
                [
                    cached.packages,
                    cached.tenants,
                    cached.machines,
                    cached.policies,
                    cached.other_policies,
                    usize::from(cached.has_hostile_policy),
                ]
                .map(|count| count.to_string()),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let client = http::client_config(&std::fs::read_to_string(words[2]).unwrap());
        Server {
            bytes_per_tenant: words[3].parse().unwrap(),
            child,
            admission: words[0].parse().unwrap(),
            conversion: words[1].parse().unwrap(),
            client,
        }
    }

    fn connect(&self, address: SocketAddr) -> Connection {
        Connection::open(address, &self.client).unwrap()
    }

    /// CPU time of the server so far, in seconds.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        // USER_HZ is 100 on every Linux.
        ticks / 100.0
    }

    fn status_kib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Requests a second, CPU microseconds a request, p50 and p99 in microseconds.
    fn load(&self, address: SocketAddr, path: &str, body: &[u8]) -> (f64, f64, u64, u64) {
        self.round(address, path, body, WARM_UP);
        let before = self.cpu();
        let started = Instant::now();
        let mut latencies = self.round(address, path, body, ROUND);
        let elapsed = started.elapsed().as_secs_f64();
        let cpu = self.cpu() - before;
        latencies.sort_unstable();
        let count = latencies.len();
        let at = |share: usize| latencies[count * share / 100];
        (
            count as f64 / elapsed,
            cpu * 1e6 / count as f64,
            at(50),
            at(99),
        )
    }

    /// One thread asks on all connections and never sleeps: to wake a client that waits on this machine costs the
    /// server's core, the more the longer it has waited, and a client elsewhere costs it nothing of the kind.
    fn round(&self, address: SocketAddr, path: &str, body: &[u8], time: Duration) -> Vec<u64> {
        let mut connections: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let connection = self.connect(address).unblocked().unwrap();
                (connection, Instant::now(), false)
            })
            .collect();
        let mut latencies = Vec::new();
        let end = Instant::now() + time;
        while Instant::now() < end {
            for (connection, asked, waits) in &mut connections {
                if !*waits {
                    *asked = Instant::now();
                    connection.ask(path, body).unwrap();
                    *waits = true;
                } else if let Some(answer) = connection.poll().unwrap() {
                    latencies.push(asked.elapsed().as_micros() as u64);
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    debug_assert!(answer.text().contains("\"uid\""));
                    *waits = false;
                }
            }
        }
        latencies
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// managedFields of about that size.
fn managed_fields(bytes: usize) -> Value {
    let fields: serde_json::Map<String, Value> = (0..bytes / 40)
        .map(|number| {
            (
                format!("f:field{number:04}"),
                json!({"f:inner": {}, ".": {}}),
            )
        })
        .collect();
    json!([{"manager": "flux", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": fields}])
}

/// An UPDATE of about `size` bytes: `make` gives the object for a number of bytes of managedFields.
fn update(
    size: usize,
    resource: (&str, &str, &str, &str),
    make: impl Fn(usize) -> Value,
) -> Vec<u8> {
    let (group, version, kind, plural) = resource;
    let review = |padding: usize| {
        let object = make(padding);
        json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "operation": "UPDATE", "name": "one", "namespace": "tenant-a",
                "kind": {"group": group, "version": version, "kind": kind},
                "resource": {"group": group, "version": version, "resource": plural},
                "userInfo": {"username": "flux", "groups": ["system:authenticated"]},
                "object": object, "oldObject": object, "options": {"apiVersion": "meta.k8s.io/v1", "kind": "UpdateOptions"},
            },
        })
        .to_string()
        .into_bytes()
    };
    let bare = review(0).len();
    // Both objects grow.
    let mut padding = size.saturating_sub(bare) / 2;
    let mut body = review(padding);
    while body.len() < size && padding > 0 {
        padding += (size - body.len()) / 2 + 20;
        body = review(padding);
    }
    body
}

fn helm_release(size: usize) -> Vec<u8> {
    update(
        size,
        (
            "helm.toolkit.fluxcd.io",
            "v2",
            "HelmRelease",
            "helmreleases",
        ),
        |padding| {
            json!({
                "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
                "metadata": {"name": "one", "namespace": "tenant-a", "labels": {"cozystack.io/ui": "true"}, "managedFields": managed_fields(padding / 2)},
                "spec": {"interval": "5m", "values": managed_fields(padding / 2)},
            })
        },
    )
}

/// A release of a tenant without its shard: a new one, or one that has lost it.
fn release(size: usize, is_update: bool) -> Vec<u8> {
    let make = |padding: usize| {
        json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": "one", "namespace": "tenant-t7", "labels": {"cozystack.io/ui": "true"}, "managedFields": managed_fields(padding / 2)},
            "spec": {"interval": "5m", "values": managed_fields(padding / 2)},
        })
    };
    let resource = (
        "helm.toolkit.fluxcd.io",
        "v2",
        "HelmRelease",
        "helmreleases",
    );
    if !is_update {
        return create(size, resource, "tenant-t7", make);
    }
    let body = update(size, resource, make);
    let mut review: Value = serde_json::from_slice(&body).unwrap();
    review["request"]["namespace"] = "tenant-t7".into();
    review["request"]["oldObject"]["metadata"]["labels"]["sharding.fluxcd.io/key"] =
        "tenants".into();
    review.to_string().into_bytes()
}

/// A CREATE of about `size` bytes.
fn create(
    size: usize,
    (group, version, kind, plural): (&str, &str, &str, &str),
    namespace: &str,
    make: impl Fn(usize) -> Value,
) -> Vec<u8> {
    let review = |padding: usize| {
        let object = make(padding);
        json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "operation": "CREATE",
                "name": object["metadata"]["name"], "namespace": namespace,
                "kind": {"group": group, "version": version, "kind": kind},
                "resource": {"group": group, "version": version, "resource": plural},
                "userInfo": {"username": "anna", "groups": ["system:authenticated"]},
                "object": object, "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
            },
        })
        .to_string()
        .into_bytes()
    };
    let mut padding = 0;
    let mut body = review(padding);
    while body.len() < size {
        padding += size - body.len() + 40;
        body = review(padding);
    }
    body
}

/// A tenant's namespace as it is in a cluster.
fn namespace(number: usize) -> Value {
    let name = format!("tenant-t{number}");
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": name, "uid": format!("705ab4f5-6393-11e8-b7cc-{number:012}"), "resourceVersion": "123456789",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {
                "kubernetes.io/metadata.name": name, "app.kubernetes.io/managed-by": "Helm",
                format!("tenant.cozystack.io/{name}"): "", "tenant.cozystack.io/tenant-root": "",
                "namespace.cozystack.io/etcd": "tenant-root", "namespace.cozystack.io/ingress": "tenant-root",
                "namespace.cozystack.io/monitoring": "tenant-root", "namespace.cozystack.io/seaweedfs": "tenant-root",
                "namespace.cozystack.io/host": format!("t{number}.cloud.example.org"),
                "alpha.kubevirt.io/auto-memory-limits-ratio": "1.0",
            },
            "annotations": {"meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": "tenant-root"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Namespace", "name": "tenant-root",
                "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "controller": true, "blockOwnerDeletion": true}],
            "managedFields": managed_fields(1_000),
        },
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
    })
}

fn root() -> Value {
    json!({"metadata": {"name": "tenant-root", "labels": {"namespace.cozystack.io/host": "cloud.example.org"}}})
}

fn flux_tenants() -> Value {
    json!({
        "metadata": {"name": "flux-tenants", "namespace": "cozy-fluxcd"},
        "spec": {"template": {"spec": {"containers": [
            {"name": "helm-controller", "args": ["--watch-label-selector=sharding.fluxcd.io/key=tenants"]}]}}},
    })
}

fn bare_namespace() -> Vec<u8> {
    let resource = ("", "v1", "Namespace", "namespaces");
    create(
        0,
        resource,
        "tenant-t7-x",
        |_| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant-t7-x"}}),
    )
}

fn egress() -> Vec<u8> {
    let resource = (
        "cilium.io",
        "v2",
        "CiliumClusterwideNetworkPolicy",
        "ciliumclusterwidenetworkpolicies",
    );
    create(0, resource, "", |_| {
        json!({
            "apiVersion": "cilium.io/v2", "kind": "CiliumClusterwideNetworkPolicy", "metadata": {"name": "tenant-t7-egress"},
            "spec": {
                "endpointSelector": {"matchLabels": {"k8s:io.kubernetes.pod.namespace": "tenant-t7"}},
                "egress": [{"toEndpoints": [{"matchLabels": {"k8s:io.cilium.k8s.namespace.labels.tenant.cozystack.io/tenant-t7": ""}}]}],
            },
        })
    })
}

/// Half of it schema, as real definitions have it.
fn definition(size: usize) -> Vec<u8> {
    update(
        size,
        (
            "cozystack.io",
            "v1alpha1",
            "ApplicationDefinition",
            "applicationdefinitions",
        ),
        |padding| {
            let properties: serde_json::Map<String, Value> = (0..padding / 400)
            .map(|number| {
                let schema = json!({"description": "What this value is for, in a sentence of the usual length.", "type": "object",
                    "properties": {"cpu": {"type": "string", "pattern": "^[0-9]+m?$"}, "count": {"type": "integer", "minimum": 0}}});
                (format!("value{number:03}"), schema)
            })
            .collect();
            json!({
                "apiVersion": "cozystack.io/v1alpha1", "kind": "ApplicationDefinition",
                "metadata": {"name": "one", "managedFields": managed_fields(padding / 2)},
                "spec": {
                    "application": {"kind": "One", "plural": "ones", "singular": "one",
                        "openAPISchema": json!({"type": "object", "properties": properties}).to_string()},
                    "release": {"prefix": "one-", "labels": {"cozystack.io/ui": "true"},
                        "chartRef": {"kind": "ExternalArtifact", "name": "cozystack-vpn-application-default-vpn", "namespace": "cozy-system"}},
                    "secrets": {"include": [{"resourceNames": ["one-{{ .name }}-credentials"]}]},
                },
            })
        },
    )
}

fn conversion(count: usize) -> Vec<u8> {
    let object = json!({
        "apiVersion": "cozystack.io/v1alpha1", "kind": "CozystackResourceDefinition",
        "metadata": {"name": "one", "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "managedFields": managed_fields(3_000)},
        "spec": {
            "application": {"kind": "One", "plural": "ones", "singular": "one", "openAPISchema": "x".repeat(4_000)},
            "release": {"prefix": "one-", "labels": {"cozystack.io/ui": "true"},
                "chart": {"name": "vpn", "sourceRef": {"kind": "HelmRepository", "name": "cozystack-apps", "namespace": "cozy-public"}}},
            "dashboard": {"category": "c", "singular": "s", "plural": "p", "icon": "x".repeat(2_000)},
        },
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
        "request": {"uid": "c", "desiredAPIVersion": "cozystack.io/v1alpha2", "objects": vec![object; count]},
    })
    .to_string()
    .into_bytes()
}
