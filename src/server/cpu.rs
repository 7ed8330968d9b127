//! How busy the processors are that this process may use, for who can do with less of them.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::policy::compression::Governor;
use crate::timer;

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Tells the governor of compression, again and again, how busy the threads that carry traffic are.
pub(super) async fn keep_watching(mut governor: Governor, threads: usize) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut used, mut at) = (cpu_time(), Instant::now());
    loop {
        looks.tick().await;
        let (used_now, now) = (cpu_time(), Instant::now());
        let room = (now - at).as_secs_f64() * threads as f64;
        if room > 0.0 {
            let busy = (used_now - used).as_secs_f64() / room;
            if let Some((old, new)) = governor.sample(busy, timer::uptime()) {
                tracing::info!(event = "compression_effort", old_steps_down = old, new_steps_down = new, busy);
            }
        }
        (used, at) = (used_now, now);
    }
}

/// What all threads of this process have used.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
