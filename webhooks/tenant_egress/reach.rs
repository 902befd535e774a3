//! Which tenants' pods the pods of a tenant may reach by a policy, and whether that is anybody else's business.

use super::needs::{Shared, ingress_service};
use super::policy::{Bound, Selector, destinations, has_items, list, specs};
use crate::contract::{Fault, Operation, Path, Request, Violation};
use crate::tenants::{self, Ancestors, MODULE_LABEL_PREFIX, ROOT, Trouble, is_tenant};
use serde_json::{Map, Value, json};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

/// Most violations of one policy: one that reaches a million strangers is as wrong as one that reaches a hundred.
const VIOLATIONS_MAX: usize = 100;
/// Most violations that are known of the policy before the change: more than are reported, so that what comes into
/// sight when others are put right is an old sin still.
const OLD_VIOLATIONS_MAX: usize = 10_000;

/// Comparisons of one tenant with another that hold nobody up: some microseconds.
const BRIEF: usize = 1_000;
/// How many of them it takes to follow a chain of parents.
const CHAIN: usize = 10;

/// Labels of pods that an ancestor shares, by which its other pods are told apart.
const SHARED_LABELS: [(&str, &[&str]); 3] = [
    ("cozystack.io/service", &["ingress", "etcd"]),
    ("app.kubernetes.io/instance", &["etcd"]),
    ("app.kubernetes.io/name", &["vminsert", "vlinsert"]),
];

/// The chart's policy for the API server, of which one rule has ports and no destination.
const TO_APISERVER: &str = "allow-to-apiserver";
const TO_APISERVER_LABEL: &str = "policy.cozystack.io/allow-to-apiserver";

/// Whose pods a policy is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    /// That tenant's.
    One(String),
    /// That tenant's and its descendants'.
    Below(String),
    /// Any tenant's.
    Any,
}

impl Subject {
    fn is_a_stranger(&self) -> String {
        match self {
            Subject::One(tenant) => format!("{tenant} is a stranger"),
            Subject::Below(tenant) => format!("descendants of {tenant} are strangers"),
            Subject::Any => "other tenants are strangers".to_owned(),
        }
    }
}

/// What is wrong with one destination.
enum Wrong {
    /// Pods of that tenant are a stranger's.
    Stranger(String),
    /// Of that ancestor more pods than the shared ones.
    TooMuch(String),
    /// Descendants of an ancestor, strangers among them.
    Descendants(String),
    /// Nothing says whose pods they are.
    Anybody,
}

impl Wrong {
    fn sentence(&self, subject: &Subject) -> String {
        let is_a_stranger = subject.is_a_stranger();
        match self {
            Wrong::Stranger(tenant) => {
                format!("reaches pods of {tenant}, to which {is_a_stranger}")
            }
            Wrong::TooMuch(tenant) => format!(
                "reaches all pods of {tenant}: of an ancestor only ingress, etcd and vminsert may be reached, by their label"
            ),
            Wrong::Descendants(tenant) => {
                format!(
                    "reaches pods of all descendants of {tenant}, to some of which {is_a_stranger}"
                )
            }
            Wrong::Anybody => {
                "reaches pods of any tenant: it must name the namespace of the pods".to_owned()
            }
        }
    }
}

/// Everything that a policy of Cilium lets pods of tenants reach and should not.
pub fn of_cilium(policy: &Value, request: &Request<'_>) -> Result<Vec<Violation>, Fault> {
    let mut violations = Vec::new();
    let max = violations_max(request);
    let is_namespaced = !request.namespace.is_empty();
    if is_namespaced && is_to_apiserver(policy) {
        return Ok(violations);
    }
    let root = Path::ROOT;
    let (spec_path, specs_path) = (root.member("spec"), root.member("specs"));
    let kin = Kin::of(request);
    for (index, spec) in specs(policy) {
        request.deadline.check()?;
        let item_path = specs_path.index(index.unwrap_or_default());
        let path = if index.is_some() {
            &item_path
        } else {
            &spec_path
        };
        let subjects = if is_namespaced {
            vec![Subject::One(request.namespace.to_owned())]
        } else {
            subjects(spec)
        };
        let about = About::of(spec, &["endpointSelector"]);
        let rules_path = path.member("egress");
        for (index, rule) in list(spec.get("egress"))
            .unwrap_or_default()
            .iter()
            .enumerate()
        {
            let Some(members) = rule.as_object() else {
                continue;
            };
            request.deadline.check()?;
            if violations.len() >= max {
                return Ok(violations);
            }
            let judge = Judge {
                subjects: &subjects,
                found: Found::of(&about, rule),
                max,
                kin: &kin,
            };
            judge.cilium_rule(
                members,
                &rules_path.index(index),
                is_namespaced,
                &mut violations,
            )?;
        }
    }
    Ok(violations)
}

