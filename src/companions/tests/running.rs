//! The loop as it runs in the leader, over a server whose watches keep up.

use super::memory::{Name, Server, State};
use super::world::{
    CHART, Deed, Parent, RULES, Shape, catch_up, new_server, perform, relist, resource,
};
use crate::cluster::Caches;
use crate::companions::reconcile_all;
use crate::dispatch::Dispatcher;
use crate::events::Reason;
use crate::server::answer::Service;
use crate::server::metrics::{CompanionLabels, ReconcileLabels};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use webhooks::contract::{Mode, Settings};

const GADGETS: &str = "gadgets";
/// Long enough for everything that does not wait.
const SOON: Duration = Duration::from_millis(300);
/// When something that must come has not.
const TOO_LATE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);

struct Stage {
    server: Server,
    service: Service,
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}

impl Stage {
    fn new() -> Stage {
        let caches = Arc::new(Caches::of(RULES));
        let server = new_server();
        relist(&server, &caches, "HelmRelease");
        let dispatcher = Dispatcher::new(RULES, Settings::default());
        Stage {
            server,
            service: Service::new(dispatcher, caches),
        }
    }

    /// Leads for as long as `script` takes.
    async fn lead<T>(&self, script: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = script => done,
            () = reconcile_all(self.server.clone(), RULES, &self.service) => unreachable!(),
            () = self.watch() => unreachable!(),
        }
    }

    async fn watch(&self) {
        loop {
            catch_up(&self.server, &self.service.caches);
            tokio::time::sleep(POLL).await;
        }
    }

    fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.server.look())
    }

    async fn until(&self, what: &str, mut holds: impl FnMut(&State) -> bool) {
        let end = Instant::now() + TOO_LATE;
        while !self.state(|state| holds(state)) {
            assert!(Instant::now() < end, "never: {what}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until nothing is asked for any more; gives how much was.
    async fn rest(&self) -> u64 {
        loop {
            let requests = self.state(|state| state.requests);
            tokio::time::sleep(SOON).await;
            if self.state(|state| state.requests) == requests {
                return requests;
            }
        }
    }

    fn looks(&self) -> u64 {
        let labels = ReconcileLabels {
            rule: GADGETS,
            outcome: "done",
        };
        let counter = self.service.metrics.reconciles.get_or_create_owned(&labels);
        counter.get()
    }

    fn companions(&self, state: &'static str) -> i64 {
        let labels = CompanionLabels {
            rule: GADGETS,
            state,
        };
        let gauge = self.service.metrics.companions.get_or_create_owned(&labels);
        gauge.get()
    }

    fn set_mode(&self, mode: Mode) {
        let settings = Settings::default().with_mode(GADGETS, mode);
        self.service.dispatcher.put_settings(settings);
        self.service
            .settings_changed
            .send_modify(|count| *count += 1);
    }
}

fn gadget(name: &str, cogs: u64, size: u64, lamp: bool) -> Value {
    json!({
        "apiVersion": "test.io/v1", "kind": "Gadget",
        "metadata": {"name": name, "namespace": "one"},
        "spec": {"cogs": cogs, "size": size, "lamp": lamp},
    })
}

fn put_gadget(state: &mut State, name: &str, cogs: u64, size: u64, lamp: bool) {
    let object = gadget(name, cogs, size, lamp);
    if !state.create("kubectl", resource("Gadget"), &object) {
        let name = Name::new("Gadget", "one", name);
        let put = |live: &mut Value| {
            live["spec"] = object["spec"].clone();
            Ok(())
        };
        state
            .update("kubectl", super::memory::Verb::Update, &name, put)
            .unwrap();
    }
}

fn count(state: &State, kind: &str) -> usize {
    state
        .objects()
        .keys()
        .filter(|name| name.kind == kind)
        .count()
}

#[test]
fn two_thousand_parents_converge_and_then_nothing_is_written() {
    const PARENTS: u64 = 2_000;
    let stage = Stage::new();
    stage.state(|state| {
        for number in 0..PARENTS {
            put_gadget(state, &format!("p{number}"), 2, 1, false);
        }
    });
    block_on(stage.lead(async {
        stage
            .until("all cogs", |state| count(state, "Cog") == 4_000)
            .await;
        let requests = stage.rest().await;
        assert_eq!(stage.companions("in_step"), 4_000);

        // The watch brings a parent as it was.
        let looks = stage.looks();
        for parent in stage
            .service
            .caches
            .cache(resource("Gadget"))
            .unwrap()
            .objects()
        {
            let parent = (*parent).clone();
            stage.service.caches.put("test.io", "Gadget", parent);
        }
        stage
            .until("all are looked at", |_| stage.looks() >= looks + PARENTS)
            .await;
        // Everything is looked at.
        let looks = stage.looks();
        stage.set_mode(Mode::Enforce);
        stage
            .until("all are looked at", |_| stage.looks() >= looks + PARENTS)
            .await;
        // The watches list anew.
        for kind in ["Gadget", "Cog", "Lamp"] {
            relist(&stage.server, &stage.service.caches, kind);
        }
        assert_eq!(stage.rest().await, requests);
    }));
    // Another leader knows nothing, and finds everything as it should be.
    let writes = stage.state(|state| state.log.len());
    block_on(stage.lead(async {
        stage
            .until("all are looked at", |_| {
                stage.companions("in_step") == 4_000
            })
            .await;
        stage.rest().await;
    }));
    stage.state(|state| {
        let written = &state.log[writes..];
        assert!(written.iter().all(|write| !write.is_change()));
    });
}

#[test]
fn who_does_not_lead_any_more_writes_nothing_more() {
    let stage = Stage::new();
    stage.state(|state| {
        for number in 0..300 {
            put_gadget(state, &format!("p{number}"), 2, 1, true);
        }
    });
    block_on(async {
        stage
            .lead(stage.until("it has begun", |state| state.requests > 100))
            .await;
        let requests = stage.state(|state| state.requests);
        assert!(requests < 500, "it was to be stopped half-way");
        let others = tokio::time::timeout(SOON, stage.watch());
        assert!(others.await.is_err());
        assert_eq!(stage.state(|state| state.requests), requests);
        stage
            .lead(stage.until("the next one goes on", |state| {
                count(state, "Cog") == 600 && count(state, "Lamp") == 300
            }))
            .await;
    });
}

#[test]
fn a_child_that_is_refused_backs_off_alone() {
    let stage = Stage::new();
    let bad = Name::new("Cog", "one", "bad-0");
    stage.state(|state| {
        put_gadget(state, "bad", 1, 1, false);
        for number in 0..20 {
            put_gadget(state, &format!("p{number}"), 2, 1, false);
        }
        state.refused.insert(bad.clone(), 0);
    });
    // Kinds that become known are a change, and a change does not wait.
    catch_up(&stage.server, &stage.service.caches);
    block_on(stage.lead(async {
        let tried = |state: &State| state.refused[&bad];
        stage
            .until("all others", |state| {
                count(state, "Cog") == 40 && tried(state) == 1
            })
            .await;
        let failed = Instant::now();
        tokio::time::sleep(SOON).await;
        assert_eq!(
            (stage.companions("failed"), stage.companions("in_step")),
            (1, 40)
        );
        // Again after one second, and then after two.
        stage.until("again", |state| tried(state) == 2).await;
        assert!(failed.elapsed() > Duration::from_millis(900));
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        stage.state(|state| {
            assert_eq!(tried(state), 2);
            let told = |reason| {
                state
                    .notes
                    .iter()
                    .filter(|note| note.reason == reason)
                    .count()
            };
            assert_eq!(told(Reason::CompanionFailed), 1, "{:?}", state.notes);
            state.refused.clear();
        });
        stage
            .until("it is made at last", |state| state.object(&bad).is_some())
            .await;
        tokio::time::sleep(SOON).await;
        assert_eq!(
            (stage.companions("failed"), stage.companions("in_step")),
            (0, 41)
        );
    }));
}

#[test]
fn nothing_is_done_before_the_settings_are_known() {
    let stage = Stage::new();
    stage.service.has_settings.store(false, Ordering::Release);
    stage.state(|state| put_gadget(state, "p", 2, 1, true));
    block_on(stage.lead(async {
        assert_eq!(stage.rest().await, 0);
        // As a rule that is off at first sight: what it would bring never comes.
        stage.set_mode(Mode::Off);
        stage.service.has_settings.store(true, Ordering::Release);
        assert_eq!(stage.rest().await, 0);
        stage.set_mode(Mode::Enforce);
        stage
            .until("all are there", |state| count(state, "Cog") == 2)
            .await;
    }));
}

#[test]
fn a_rule_that_is_off_rests_until_it_is_on() {
    let stage = Stage::new();
    stage.state(|state| {
        for number in 0..10 {
            put_gadget(state, &format!("p{number}"), 2, 1, true);
        }
    });
    let cog = |name: &str| Name::new("Cog", "one", name);
    block_on(stage.lead(async {
        stage
            .until("all are there", |state| {
                count(state, "Cog") == 20 && count(state, "Lamp") == 10
            })
            .await;
        stage.rest().await;
        stage.set_mode(Mode::Off);
        stage
            .until("nothing is counted", |_| stage.companions("in_step") == 0)
            .await;
        let requests = stage.state(|state| {
            put_gadget(state, "p0", 3, 3, false);
            put_gadget(state, "new", 1, 1, true);
            let gone = Name::new("Gadget", "one", "p1");
            state.delete("kubectl", &gone, None, None).unwrap();
            state.delete("kubectl", &cog("p2-0"), None, None).unwrap();
            state.requests
        });
        assert_eq!(stage.rest().await, requests);
        stage.set_mode(Mode::Enforce);
        stage
            .until("all is made up for", |state| {
                let size = |name: &str| &state.object(&cog(name)).unwrap()["spec"]["size"];
                state.object(&cog("p2-0")).is_some()
                    && state.object(&cog("p0-2")).is_some()
                    && *size("p0-0") == 3
                    && state.object(&cog("new-0")).is_some()
                    // Of p0 and p1 no more, of the new one.
                    && count(state, "Lamp") == 9
            })
            .await;
    }));
}

#[test]
fn every_change_is_followed() {
    let stage = Stage::new();
    let shape = Shape {
        count: 0,
        size: 1,
        extra: true,
        is_broken: false,
        is_shared: false,
    };
    let chart = Name::new(CHART, "tenant-x", "cozystack-alpha");
    let definition = Name::new("ApplicationDefinition", "", "alpha");
    let lamp = Name::new("Lamp", "far", "one-a");
    block_on(stage.lead(async {
        stage.state(|state| {
            state.serve(CHART, false);
            perform(state, Deed::Put(Parent::Alpha, shape));
            perform(state, Deed::Put(Parent::One, Shape { count: 2, ..shape }));
        });
        stage
            .until("what can be made", |state| {
                let is_there = |name| state.object(name).is_some();
                is_there(&definition) && is_there(&lamp) && count(state, "Cog") == 2
            })
            .await;
        // A kind that comes does not wait for the next attempt, a second after the one that failed.
        stage.rest().await;
        stage.state(|state| state.serve(CHART, true));
        let came = Instant::now();
        stage
            .until("the chart", |state| state.object(&chart).is_some())
            .await;
        assert!(came.elapsed() < SOON);
        stage.rest().await;

        stage.state(|state| state.delete("kubectl", &lamp, None, None).unwrap());
        stage
            .until("the lamp again", |state| state.object(&lamp).is_some())
            .await;
        // What another rule reads concerns all its parents, a moment later.
        let plain = Shape {
            extra: false,
            ..shape
        };
        stage.state(|state| {
            perform(state, Deed::Put(Parent::Alpha, plain));
            perform(state, Deed::Source(Some(7)));
        });
        stage
            .until("no chart, and another artifact", |state| {
                let live = &state.object(&definition).unwrap()["spec"]["release"]["chartRef"];
                state.object(&chart).is_none()
                    && live["name"] == "cozystack-vpn-application-variant-7-vpn"
            })
            .await;

        stage.state(|state| {
            perform(state, Deed::Drop(Parent::One));
            perform(state, Deed::Drop(Parent::Alpha));
        });
        stage
            .until("the lamp goes", |state| state.object(&lamp).is_none())
            .await;
        stage.rest().await;
        stage.state(|state| {
            assert_eq!(count(state, "Cog"), 2, "left to the garbage collector");
            state.collect();
            assert_eq!(count(state, "Cog"), 0);
            assert!(state.object(&definition).is_some(), "it is retained");
        });
    }));
}
