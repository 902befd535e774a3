//! The engine against an API server in memory: whatever happens in whatever order, it ends in the same place, and
//! nothing of anybody else is changed on the way.

#![allow(clippy::pedantic, clippy::type_complexity)]

mod fields;
mod gadget;
mod memory;
mod running;
mod world;

use crate::events::Reason;
use memory::{Name, Trouble};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::future::Future;
use world::{Deed, FLEETING, Grip, Likeness, Parent, Shape, WATCHED, World, children, name_of};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Step {
    Deed(Deed),
    /// The engine looks at a parent, whether or not there is a reason.
    Look(Parent),
    /// The engine looks at what it has been told of.
    Work(usize),
    Deliver(usize),
    Miss(usize),
    Relist(usize),
    CatchUp,
    Restart,
    Gadgets(bool),
    /// Somebody is faster than that call of the engine, mostly at the object that the call is about.
    Ambush(u64, Deed, bool),
    Trouble(u64, Trouble),
}

fn take(world: &mut World, step: Step) {
    let kind = |kind: usize| WATCHED[kind % WATCHED.len()];
    match step {
        Step::Deed(deed) => world.perform(deed),
        Step::Look(parent) => {
            world.look_at(&parent.key());
        }
        Step::Work(looks) => {
            world.work(looks);
        }
        Step::Deliver(number) => world.deliver(kind(number)),
        Step::Miss(number) => world.miss(kind(number)),
        Step::Relist(number) => world.relist(kind(number)),
        Step::CatchUp => world.catch_up(),
        Step::Restart => world.restart(),
        Step::Gadgets(is_on) => world.switch_gadgets(is_on),
        Step::Ambush(calls, deed, aims) => world.ambush(calls, deed, aims),
        Step::Trouble(calls, trouble) => world.trouble(calls, trouble),
    }
}

fn any_parent() -> impl Strategy<Value = Parent> {
    prop::sample::select(&Parent::ALL[..])
}

fn any_shape() -> impl Strategy<Value = Shape> {
    let rarely = prop::bool::weighted;
    (0..4_u8, 1..4_u8, any::<bool>(), rarely(0.05), rarely(0.3)).prop_map(
        |(count, size, extra, is_broken, is_shared)| Shape {
            count,
            size,
            extra,
            is_broken,
            is_shared,
        },
    )
}

fn any_child() -> impl Strategy<Value = usize> {
    0..children().len()
}

fn any_parents_deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        8 => (any_parent(), any_shape()).prop_map(|(parent, shape)| Deed::Put(parent, shape)),
        2 => any_parent().prop_map(Deed::Drop),
        1 => (any_parent(), any::<bool>()).prop_map(|(parent, is_on)| Deed::Switch(parent, is_on)),
        1 => prop::option::of(0..2_u8).prop_map(Deed::Source),
    ]
}

fn any_likeness() -> impl Strategy<Value = Likeness> {
    prop_oneof![
        Just(Likeness::Equal),
        Just(Likeness::Disjoint),
        Just(Likeness::Differing),
        Just(Likeness::Applied),
    ]
}

fn any_grip() -> impl Strategy<Value = Grip> {
    prop_oneof![
        3 => Just(Grip::Field),
        1 => Just(Grip::Forced),
        1 => Just(Grip::ManagedBy),
        1 => Just(Grip::Mark),
        1 => Just(Grip::MarkOfAnother),
    ]
}

fn any_childs_deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (any_child(), any_likeness()).prop_map(|(child, likeness)| Deed::Make(child, likeness)),
        3 => (any_child(), any_grip()).prop_map(|(child, grip)| Deed::Take(child, grip)),
        3 => (any_child(), any::<bool>()).prop_map(|(child, is_label)| Deed::Helm(child, is_label)),
        3 => any_child().prop_map(Deed::Remove),
        2 => any_child().prop_map(Deed::Label),
        1 => (any_child(), any_likeness()).prop_map(|(child, likeness)| Deed::Replace(child, likeness)),
        1 => any_child().prop_map(Deed::End),
        1 => any_child().prop_map(Deed::Disown),
        1 => any_child().prop_map(Deed::Orphan),
        1 => any_child().prop_map(Deed::Anchor),
        1 => any_child().prop_map(Deed::Strip),
        1 => any_child().prop_map(Deed::Restore),
    ]
}