/// Everything that a NetworkPolicy of a tenant's namespace lets its pods reach and should not. It is judged also where
/// `policyTypes` puts it out of force: somebody may put it in force later.
pub fn of_network_policy(policy: &Value, request: &Request<'_>) -> Result<Vec<Violation>, Fault> {
    let mut violations = Vec::new();
    let max = violations_max(request);
    let Some(spec) = policy.get("spec").and_then(Value::as_object) else {
        return Ok(violations);
    };
    let root = Path::ROOT;
    let spec_path = root.member("spec");
    let rules_path = spec_path.member("egress");
    let subjects = [Subject::One(request.namespace.to_owned())];
    let kin = Kin::of(request);
    let about = About::of(spec, &["podSelector", "policyTypes"]);
    for (index, rule) in list(spec.get("egress"))
        .unwrap_or_default()
        .iter()
        .enumerate()
    {
        request.deadline.check()?;
        if violations.len() >= max {
            break;
        }
        let path = rules_path.index(index);
        let judge = Judge {
            subjects: &subjects,
            found: Found::of(&about, rule),
            max,
            kin: &kin,
        };
        let peers = list(rule.get("to")).unwrap_or_default();
        if peers.is_empty() {
            judge.refuse(&path, NO_DESTINATION, &mut violations);
        }
        let peers_path = path.member("to");
        for (index, peer) in peers.iter().enumerate() {
            if violations.len() >= max {
                break;
            }
            let path = peers_path.index(index);
            let Some(peer) = peer.as_object() else {
                continue;
            };
            if has(peer, "ipBlock") || !has(peer, "namespaceSelector") {
                continue;
            }
            match Selector::of_peer(peer) {
                Ok(selector) => judge.selector(&selector, &path, &mut violations)?,
                Err(why) => judge.refuse(&path, unreadable(&why), &mut violations),
            }
        }
    }
    Ok(violations)
}

const NO_DESTINATION: &str = "names no destination, and so reaches pods of any tenant";

fn unreadable(why: &str) -> String {
    format!("{why}, and may reach pods of any tenant")
}

fn has(object: &Map<String, Value>, member: &str) -> bool {
    object.get(member).is_some_and(|value| !value.is_null())
}

/// Whose pods one part of a clusterwide policy is about; empty when no tenant's.
fn subjects(spec: &Map<String, Value>) -> Vec<Subject> {
    let Some(selector) = spec
        .get("endpointSelector")
        .filter(|value| !value.is_null())
    else {
        // A policy of nodes.
        return if has(spec, "nodeSelector") {
            Vec::new()
        } else {
            vec![Subject::Any]
        };
    };
    let Ok(selector) = Selector::of_cilium(selector) else {
        return vec![Subject::Any];
    };
    if selector.selects_no_pod() {
        return Vec::new();
    }
    let bounds = selector.bounds();
    let named = bounds.iter().find_map(|bound| match bound {
        Bound::Named(names) => Some(names),
        _ => None,
    });
    if let Some(names) = named {
        let tenants = names.iter().filter(|name| is_tenant(name));
        let mut subjects: Vec<Subject> = tenants
            .map(|name| Subject::One((*name).to_owned()))
            .collect();
        subjects.sort();
        subjects.dedup();
        return subjects;
    }
    if bounds.contains(&Bound::System) {
        return Vec::new();
    }
    let below = bounds.iter().find_map(|bound| match bound {
        Bound::Below(tenant) => Some(Subject::Below((*tenant).to_owned())),
        _ => None,
    });
    vec![below.unwrap_or(Subject::Any)]
}

/// How many violations are reported of a policy; more are known of the policy before the change.
fn violations_max(request: &Request<'_>) -> usize {
    if request.operation == Operation::Update && request.old_object.is_none() {
        OLD_VIOLATIONS_MAX
    } else {
        VIOLATIONS_MAX
    }
}

