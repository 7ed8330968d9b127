use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::store::object::tests::{filed, object};

fn generations() -> Generations {
    Generations::new([1, 2])
}

fn path(generations: &Generations, path: &str) -> Slot {
    generations.slot(Kind::Path, path.as_bytes())
}

#[test]
fn what_was_filed_before_is_gone_and_what_is_filed_after_is_not() {
    let generations = generations();
    let (old, other) = (object(&generations, "/a", "", b"", 0), object(&generations, "/b", "", b"", 0));
    assert_eq!(generations.state(&old), State::Valid);
    generations.raise(&[path(&generations, "/a")], How::Hard);
    let new = object(&generations, "/a", "", b"", 0);
    assert_eq!(generations.state(&old), State::Gone);
    assert_eq!(generations.state(&old), State::Gone, "asked again");
    assert_eq!((generations.state(&other), generations.state(&new)), (State::Valid, State::Valid));
}

#[test]
fn names_of_two_kinds_are_two_names() {
    let generations = generations();
    let kinds = [Kind::Tag, Kind::Url, Kind::Path, Kind::Pattern, Kind::Route];
    let slots: std::collections::HashSet<_> = kinds.map(|kind| generations.slot(kind, b"/a")).into();
    assert_eq!(slots.len(), kinds.len());
    assert_ne!(
        Generations::new([3, 4]).slot(Kind::Tag, b"a"),
        generations.slot(Kind::Tag, b"a"),
        "the seed says where"
    );
}

#[test]
fn softly_raised_is_stale_until_it_is_raised_in_earnest() {
    let generations = generations();
    let (one, two) = (object(&generations, "/a", "", b"", 0), object(&generations, "/b", "", b"", 0));
    generations.raise(&[path(&generations, "/a")], How::Soft);
    assert_eq!((generations.state(&one), generations.state(&two)), (State::Soft, State::Valid));
    generations.raise_all(How::Soft);
    assert_eq!((generations.state(&one), generations.state(&two)), (State::Soft, State::Soft));
    generations.raise(&[path(&generations, "/a")], How::Hard);
    assert_eq!((generations.state(&one), generations.state(&two)), (State::Gone, State::Soft));
    generations.raise_all(How::Hard);
    assert_eq!(generations.state(&two), State::Gone);
    assert_eq!(generations.state(&object(&generations, "/b", "", b"", 0)), State::Valid);
}

#[test]
fn nothing_is_looked_up_where_nothing_was_raised() {
    let generations = generations();
    let object = object(&generations, "/a", "", b"", 0);
    assert_eq!(object.seen().load(SeqCst), 0);
    generations.state(&object);
    assert_eq!(object.seen().load(SeqCst), generations.told.load(SeqCst));
    generations.raise(&[path(&generations, "/other")], How::Hard);
    assert_ne!(object.seen().load(SeqCst), generations.told.load(SeqCst));
    generations.state(&object);
    assert_eq!(object.seen().load(SeqCst), generations.told.load(SeqCst));
}

#[test]
fn who_asks_while_a_raise_is_on_its_way_does_not_hide_it_from_those_who_ask_later() {
    let generations = generations();
    let object = object(&generations, "/a", "", b"", 0);
    let slots = [path(&generations, "/a")];
    assert_eq!(generations.state(&object), State::Valid);
    let at = generations.draw();
    assert_eq!(generations.state(&object), State::Valid);
    generations.mark(&slots, How::Hard, at);
    assert_eq!(generations.state(&object), State::Valid, "nobody was told yet");
    generations.tell();
    assert_eq!(generations.state(&object), State::Gone);
}

#[test]
fn a_fetch_is_stored_and_joined_only_while_nothing_was_raised() {
    let generations = generations();
    for how in [How::Soft, How::Hard] {
        let fetch = object(&generations, "/a", "", b"", 0);
        let may_join = || generations.may_join(fetch.slots(), fetch.filed_at(), fetch.place());
        assert!(generations.admit(&fetch).is_some() && may_join());
        generations.raise(&[path(&generations, "/b")], how);
        assert!(generations.admit(&fetch).is_some() && may_join(), "another name");
        generations.raise(&[path(&generations, "/a"), path(&generations, "/b")], how);
        assert!(generations.admit(&fetch).is_none() && !may_join(), "{how:?}");
    }
}