fn any_deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        5 => any_parents_deed(),
        5 => any_childs_deed(),
        1 => any_parent().prop_map(Deed::EndParent),
        1 => Just(Deed::LetLoose),
        1 => Just(Deed::Collect),
        1 => (0..FLEETING.len(), any::<bool>()).prop_map(|(kind, is_served)| Deed::Serve(kind, is_served)),
    ]
}

fn any_trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        Just(Trouble::Before),
        Just(Trouble::After),
        Just(Trouble::Onwards),
    ]
}

/// What the engine does, and what happens to it.
fn any_engine_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any_parent().prop_map(Step::Look),
        4 => (1..6_usize).prop_map(Step::Work),
        5 => (0..WATCHED.len()).prop_map(Step::Deliver),
        6 => Just(Step::CatchUp),
        1 => Just(Step::Restart),
        1 => (1..6_u64, any_trouble()).prop_map(|(calls, trouble)| Step::Trouble(calls, trouble)),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => any_deed().prop_map(Step::Deed),
        12 => any_engine_step(),
        1 => (1..6_u64, any_deed()).prop_map(|(calls, deed)| Step::Ambush(calls, deed, false)),
        4 => (1..6_u64, any_childs_deed()).prop_map(|(calls, deed)| Step::Ambush(calls, deed, true)),
        1 => any::<bool>().prop_map(Step::Gadgets),
    ]
}

fn any_step_with_losses() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => any_step(),
        1 => (0..WATCHED.len()).prop_map(Step::Miss),
        1 => (0..WATCHED.len()).prop_map(Step::Relist),
    ]
}

/// Something that is done, and what the engine does after it.
type Act = Vec<(Move, Vec<Step>)>;

#[derive(Debug, Clone, Copy)]
enum Move {
    /// A parent comes, changes or goes.
    Parents(Deed),
    /// A child is touched.
    Child(usize, Deed),
    /// A parent changes how its children look, and nothing else.
    Resize(Parent, u8),
}

/// Three acts in each of which what is done does not depend on how far the engine has come.
#[derive(Debug, Clone)]
struct Play {
    /// Objects of others that were there first.
    first: Vec<Deed>,
    /// Parents come and go; then each child is touched at most once; then parents come and go.
    acts: [Act; 3],
}

fn any_act() -> impl Strategy<Value = Act> {
    let sound = any_parents_deed().prop_map(|deed| match deed {
        // Of two parents who want the same child the first one has it: then the order does matter.
        Deed::Put(parent, shape) => Deed::Put(
            parent,
            Shape {
                is_broken: false,
                is_shared: false,
                ..shape
            },
        ),
        other => other,
    });
    prop::collection::vec(sound.prop_map(Move::Parents), 1..8).prop_flat_map(with_steps)
}

fn with_steps(moves: Vec<Move>) -> impl Strategy<Value = Act> {
    let meanwhile = prop::collection::vec(any_engine_step(), 0..5);
    prop::collection::vec(meanwhile, moves.len())
        .prop_map(move |steps| moves.iter().copied().zip(steps).collect())
}

fn any_touch(child: usize) -> impl Strategy<Value = Move> {
    prop_oneof![
        any_grip().prop_map(move |grip| Deed::Take(child, grip)),
        any::<bool>().prop_map(move |is_label| Deed::Helm(child, is_label)),
        Just(Deed::Remove(child)),
        Just(Deed::Label(child)),
        Just(Deed::Disown(child)),
        Just(Deed::Orphan(child)),
        Just(Deed::Anchor(child)),
        Just(Deed::Strip(child)),
    ]
    .prop_map(move |deed| Move::Child(child, deed))
}