/// What of a policy's part decides about all of its rules.
struct About<'a> {
    values: Vec<Option<&'a Value>>,
    digest: OnceCell<u64>,
}

impl<'a> About<'a> {
    fn of(spec: &'a Map<String, Value>, members: &[&str]) -> About<'a> {
        About {
            values: members.iter().map(|member| spec.get(*member)).collect(),
            digest: OnceCell::new(),
        }
    }
}

/// All that decides what a rule lets through: when any of it changes, an old sin is a new one. Its digest costs what its
/// text is long, so it is made for what is refused only, once.
struct Found<'a> {
    about: &'a About<'a>,
    rule: &'a Value,
    digest: OnceCell<u64>,
}

impl<'a> Found<'a> {
    fn of(about: &'a About<'a>, rule: &'a Value) -> Found<'a> {
        Found {
            about,
            rule,
            digest: OnceCell::new(),
        }
    }

    fn digest(&self) -> u64 {
        *self.digest.get_or_init(|| {
            let about = *self
                .about
                .digest
                .get_or_init(|| digest(&json!(self.about.values)));
            let mut hasher = DefaultHasher::new();
            about.hash(&mut hasher);
            self.rule.to_string().hash(&mut hasher);
            hasher.finish()
        })
    }
}

fn digest(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}

/// Who is whose ancestor: each chain is followed once a request.
struct Kin<'a> {
    request: &'a Request<'a>,
    known: RefCell<HashMap<String, Rc<Ancestors>>>,
    /// Comparisons so far.
    work: Cell<usize>,
}

impl<'a> Kin<'a> {
    fn of(request: &'a Request<'a>) -> Kin<'a> {
        Kin {
            request,
            known: RefCell::default(),
            work: Cell::new(0),
        }
    }

    /// An error once there have been so many comparisons that others would wait, and nobody has moved this out of their
    /// way; and when the time is over.
    fn spend(&self, comparisons: usize) -> Result<(), Fault> {
        let work = self.work.get().saturating_add(comparisons);
        self.work.set(work);
        if work > BRIEF {
            self.request.deadline.check_long()
        } else {
            Ok(())
        }
    }

    fn ancestors(&self, tenant: &str) -> Result<Rc<Ancestors>, Fault> {
        if let Some(known) = self.known.borrow().get(tenant) {
            return Ok(Rc::clone(known));
        }
        self.spend(CHAIN)?;
        let found = Rc::new(tenants::ancestors(tenant, self.request.cluster));
        let mut known = self.known.borrow_mut();
        known.insert(tenant.to_owned(), Rc::clone(&found));
        Ok(found)
    }

    fn tenant<'n>(&self, name: &'n str) -> Result<Tenant<'n>, Fault> {
        let ancestors = self.ancestors(name)?;
        Ok(Tenant { name, ancestors })
    }
}

/// A tenant and its ancestors.
struct Tenant<'a> {
    name: &'a str,
    ancestors: Rc<Ancestors>,
}

impl Tenant<'_> {
    /// Whether it is a descendant of `of`. A chain that breaks goes on by name.
    fn descends(&self, of: &str) -> bool {
        if of == ROOT {
            return self.name != ROOT;
        }
        let Ancestors { names, trouble } = &*self.ancestors;
        names.iter().any(|name| name == of)
            || matches!(trouble, Some(Trouble::Missing(last)) if last.strip_prefix(of).is_some_and(|rest| rest.starts_with('-')))
    }
}

/// A bound, and what is known of the tenants in it: only theirs matters.
enum Within<'a> {
    Named(Vec<Tenant<'a>>),
    Below(Tenant<'a>),
}

struct Judge<'a> {
    subjects: &'a [Subject],
    /// Not more violations than this.
    max: usize,
    found: Found<'a>,
    kin: &'a Kin<'a>,
}

