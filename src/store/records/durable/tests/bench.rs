//! What a step costs. Not run by itself: it says nothing on a machine that does other things as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};

use super::super::*;

fn time(of: ClockId) -> f64 {
    let time = clock_gettime(of);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// Microseconds of CPU of each thread, by its name.
fn threads() -> std::collections::BTreeMap<String, f64> {
    let mut all = std::collections::BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        let Ok(name) = std::fs::read_to_string(path.join("comm")) else { continue };
        let ns = std::fs::read_to_string(path.join("schedstat")).unwrap();
        *all.entry(name.trim().to_owned()).or_default() += ns.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e3;
    }
    all
}

fn hash(number: u64) -> Hash {
    let mix = |mut x: u64| {
        for _ in 0..3 {
            x = (x ^ (x >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        x ^ (x >> 29)
    };
    let mut hash = Hash::default();
    hash[..8].copy_from_slice(&mix(number + 1).to_be_bytes());
    hash[8..].copy_from_slice(&mix(number ^ 0xdead_beef).to_be_bytes());
    hash
}

fn run(writer: Arc<Durable>, clients: u64, first: u64, seconds: f64) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let next = Arc::new(AtomicU64::new(first));
    let (began, cpu, before) = (time(ClockId::Monotonic), time(ClockId::ProcessCPUTime), threads());
    let mut all: Vec<f64> = runtime.block_on(async {
        let tasks: Vec<_> = (0..clients)
            .map(|_| {
                let (writer, next) = (writer.clone(), next.clone());
                runtime.spawn(async move {
                    let mut took = vec![];
                    while time(ClockId::Monotonic) < began + seconds * 1e6 {
                        let hash = hash(next.fetch_add(1, Ordering::Relaxed));
                        let a = time(ClockId::Monotonic);
                        writer.submit(Order::Open(hash, vec![1; 200])).await.unwrap().unwrap();
                        let b = time(ClockId::Monotonic);
                        writer
                            .submit(Order::Done(hash, 86_400_000 + b as u64 / 1000, vec![2; 500]))
                            .await
                            .unwrap()
                            .unwrap();
                        took.extend([b - a, time(ClockId::Monotonic) - b]);
                    }
                    took
                })
            })
            .collect();
        let mut all = vec![];
        for task in tasks {
            all.extend(task.await.unwrap());
        }
        all
    });
    let wall = time(ClockId::Monotonic) - began;
    let after = threads();
    // What is left to be done for these steps counts as well.
    writer.close();
    let cpu = time(ClockId::ProcessCPUTime) - cpu;
    let steps = all.len() as f64;
    all.sort_by(f64::total_cmp);
    let by_thread: Vec<_> = after
        .iter()
        .map(|(name, us)| format!("{name} {:.2}", (us - before.get(name).unwrap_or(&0.0)) / steps))
        .filter(|text| !text.ends_with(" 0.00"))
        .collect();
    println!(
        "{clients} clients: {:.0} steps/s, {:.2} us of CPU a step ({}), p50 {:.0} us, p99 {:.0} us, longest {:.0} us",
        steps / wall * 1e6,
        cpu / steps,
        by_thread.join(", "),
        all[all.len() / 2],
        all[all.len() * 99 / 100],
        all[all.len() - 1],
    );
}

#[test]
#[ignore = "a measurement"]
fn what_a_step_costs() {
    let dir = std::env::var("OUTBOARD_BENCH_DIR").unwrap_or_else(|_| "/tmp".into());
    let dir = tempfile::tempdir_in(dir).unwrap();
    let file = std::fs::File::create(dir.path().join("bare")).unwrap();
    let mut took = vec![];
    for n in 0..2000u64 {
        use std::os::unix::fs::FileExt;
        let began = time(ClockId::Monotonic);
        file.write_all_at(&[1; 4096], n % 500 * 4096).unwrap();
        file.sync_data().unwrap();
        took.push(time(ClockId::Monotonic) - began);
    }
    took[500..].sort_by(f64::total_cmp);
    println!("\na bare write of 4 KiB and fdatasync, overwriting: p50 {:.0} us", took[500..][750]);
    for records in [0u64, 1_000_000] {
        let folder = dir.path().join(format!("records{records}"));
        let disk = Disk::open(&folder, 16 << 20).unwrap();
        let mut n = 0;
        while n < records {
            let ops: Vec<_> = (n..n + 50_000).map(|n| (hash(n), [2; 500])).collect();
            let mut ops: Vec<_> = ops.iter().map(|(hash, record)| Op::Done(*hash, 1 << 50, record)).collect();
            ops.sort_by_key(|op| if let Op::Done(hash, ..) = op { *hash } else { Hash::default() });
            disk.commit(&ops).unwrap();
            n += 50_000;
        }
        drop(disk);
        for clients in [1, 64] {
            println!("{records} records:");
            let clock: Clock = Arc::new(|| time(ClockId::Monotonic) as u64 / 1000);
            let first = 10_000_000 * clients;
            run(Arc::new(start(&folder, clock)), clients, first, 5.0);
        }
    }
}

fn start(folder: &std::path::Path, clock: Clock) -> Durable {
    Durable::start(open(folder, 16 << 20).unwrap(), clock).unwrap()
}