fn any_play() -> impl Strategy<Value = Play> {
    let likeness = |child| any_likeness().prop_map(move |likeness| Deed::Make(child, likeness));
    let all: Vec<usize> = (0..children().len()).collect();
    let first = prop::sample::subsequence(all.clone(), 0..4)
        .prop_flat_map(move |some| some.into_iter().map(likeness).collect::<Vec<_>>());
    let touched = prop::sample::subsequence(all, 0..7)
        .prop_flat_map(|some| some.into_iter().map(any_touch).collect::<Vec<_>>());
    let resized = (any_parent(), 1..4_u8).prop_map(|(parent, size)| Move::Resize(parent, size));
    let touches = (touched, prop::collection::vec(resized, 0..4))
        .prop_map(|(touched, resized)| [touched, resized].concat())
        .prop_shuffle()
        .prop_flat_map(with_steps);
    (first, any_act(), touches, any_act()).prop_map(|(first, one, two, three)| Play {
        first,
        acts: [one, two, three],
    })
}

impl Play {
    /// How each act ends: with what the engine does meanwhile, or with all that it does after everything is done.
    fn run(&self, is_eager: bool) -> Vec<BTreeMap<Name, Value>> {
        let mut world = World::new();
        let mut shapes = BTreeMap::new();
        for deed in &self.first {
            world.perform(*deed);
        }
        let mut outcomes = Vec::new();
        for act in &self.acts {
            for (what, steps) in act {
                match *what {
                    Move::Parents(deed) => {
                        if let Deed::Put(parent, shape) = deed {
                            shapes.insert(parent, shape);
                        }
                        world.perform(deed);
                    }
                    Move::Child(child, deed) if !is_left_behind(&world, &name_of(child)) => {
                        world.perform(deed);
                    }
                    Move::Resize(parent, size) if world.is_live(parent) => {
                        let shape = shapes[&parent];
                        world.perform(Deed::Put(parent, Shape { size, ..shape }));
                    }
                    _ => {}
                }
                for step in steps.iter().filter(|_| is_eager) {
                    take(&mut world, *step);
                }
            }
            for parent in Parent::ALL {
                world.perform(Deed::Switch(parent, true));
            }
            world.converge();
            let mut outcome = world.outcome();
            outcome.retain(|child, _| !is_left_behind(&world, child));
            outcomes.push(outcome);
        }
        outcomes
    }
}

/// Whether the child stays of a parent that has gone: it is there if the engine saw the parent in time.
fn is_left_behind(world: &World, child: &Name) -> bool {
    [(Parent::Alpha, "alpha"), (Parent::Beta, "beta")]
        .into_iter()
        .any(|(parent, name)| child.name.contains(name) && !world.is_live(parent))
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        // A failure prints its steps.
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn whatever_happens_everything_comes_to_rest(steps in prop::collection::vec(any_step_with_losses(), 1..41)) {
        let mut world = World::new();
        for step in steps {
            take(&mut world, step);
        }
        world.converge();
    }

    #[test]
    fn news_alone_lead_there_too(steps in prop::collection::vec(any_step(), 1..41)) {
        let mut world = World::new();
        for step in steps {
            take(&mut world, step);
        }
        world.converge_by_news();
    }
}

proptest! {
    #![proptest_config(cases(250))]

    /// The same deeds, with news at once or all at the end.
    #[test]
    fn the_order_does_not_matter(play in any_play()) {
        prop_assert_eq!(play.run(true), play.run(false));
    }
}

fn shape(count: u8, extra: bool, is_shared: bool) -> Shape {
    Shape {
        count,
        size: 1,
        extra,
        is_broken: false,
        is_shared,
    }
}

/// The engine hears of everything and does what it has to.
fn keep_up(world: &mut World) {
    for _ in 0..3 {
        world.catch_up();
        world.work(100);
    }
}

#[test]
fn who_waits_for_a_name_is_told_when_it_is_free() {
    let mut world = World::new();
    for (parent, shape) in [
        (Parent::One, shape(0, true, true)),
        (Parent::Two, shape(0, true, true)),
        (Parent::One, shape(0, false, false)),
    ] {
        world.perform(Deed::Put(parent, shape));
        keep_up(&mut world);
    }
    world.converge_by_news();
}

#[test]
fn a_child_of_a_parent_that_had_gone_is_found() {
    let mut world = World::new();
    world.perform(Deed::Put(Parent::One, shape(0, true, false)));
    world.catch_up();
    world.perform(Deed::Drop(Parent::One));
    // It is not known yet that the parent has gone; then it is, but not that there is a child.
    world.look_at(&Parent::One.key());
    assert_eq!(world.outcome().len(), 1);
    world.deliver("Gadget");
    world.work(100);
    assert_eq!(world.outcome().len(), 1);
    world.converge_by_news();
    assert_eq!(world.outcome().len(), 0);
}

