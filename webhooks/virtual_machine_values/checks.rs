//! What is wrong with the values of a virtual machine, whatever their schema says.

use super::Kind;
use crate::contract::{Path, Verdict, Violation};
use crate::machines::External;
use serde_json::{Map, Value};
use std::collections::HashSet;

/// Most items of a list that are reported: a thousand wrong ports are as wrong as a hundred.
const REPORTED_MAX: usize = 100;
/// The highest port.
const PORT_MAX: u64 = 65_535;
const METHODS: [&str; 2] = ["PortList", "WholeIP"];

/// What is known beside the values.
pub struct Facts {
    /// Of which kind the application is.
    pub kind: Kind,
    /// Whether a load balancer is made.
    pub external: External,
    /// Whether the chart looks at `runStrategy`, and at nothing else.
    pub has_run_strategy: bool,
}

/// Adds everything that is wrong with the values.
pub fn check(values: &Map<String, Value>, facts: &Facts, verdict: &mut Verdict) {
    let root = Path::ROOT;
    let spec = root.member("spec");
    let path = spec.member("values");
    if let Some(external) = values.get("external").filter(|value| !value.is_boolean()) {
        verdict.refuse(Violation::invalid(
            &path.member("external"),
            external.clone(),
            "must be true or false (spec.external of the application)",
        ));
    }
    if let Some(method) = values.get("externalMethod")
        && !METHODS.iter().any(|known| method == *known)
    {
        verdict.refuse(Violation::not_supported(
            &path.member("externalMethod"),
            method.clone(),
            &METHODS,
        ));
    }
    check_ports(values, facts, &path.member("externalPorts"), verdict);
    if facts.kind == Kind::Instance {
        check_disks(values, &path.member("disks"), verdict);
    }
    check_running(values, facts, &path.member("running"), verdict);
}

fn check_ports(values: &Map<String, Value>, facts: &Facts, path: &Path<'_>, verdict: &mut Verdict) {
    let Some(value) = values.get("externalPorts") else {
        return;
    };
    let method = values.get("externalMethod");
    let is_port_list = method.is_none_or(|method| method == "PortList");
    let needs_ports = is_port_list && facts.external == External::Yes;
    let no_ports = || {
        Violation::required(
            path,
            "PortList must name at least one port (spec.externalPorts of the application)",
        )
    };
    let ports = match value {
        // Helm takes the default away.
        Value::Null if needs_ports => {
            verdict.refuse(no_ports());
            return;
        }
        Value::Null => return,
        Value::Array(ports) => ports,
        other => {
            verdict.refuse(Violation::wrong_type(
                path,
                other,
                "a list (spec.externalPorts of the application)",
            ));
            return;
        }
    };
    if ports.is_empty() && needs_ports {
        verdict.refuse(no_ports());
    }
    let mut seen = HashSet::new();
    let mut violations = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let number = port
            .as_u64()
            .filter(|number| (1..=PORT_MAX).contains(number));
        match number {
            None => violations.push(Violation::invalid(
                &path,
                port.clone(),
                "must be a whole number from 1 to 65535 (spec.externalPorts of the application)",
            )),
            Some(number) if !seen.insert(number) => violations.push(Violation::duplicate(
                &path,
                number,
                "is listed before (spec.externalPorts of the application)",
            )),
            Some(_) => {}
        }
        if violations.len() == REPORTED_MAX {
            break;
        }
    }
    if facts.external == External::No {
        // The chart renders none of them yet; once it is to, they are refused.
        for violation in violations {
            verdict.warn(violation.message());
        }
    } else {
        verdict.violations.append(&mut violations);
    }
}

fn check_disks(values: &Map<String, Value>, path: &Path<'_>, verdict: &mut Verdict) {
    let mut seen = HashSet::new();
    let disks = values.get("disks").and_then(Value::as_array);
    let mut reported = 0;
    for (index, disk) in disks.into_iter().flatten().enumerate() {
        let Some(name) = disk.get("name").and_then(Value::as_str) else {
            continue;
        };
        if !seen.insert(name) && reported < REPORTED_MAX {
            verdict.refuse(Violation::duplicate(
                &path.index(index).member("name"),
                name,
                "is attached before (spec.disks of the application)",
            ));
            reported += 1;
        }
    }
}

fn check_running(
    values: &Map<String, Value>,
    facts: &Facts,
    path: &Path<'_>,
    verdict: &mut Verdict,
) {
    let Some(running) = values.get("running").filter(|value| !value.is_null()) else {
        return;
    };
    if !facts.has_run_strategy {
        if facts.kind == Kind::VirtualMachine && running == false {
            verdict.refuse(Violation::invalid(
                path,
                false,
                "the chart reads false as true, and starts the machine (spec.running of the application)",
            ));
        }
        return;
    }
    let strategy = match values.get("runStrategy") {
        // Helm takes the default away, and the chart looks at the other one.
        Some(Value::Null) => return,
        strategy => strategy,
    };
    let meaning = running
        .as_bool()
        .map(|runs| if runs { "Always" } else { "Halted" });
    if meaning.is_some_and(|meaning| strategy.map_or(meaning == "Always", |set| set == meaning)) {
        verdict.warn(
            "spec.values.running: has no effect, only runStrategy counts (spec.running of the application)",
        );
        return;
    }
    let remedy = match (strategy, meaning) {
        (None, Some(_)) => "set it to Halted",
        _ => "take this out",
    };
    verdict.refuse(Violation::invalid(
        path,
        running.clone(),
        format!(
            "has no effect, only runStrategy counts: {remedy} (spec.running of the application)"
        ),
    ));
}