impl Judge<'_> {
    fn refuse(&self, path: &Path<'_>, why: impl Into<String>, violations: &mut Vec<Violation>) {
        if !self.subjects.is_empty() && violations.len() < self.max {
            let mut violation = Violation::forbidden(path, why);
            violation.found = Some(self.found.digest().into());
            violations.push(violation);
        }
    }

    fn cilium_rule(
        &self,
        rule: &Map<String, Value>,
        path: &Path<'_>,
        is_namespaced: bool,
        violations: &mut Vec<Violation>,
    ) -> Result<(), Fault> {
        let items = |member: &str| {
            list(rule.get(member))
                .unwrap_or_default()
                .iter()
                .enumerate()
        };
        if destinations(rule).is_empty() && (has_items(rule, "toPorts") || has_items(rule, "icmps"))
        {
            self.refuse(path, NO_DESTINATION, violations);
        }
        let endpoints = path.member("toEndpoints");
        for (index, selector) in items("toEndpoints") {
            if violations.len() >= self.max {
                return Ok(());
            }
            let path = endpoints.index(index);
            match Selector::of_cilium(selector) {
                Err(why) => self.refuse(&path, unreadable(&why), violations),
                Ok(selector) if selector.is_reserved() => self.refuse(
                    &path,
                    "has a reserved: key, and so reaches pods of any tenant: name what is no pod under toEntities",
                    violations,
                ),
                // It gets the namespace of the policy.
                Ok(selector) if is_namespaced && !selector.names_namespaces() => {}
                Ok(selector) => self.selector(&selector, &path, violations)?,
            }
        }
        let entities = path.member("toEntities");
        for (index, entity) in items("toEntities") {
            if let Some(entity @ ("cluster" | "all")) = entity.as_str() {
                let why = format!("{entity} reaches pods of any tenant");
                self.refuse(&entities.index(index), why, violations);
            }
        }
        let services = path.member("toServices");
        for (index, service) in items("toServices") {
            if let Some(why) = self.wrong_service(service)? {
                self.refuse(&services.index(index), why, violations);
            }
        }
        Ok(())
    }

    fn selector(
        &self,
        selector: &Selector<'_>,
        path: &Path<'_>,
        violations: &mut Vec<Violation>,
    ) -> Result<(), Fault> {
        if self.subjects.is_empty() {
            return Ok(());
        }
        let shared = shared_by(selector);
        let bounds = selector.bounds();
        let mut within = Vec::new();
        for bound in &bounds {
            self.kin.spend(1)?;
            match bound {
                // Each bound holds, so one that is harmless to everybody is enough.
                Bound::System => return Ok(()),
                Bound::Named(names) => {
                    let mut names: Vec<&str> = names
                        .iter()
                        .copied()
                        .filter(|name| is_tenant(name))
                        .collect();
                    if names.is_empty() {
                        return Ok(());
                    }
                    names.sort_unstable();
                    names.dedup();
                    let tenants = names.into_iter().map(|name| self.kin.tenant(name));
                    within.push(Within::Named(tenants.collect::<Result<_, _>>()?));
                }
                Bound::Below(tenant) => within.push(Within::Below(self.kin.tenant(tenant)?)),
            }
        }
        for subject in self.subjects {
            // The same for each subject.
            let mut wrong = Some(Wrong::Anybody);
            for within in &within {
                wrong = self.wrong(subject, within, shared)?;
                if wrong.is_none() {
                    break;
                }
            }
            if let Some(wrong) = wrong {
                self.refuse(path, wrong.sentence(subject), violations);
                return Ok(());
            }
        }
        Ok(())
    }

    /// What is wrong with pods of the subject reaching those within the bound.
    fn wrong(
        &self,
        subject: &Subject,
        within: &Within<'_>,
        shared: SharedBy,
    ) -> Result<Option<Wrong>, Fault> {
        match within {
            Within::Named(tenants) => {
                for tenant in tenants {
                    if let Some(wrong) = self.wrong_tenant(subject, tenant, shared)? {
                        return Ok(Some(wrong));
                    }
                }
                Ok(None)
            }
            Within::Below(tenant) => {
                self.kin.spend(1)?;
                let is_own = match subject {
                    Subject::One(own) => own == tenant.name || tenant.descends(own),
                    Subject::Below(_) | Subject::Any => false,
                };
                Ok((!is_own).then(|| Wrong::Descendants(tenant.name.to_owned())))
            }
        }
    }

    fn wrong_tenant(
        &self,
        subject: &Subject,
        tenant: &Tenant<'_>,
        shared: SharedBy,
    ) -> Result<Option<Wrong>, Fault> {
        self.kin.spend(1)?;
        let name = tenant.name;
        let (is_own, is_ancestor) = match subject {
            Subject::One(own) if own == name || tenant.descends(own) => (true, false),
            Subject::One(own) => (false, self.kin.tenant(own)?.descends(name)),
            // To some of them it is an ancestor.
            Subject::Below(top) => (false, top == name || self.kin.tenant(top)?.descends(name)),
            Subject::Any => (false, name == ROOT),
        };
        if is_own || (is_ancestor && shared != SharedBy::Nothing) {
            return Ok(None);
        }
        if is_ancestor {
            return Ok(Some(Wrong::TooMuch(name.to_owned())));
        }
        if let Subject::One(own) = subject
            && self.is_assigned(own, name, shared)
        {
            return Ok(None);
        }
        Ok(Some(Wrong::Stranger(name.to_owned())))
    }

    /// Whether the platform has given these pods of that tenant to the other to use.
    fn is_assigned(&self, user: &str, owner: &str, shared: SharedBy) -> bool {
        let SharedBy::Pods(shared) = shared else {
            return false;
        };
        let module = match shared {
            Shared::VmInsert => "monitoring",
            Shared::Etcd => "etcd",
            Shared::Ingress => return false,
        };
        tenants::namespace(self.kin.request.cluster, user).is_some_and(|namespace| {
            namespace.label(&format!("{MODULE_LABEL_PREFIX}{module}")) == Some(owner)
        })
    }

    fn wrong_service(&self, item: &Value) -> Result<Option<String>, Fault> {
        let service = item.get("k8sService").filter(|value| !value.is_null());
        let by_labels = item
            .get("k8sServiceSelector")
            .filter(|value| !value.is_null());
        for (service, is_named) in service
            .map(|service| (service, true))
            .into_iter()
            .chain(by_labels.map(|service| (service, false)))
        {
            let text = |member: &str| service.get(member).and_then(Value::as_str);
            let Some(namespace) = text("namespace").filter(|namespace| !namespace.is_empty())
            else {
                return Ok(Some(
                    "names no namespace, and so reaches Services, and their pods, of any tenant"
                        .to_owned(),
                ));
            };
            if !is_tenant(namespace) {
                continue;
            }
            let tenant = self.kin.tenant(namespace)?;
            // Of an ancestor's Services one is known by its name.
            let is_ingress = is_named && text("serviceName") == Some(&ingress_service(namespace));
            let shared = if is_ingress {
                SharedBy::Pods(Shared::Ingress)
            } else {
                SharedBy::Nothing
            };
            for subject in self.subjects {
                if let Some(wrong) = self.wrong_tenant(subject, &tenant, shared)? {
                    return Ok(Some(wrong.sentence(subject)));
                }
            }
        }
        Ok(None)
    }
}

