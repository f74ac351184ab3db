//! Random sequences of events against the pure core: what must hold whatever happens, in whatever
//! order. Each single action is checked by the [world](world) that performs it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use std::time::Duration;

use oxicorn_arbiter::core::Standing;
use oxicorn_arbiter::{Event, Pid, Policy, Signal, State};
use world::World;
use world::chances::LONGEST_GRACE;

const SEEDS: u64 = 3000;

fn lived_through(seed: u64, events: usize) -> World {
    let mut world = World::new(seed);
    if seed.is_multiple_of(4) {
        world.is_born();
    }
    world.handle(Event::Started);
    for _ in 0..events {
        if world.exit.is_some() {
            break;
        }
        world.something_happens();
    }
    world
}

/// The invariants themselves are asserted by the world, at every action.
#[test]
fn no_chance_forks_too_many_signals_a_stranger_or_spins() {
    let (mut forked, mut restarts, mut rollbacks, mut gifts) = (0, 0, 0, 0);
    let mut stem_deaths = 0;
    let (mut given, mut taken, mut promotions) = (0, 0, 0);
    let mut upgrades = 0;
    let (mut relieved, mut dismissed) = (0, 0);
    let mut shares = 0;
    for seed in 0..SEEDS {
        let world = lived_through(seed, 200);
        shares += world.shares;
        forked += world.last_pid - 1000;
        restarts += world.restarts;
        rollbacks += world.rollbacks;
        gifts += world.gifts;
        stem_deaths += world.stem_deaths;
        given += world.dance.gifts;
        taken += world.dance.taken;
        promotions += world.dance.promotions;
        upgrades += world.upgrades;
        relieved += world.relieved_orphans;
        dismissed += world.dismissed_orphans;
    }
    assert!(
        relieved > 1000 && dismissed > 300,
        "too little happened: {relieved} orphans relieved, {dismissed} dismissed"
    );
    assert!(upgrades > 500, "too little happened: {upgrades} upgrades");
    assert!(shares > 1000, "too little happened: {shares} shares");
    assert!(
        given > 400 && taken > 500 && promotions > 300,
        "too little happened: {given} given, {taken} taken, {promotions} promoted"
    );
    assert!(
        gifts > 1000 && rollbacks > 1000 && restarts > rollbacks + 500,
        "too little happened: {restarts} restarts, {rollbacks} rolled back, {gifts} gifts"
    );
    assert!(
        stem_deaths > 1000,
        "too little happened: {stem_deaths} stems died"
    );
    assert!(
        forked > Pid::try_from(SEEDS).unwrap() * 5,
        "too little happened: {forked} forks"
    );
}

/// Even if no worker ever reacts to anything but SIGKILL, and the kernel keeps some of them.
#[test]
fn a_server_always_ends_in_time_after_term() {
    for seed in 0..SEEDS {
        let mut world = lived_through(seed, 60);
        if world.exit.is_some() {
            continue;
        }
        let policy = *world.state.policy();
        // Whoever may take the connections is waited for.
        let waits = world.dance.standing == Some(Standing::Away);
        // A restart may end meanwhile, and the time is the new policy's then.
        let longest = Duration::from_millis(LONGEST_GRACE);
        let grace = if policy.shutdown_delay.is_zero() && !waits {
            policy.graceful_timeout
        } else {
            longest
        };
        let patience = if waits { longest } else { Duration::ZERO };
        let limit = world.now + policy.shutdown_delay + patience + grace + Policy::KILL_GRACE;
        world.handle(Event::Signal(Signal::Term));
        while world.exit.is_none() {
            let due = world.state.next_deadline().unwrap_or_else(|| {
                panic!("seed {seed}: it waits for ever:\n{}", world.tell());
            });
            world.now = due;
            assert!(
                due <= limit,
                "seed {seed}: {due:?} is after {limit:?}:\n{}",
                world.tell()
            );
            world.handle(Event::DeadlineReached);
            if world.chance.one_in(2) {
                world.bury_the_doomed();
            }
        }
    }
}

/// After any history, once the application works and nothing more happens, the wanted number
/// serves.
#[test]
fn a_server_that_is_left_in_peace_recovers() {
    for seed in 0..SEEDS / 4 {
        let mut world = lived_through(seed, 60);
        for _ in 0..100 {
            if world.exit.is_some() {
                break;
            }
            world.everybody_is_ready();
            world.everybody_is_relieved();
            world.bury_the_doomed();
            if let Some(due) = world.state.next_deadline() {
                world.now = due;
                world.handle(Event::DeadlineReached);
            }
        }
        if world.exit.is_none() {
            assert_eq!(
                world.alive.len(),
                world.target,
                "seed {seed}:\n{}",
                world.tell()
            );
            assert_eq!(
                world.serving.len(),
                world.target,
                "seed {seed}: not all serve:\n{}",
                world.tell()
            );
            let waits = world.orphans.values().any(|told| !told);
            assert!(
                world.target == 0 || !waits,
                "seed {seed}: an orphan waits:\n{}",
                world.tell()
            );
            let stems: Vec<u32> = world.stems.values().copied().collect();
            let preloads = world.state.policy().preload;
            let expected: &[u32] = if preloads { &[world.generation] } else { &[] };
            assert_eq!(stems, expected, "seed {seed}:\n{}", world.tell());
            assert_eq!(
                world.state.next_deadline(),
                None,
                "seed {seed}:\n{}",
                world.tell()
            );
        }
    }
}

/// Where nothing fails, hot and phased restarts take nothing away: at each moment at least as many
/// workers serve as the smaller of the two generations wants.
#[test]
fn hot_and_phased_restarts_never_leave_fewer_workers_serving_than_wanted() {
    let mut restarts = 0;
    for seed in 0..SEEDS / 4 {
        let mut world = World::new(seed);
        world.flawless = true;
        world.handle(Event::Started);
        world.everybody_is_ready();
        for _ in 0..60 {
            let least = world.target;
            world.something_harmless_happens();
            let least = least.min(world.target);
            assert!(
                world.serving.len() >= least,
                "seed {seed}: {:?} serve:\n{}",
                world.serving,
                world.tell()
            );
        }
        restarts += world.restarts;
    }
    assert!(restarts > 1000, "too little happened: {restarts} restarts");
}

/// A state that is not what it should be is refused or read, and nothing worse.
#[test]
fn a_damaged_state_is_never_a_panic() {
    let mut refused = 0;
    for seed in 0..SEEDS {
        let mut world = lived_through(seed, 30);
        let mut text = world.state.to_text().into_bytes();
        for _ in 0..=world.chance.below(3) {
            let length = text.len().max(1) as u64;
            let at = usize::try_from(world.chance.below(length)).unwrap();
            match world.chance.below(3) {
                0 => text.truncate(at),
                _ if text.is_empty() => {}
                1 => text[at] = b"0- =%x\n"[usize::try_from(world.chance.below(7)).unwrap()],
                _ => drop(text.remove(at)),
            }
        }
        let text = String::from_utf8_lossy(&text);
        refused += usize::from(State::from_text(&text).is_err());
    }
    assert!(refused > 500, "too little was damaged: {refused}");
}