#[test]
fn a_lost_answer_leaves_no_failure_behind() {
    for calls in 1..6 {
        for trouble in [Trouble::Before, Trouble::After] {
            let mut world = World::new();
            world.perform(Deed::Put(Parent::One, shape(2, false, false)));
            keep_up(&mut world);
            world.perform(Deed::Put(Parent::One, shape(1, false, false)));
            world.catch_up();
            world.trouble(calls, trouble);
            // Among the calls is the one that takes away what is no longer wanted.
            world.look_at(&Parent::One.key());
            keep_up(&mut world);
            assert_eq!(world.outcome().len(), 1);
            world.converge_by_news();
        }
    }
}

#[test]
fn ownership_ends_politely() {
    let cog = 0;
    let cut = |world: &World| {
        let ours = |entry: &Value| entry["manager"] == webhooks::contract::FIELD_MANAGER;
        let cut = |object: &mut Value| {
            let entries = object["metadata"]["managedFields"].as_array_mut().unwrap();
            entries.retain(ours);
            Ok(())
        };
        let mut state = world.server.look();
        let update = memory::Verb::Update;
        state.update("cleaner", update, &name_of(cog), cut).unwrap();
    };
    for deed in [
        Deed::Helm(cog, true),
        Deed::Helm(cog, false),
        Deed::Take(cog, Grip::Field),
        Deed::Take(cog, Grip::Forced),
        Deed::Take(cog, Grip::ManagedBy),
        Deed::Take(cog, Grip::Mark),
        Deed::Take(cog, Grip::MarkOfAnother),
        Deed::Disown(cog),
    ] {
        for (is_anchored, is_cut) in [(false, false), (true, false), (false, true)] {
            let mut world = World::new();
            world.perform(Deed::Put(Parent::One, shape(2, false, false)));
            keep_up(&mut world);
            if is_anchored {
                world.perform(Deed::Anchor(cog));
            }
            world.perform(deed);
            let is_helms = matches!(deed, Deed::Helm(..));
            if is_cut && is_helms {
                // Only our entry is left.
                cut(&world);
            }
            keep_up(&mut world);
            let name = name_of(cog);
            let left = world.server.look().object(&name).cloned().unwrap();
            let owners = left.pointer("/metadata/ownerReferences");
            let owners = owners.and_then(Value::as_array).map_or(0, Vec::len);
            assert_eq!(owners, usize::from(is_anchored), "{deed:?}: {left}");
            assert_eq!(world.outcome()[&name], "let go", "{deed:?}");
            assert_eq!(world.released(), 1, "{deed:?}");
            assert_eq!(world.told(Reason::CompanionReleased), 1, "{deed:?}");
            // It stays when the parent goes, and is not taken back when the parent comes again.
            world.perform(Deed::Drop(Parent::One));
            world.perform(Deed::Collect);
            world.converge();
            world.perform(Deed::Put(Parent::One, shape(3, false, false)));
            world.converge();
            let now = world.server.look().object(&name).cloned();
            assert_eq!(now, Some(left), "{deed:?}");
        }
    }
}

#[test]
fn somebody_who_was_faster_keeps_what_he_made() {
    // A lamp is joined for a moment, a cog is not.
    for (child, parents) in [(0, shape(1, false, false)), (6, shape(0, true, false))] {
        for likeness in [
            Likeness::Equal,
            Likeness::Disjoint,
            Likeness::Differing,
            Likeness::Applied,
        ] {
            for calls in 1..3 {
                let mut world = World::new();
                world.perform(Deed::Put(Parent::One, parents));
                world.catch_up();
                world.ambush(calls, Deed::Make(child, likeness), false);
                keep_up(&mut world);
                let outcome = world.outcome();
                assert_eq!(outcome.len(), 1);
                assert_eq!(outcome[&name_of(child)][0], "foreign", "{likeness:?}");
                assert_eq!(world.told(Reason::CompanionNameTaken), 1);
                assert_eq!(world.told(Reason::CompanionReleased), 0);
                world.converge_by_news();
            }
        }
    }
}