/// Which shared pods a selector keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SharedBy {
    /// To none.
    Nothing,
    /// To these.
    Pods(Shared),
}

fn shared_by(selector: &Selector<'_>) -> SharedBy {
    for (label, values) in SHARED_LABELS {
        let Some(wanted) = selector.values_of(label) else {
            continue;
        };
        if wanted.iter().all(|wanted| values.contains(wanted)) {
            return SharedBy::Pods(match label {
                "app.kubernetes.io/name" => Shared::VmInsert,
                "app.kubernetes.io/instance" => Shared::Etcd,
                _ if wanted == ["etcd"] => Shared::Etcd,
                _ => Shared::Ingress,
            });
        }
    }
    SharedBy::Nothing
}

/// Whether it is the chart's policy for the API server: by its name and by what it holds.
fn is_to_apiserver(policy: &Value) -> bool {
    let name = policy.pointer("/metadata/name").and_then(Value::as_str);
    let selector = json!({"matchLabels": {TO_APISERVER_LABEL: "true"}});
    let to_entity = json!({"toEntities": ["kube-apiserver"]});
    let to_port = json!({"toPorts": [{"ports": [{"port": "6443", "protocol": "TCP"}]}]});
    name == Some(TO_APISERVER)
        && list(policy.get("specs")).is_some_and(<[Value]>::is_empty)
        && policy.pointer("/spec/endpointSelector") == Some(&selector)
        && list(policy.pointer("/spec/egress"))
            .unwrap_or_default()
            .iter()
            .all(|rule| *rule == to_entity || *rule == to_port)
}