#[test]
fn a_prefix_reaches_what_lies_under_it() {
    let generations = generations();
    let old = ["/v1/payments", "/v1/payments/7?full=1", "/v1/pay", "/v2"].map(|p| object(&generations, p, "", b"", 0));
    let states = || old.each_ref().map(|object| generations.state(object));
    assert!(generations.raise_prefix(b"h/v1/payments", How::Soft).is_none());
    assert_eq!(states(), [State::Soft, State::Soft, State::Valid, State::Valid]);
    assert!(generations.raise_prefix(b"h/v1/payments/", How::Hard).is_none());
    assert_eq!(states(), [State::Soft, State::Gone, State::Valid, State::Valid]);
    assert!(generations.raise_prefix(b"other/", How::Hard).is_none());
    assert!(generations.raise_prefix(b"h/v1", How::Hard).is_none());
    assert_eq!(states(), [State::Gone, State::Gone, State::Gone, State::Valid]);
    assert_eq!(generations.state(&object(&generations, "/v1/payments", "", b"", 0)), State::Valid);
}

#[test]
fn a_prefix_that_says_as_much_takes_the_place_of_others() {
    let generations = generations();
    for n in 0..10 * MOST_PREFIXES {
        assert!(generations.raise_prefix(b"h/same", How::Hard).is_none());
        assert!(generations.raise_prefix(format!("h/under/{}", n % 200).as_bytes(), How::Soft).is_none());
    }
    let old = object(&generations, "/under/7", "", b"", 0);
    assert!(generations.raise_prefix(b"h/under/7", How::Hard).is_none());
    assert!(generations.raise_prefix(b"h/under/", How::Soft).is_none());
    assert_eq!(generations.state(&old), State::Gone, "softly said again, it is still gone");
    for n in 0..MOST_PREFIXES - 3 {
        assert!(generations.raise_prefix(format!("h/{n}/").as_bytes(), How::Hard).is_none());
    }
    assert!(generations.raise_prefix(b"h/last", How::Hard).is_some(), "the list was full");
}

/// Raises as many prefixes as make a sweep.
fn sweep(generations: &Generations, how: How) -> Sweep {
    let mut all = (0..=MOST_PREFIXES).map(|n| generations.raise_prefix(format!("h/{n}/").as_bytes(), how));
    assert!(all.by_ref().take(MOST_PREFIXES).all(|asked| asked.is_none()));
    all.next().unwrap().unwrap()
}

#[test]
fn a_list_that_is_too_long_asks_for_a_sweep_and_holds_until_it_is_done() {
    let generations = generations();
    let (under, beside) = (object(&generations, "/256/x", "", b"", 0), object(&generations, "/x", "", b"", 0));
    let begun = generations.now();
    let sweep = sweep(&generations, How::Hard);
    assert_eq!(sweep.reaches(under.place(), under.filed_at()), Some(How::Hard));
    assert_eq!(sweep.reaches(under.place(), generations.now()), None, "it began after that");
    assert_eq!(sweep.reaches(beside.place(), beside.filed_at()), None);
    assert_eq!((generations.state(&under), generations.state(&beside)), (State::Gone, State::Valid));

    let late = filed(&generations, begun, "/x", "", b"", 0);
    assert!(generations.admit(&late).is_none(), "it would be stored behind the sweep");
    assert!(!generations.may_join(late.slots(), late.filed_at(), late.place()));
    assert!(generations.admit(&object(&generations, "/x", "", b"", 0)).is_some());

    assert!(generations.raise_prefix(b"h/later/", How::Soft).is_none(), "one sweep at a time");
    let held = object(&generations, "/256/x", "", b"", 0);
    under.sweep(How::Hard);
    generations.swept(&sweep);
    assert_eq!(generations.prefixes.len(), 1, "what came after it stays");
    assert_eq!((generations.state(&under), generations.state(&beside)), (State::Gone, State::Valid));
    assert_eq!(generations.state(&held), State::Valid);
    let late = filed(&generations, begun, "/256/x", "", b"", 0);
    assert!(generations.admit(&late).is_none() && !generations.may_join(late.slots(), begun, late.place()));
}

