//! What is done to the sidecars, to their network and to their store while clients pay.

use std::time::Duration;

use super::common::redis::RedisServer;
use super::history::What;
use super::relay::Relay;
use super::sidecar::Sidecar;
use super::world::World;

/// Kills them one at a time, and has each back before the next. At the end all are there. The first is killed and then the
/// store, whatever the seed says: a short run would else miss one of them now and then.
pub(super) fn kills(world: &World, sidecars: &mut [Sidecar], redis: Option<&RedisServer>, mut random: fastrand::Rng) {
    for round in 0u32.. {
        if !world.pause(Duration::from_millis(random.u64(300..2000))) {
            return;
        }
        let store = random.u8(0..5) == 0;
        if let Some(redis) = redis
            && (round == 1 || (store && round > 1))
        {
            let from = world.book.now();
            redis.kill();
            world.stores.point(0, None);
            world.pause(Duration::from_millis(random.u64(0..600)));
            redis.restart();
            world.stores.point(0, Some(redis.addr()));
            world.book.happened(from, What::Store);
            continue;
        }
        let which = random.usize(0..sidecars.len());
        let sidecar = &mut sidecars[which];
        let from = world.book.now();
        let what = if round == 0 { 9 } else { random.u8(0..10) };
        if what < 2 {
            // Longer than the lease of what it reserved, at times longer than what it sent may be under way.
            let longest = if world.shares_a_store { 3000 } else { 700 };
            let pause = if random.u8(0..4) == 0 { longest * 5 / 2 } else { random.u64(50..longest) };
            sidecar.pause(Duration::from_millis(pause));
            world.book.happened(from, What::Paused);
            continue;
        }
        let (said, what) = if what == 2 {
            // New connections go elsewhere, or nowhere.
            world.clients.point(which, None);
            (sidecar.end(), What::Ended)
        } else {
            let said = sidecar.kill();
            world.clients.point(which, None);
            (said, What::Killed)
        };
        world.book.happened(from, what);
        world.looks_at(&said);
        for _ in 0..random.u8(0..4).saturating_sub(1) {
            sidecar.stillborn(Duration::from_millis(random.u64(1..120)));
        }
        world.pause(Duration::from_millis(random.u64(0..200)));
        world.clients.point(which, Some(sidecar.start()));
    }
}

/// Cuts and stalls the network.
pub(super) fn cuts(world: &World, mut random: fastrand::Rng) {
    while world.pause(Duration::from_millis(random.u64(100..1200))) {
        let what = random.u8(0..if world.shares_a_store { 12 } else { 10 });
        let mut stalls = |relay: &Relay, longest: u64| relay.stall(Duration::from_millis(random.u64(10..longest)));
        match what {
            0..=2 => world.clients.cut(),
            3..=5 => world.applications.cut(),
            6..=7 => stalls(&world.clients, 400),
            8 => stalls(&world.applications, 300),
            9 => stalls(&world.applications, 1500),
            10 => world.stores.cut(),
            _ => stalls(&world.stores, 500),
        }
    }
}