#[test]
fn who_holds_an_object_learns_that_a_sweep_reached_it() {
    let generations = generations();
    let [gone, soft] = [object(&generations, "/1/x", "", b"", 0), object(&generations, "/2/x", "", b"", 0)];
    let sweep = sweep(&generations, How::Hard);
    // Both were asked about before the sweep got to them, and are settled after it is done.
    let asked = [generations.ask(&gone), generations.ask(&soft)];
    let look = |object: &Object<u32>| generations.look(object.slots(), object.filed_at(), object.place());
    gone.sweep(How::Hard);
    soft.sweep(How::Soft);
    generations.swept(&sweep);
    let [one, other] = asked;
    assert_eq!((look(&gone), look(&soft)), (State::Valid, State::Valid), "the list says nothing any more");
    assert_eq!((one.conclude(look(&gone), &gone), other.conclude(look(&soft), &soft)), (State::Gone, State::Soft));
    assert_eq!((generations.state(&gone), generations.state(&soft)), (State::Gone, State::Soft));
    let again = soft.with_form(0, bytes::Bytes::new());
    assert_eq!(generations.state(&again), State::Soft, "in another coding too");
}

#[test]
fn more_prefixes_than_a_sweep_can_follow_invalidate_everything() {
    let generations = generations();
    let old = object(&generations, "/x", "", b"", 0);
    let sweep = sweep(&generations, How::Soft);
    for n in 0..MOST_PREFIXES - 1 {
        assert!(generations.raise_prefix(format!("h/more/{n}/").as_bytes(), How::Soft).is_none());
    }
    assert_eq!(generations.state(&old), State::Valid);
    assert!(generations.raise_prefix(b"h/too/many", How::Soft).is_none());
    assert_eq!(generations.state(&old), State::Soft, "all of them were soft");
    assert_eq!(generations.prefixes.len(), 0);
    generations.swept(&sweep);
    assert_eq!(generations.state(&old), State::Soft);
    assert_eq!(generations.state(&object(&generations, "/more/1/x", "", b"", 0)), State::Valid);
}

/// What happens in one of the random histories below. Each step is one that another thread may come between.
#[derive(Debug, Clone)]
enum Step {
    /// A fetch for a name begins.
    Begin(usize),
    /// One of the fetches ends and is stored.
    Store(usize),
    Draw(Vec<usize>, How),
    Mark(usize),
    Tell(usize),
    /// Somebody asks about one of the objects,
    Ask(usize),
    /// looks at its marks,
    Look(usize),
    /// and takes down what he saw.
    Conclude(usize),
}

/// An object, its name, and when its fetch began.
type Stored = (usize, usize, Arc<Object<u32>>);

struct Raise {
    names: Vec<usize>,
    how: How,
    at: u64,
    step: u8,
    /// When it began and returned, in steps of the history.
    began: usize,
    returned: Option<usize>,
}

fn step() -> impl Strategy<Value = Step> {
    let how = prop_oneof![Just(How::Soft), Just(How::Hard)];
    prop_oneof![
        2 => (0usize..2).prop_map(Step::Begin),
        2 => (0usize..8).prop_map(Step::Store),
        1 => (prop::collection::vec(0usize..2, 1..3), how).prop_map(|(names, how)| Step::Draw(names, how)),
        1 => (0usize..4).prop_map(Step::Mark),
        1 => (0usize..4).prop_map(Step::Tell),
        4 => (0usize..4).prop_map(Step::Ask),
        4 => (0usize..4).prop_map(Step::Look),
        4 => (0usize..4).prop_map(Step::Conclude),
    ]
}

proptest! {
    /// No look-up that starts after a raise returned finds an object valid whose fetch began before the raise did; and
    /// nothing is invalid that no raise was ever about.
    #[test]
    fn a_raise_that_returned_holds(steps in prop::collection::vec(step(), 1..160)) {
        let generations = generations();
        let names = ["/a", "/b"];
        let mut fetches = Vec::new();
        let mut stored: Vec<Stored> = Vec::new();
        let mut raises: Vec<Raise> = Vec::new();
        let mut asked: Vec<(Stored, usize, Asked, Option<State>)> = Vec::new();
        for (time, step) in steps.into_iter().enumerate() {
            let open = |raises: &[Raise], step: u8, n: usize| {
                let open: Vec<_> = (0..raises.len()).filter(|at| raises[*at].step == step).collect();
                (!open.is_empty()).then(|| open[n % open.len()])
            };
            match step {
                Step::Begin(name) => fetches.push((name, time, generations.now())),
                Step::Store(n) if !fetches.is_empty() => {
                    let (name, began, at) = fetches.swap_remove(n % fetches.len());
                    let object = filed(&generations, at, names[name], "", b"", 0);
                    let reached = |r: &Raise| r.names.contains(&name) && r.began > began;
                    if generations.admit(&object).is_some() {
                        prop_assert!(!raises.iter().any(|r| reached(r) && r.returned.is_some()));
                        stored.push((name, began, Arc::new(object)));
                    } else {
                        prop_assert!(raises.iter().any(reached));
                    }
                }
                Step::Draw(names, how) => {
                    let at = generations.draw();
                    raises.push(Raise { names, how, at, step: 0, began: time, returned: None });
                }
                Step::Mark(n) => if let Some(at) = open(&raises, 0, n) {
                    let slots: Vec<_> = raises[at].names.iter().map(|n| path(&generations, names[*n])).collect();
                    generations.mark(&slots, raises[at].how, raises[at].at);
                    raises[at].step = 1;
                },
                Step::Tell(n) => if let Some(at) = open(&raises, 1, n) {
                    generations.tell();
                    raises[at].step = 2;
                    raises[at].returned = Some(time);
                },
                Step::Ask(n) if !stored.is_empty() => {
                    let object = stored[n % stored.len()].clone();
                    let known = generations.ask(&object.2);
                    // Here nothing is looked at, and the next two steps are none.
                    let seen = (known.told == known.known).then_some(State::Valid);
                    asked.push((object, time, known, seen));
                }
                Step::Look(n) if !asked.is_empty() => {
                    let at = n % asked.len();
                    let object = Arc::clone(&asked[at].0.2);
                    asked[at].3.get_or_insert_with(|| {
                        generations.look(object.slots(), object.filed_at(), object.place())
                    });
                }
                Step::Conclude(n) => if let Some(at) = (0..asked.len()).filter(|at| asked[*at].3.is_some()).nth(n) {
                    let ((name, began, object), since, known, seen) = asked.swap_remove(at);
                    let seen = seen.unwrap();
                    let state = if known.told == known.known { seen } else { known.conclude(seen, &object) };
                    let reach = |r: &&Raise| r.names.contains(&name) && r.began > began;
                    let returned = raises.iter().filter(reach).filter(|r| r.returned.is_some_and(|end| end < since));
                    match returned.map(|r| r.how).max() {
                        Some(How::Hard) => prop_assert_eq!(state, State::Gone),
                        Some(How::Soft) => prop_assert_ne!(state, State::Valid),
                        None => {}
                    }
                    let furthest = raises.iter().filter(reach).map(|r| r.how).max();
                    prop_assert!(furthest == Some(How::Hard) || state != State::Gone);
                    prop_assert!(furthest.is_some() || state == State::Valid);
                    if state == State::Gone {
                        stored.retain(|(_, _, other)| !Arc::ptr_eq(other, &object));
                    }
                }
                Step::Store(_) | Step::Ask(_) | Step::Look(_) => {}
            }
        }
    }
}

/// The same with threads: a row that is written, raised, and then told to be written, and readers who fetch and keep it.
#[test]
fn readers_never_see_a_row_older_than_one_they_were_told_of() {
    let generations = generations();
    let (row, told, stop) = (AtomicU64::new(0), AtomicU64::new(0), std::sync::atomic::AtomicBool::new(false));
    let kept = parking_lot::Mutex::new(Arc::new(object(&generations, "/a", "", b"", 0)));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    let least = told.load(SeqCst);
                    let object = Arc::clone(&kept.lock());
                    if generations.state(&object) == State::Valid {
                        assert!(u64::from(object.life()) >= least, "{} is older than {least}", object.life());
                    } else {
                        let at = generations.now();
                        let read = row.load(SeqCst) as u32;
                        let fetched = filed(&generations, at, "/a", "", b"", read);
                        // Stored as it is, raced or not: what is found there is held against the raises again.
                        *kept.lock() = Arc::new(fetched);
                    }
                }
            });
        }
        for version in 1..=20_000 {
            row.store(version, SeqCst);
            generations.raise(&[path(&generations, "/a")], How::Hard);
            told.store(version, SeqCst);
        }
        stop.store(true, SeqCst);
    });
}
