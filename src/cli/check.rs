//! `outboard check FILE...`: every error of every file; for a good one its warnings, the memory it can take at worst,
//! and what each route does once `defaults` are merged into it.

use std::io::Write;
use std::path::PathBuf;

use super::{Failure, answers};
use crate::config::{Config, Errors, check_files, load_file};
use crate::server;
use crate::units::Auto;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration files
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Do not look for the certificates, keys and tokens that the files name
    #[arg(long)]
    no_files: bool,
    /// Only errors and warnings
    #[arg(short, long)]
    quiet: bool,
}

/// Of one client connection: the write buffer, the read buffer, and the task with its session.
const CONNECTION: u64 = (16 + 4 + 6) << 10;
/// Of one idle connection to an upstream.
const IDLE: u64 = 8 << 10;
/// What `max_connections: auto` is at most.
const AUTO_CONNECTIONS: u32 = 10_000;

/// Checks each file.
pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Failure> {
    let mut good = true;
    for path in &args.files {
        let file = path.display().to_string();
        let loaded = load_file(path).and_then(|loaded| {
            let missing = if args.no_files { Errors::default() } else { check_files(&loaded.config, &file) };
            if missing.0.is_empty() { Ok(loaded) } else { Err(missing) }
        });
        match loaded {
            Err(errors) => {
                good = false;
                writeln!(err, "{errors}")?;
            }
            Ok(loaded) => {
                writeln!(out, "{file}: ok")?;
                for warning in &loaded.warnings {
                    writeln!(err, "warning: {warning}")?;
                }
                if !args.quiet {
                    write!(out, "{}", memory(&loaded.config))?;
                    kept(&loaded.config, out)?;
                    policy(&loaded.config, out)?;
                }
            }
        }
    }
    if good { Ok(()) } else { Err(Failure::Config) }
}

/// The worst case: connections × 26KiB, bodies up to max_buffered, idle upstream connections × 8KiB, stored answers, and
/// what records on a disk take in memory.
fn memory(config: &Config) -> String {
    let (connections, auto) = match config.limits.max_connections {
        Auto::Is(n) => (n, ""),
        Auto::Auto => (AUTO_CONNECTIONS, " (auto, at most)"),
    };
    let idle: u64 = config.upstreams.values().map(|u| u64::from(u.pool.max_idle) * u.endpoints.len() as u64).sum();
    let (buffered, bodies) = match config.limits.max_buffered {
        Auto::Is(size) => (size.bytes(), format!("{} of bodies", size.bytes())),
        Auto::Auto => (0, "bodies up to a quarter of the memory the process may use".to_owned()),
    };
    let known = u64::from(connections).saturating_mul(CONNECTION).saturating_add(idle.saturating_mul(IDLE));
    let stores = config.routes.iter().any(|route| route.cache.is_some());
    let (stored, answers) = match config.stores.memory.bytes() {
        memory if stores => (memory, format!(" + {memory} of stored answers")),
        _ => (0, String::new()),
    };
    let (records, keys) = match &config.stores.data_dir {
        Some(_) => {
            let memory = server::records_memory(config.stores.max_records);
            (memory, format!(" + {memory} of idempotency records"))
        }
        None => (0, String::new()),
    };
    let plus = if buffered == 0 { " and bodies" } else { "" };
    format!(
        "memory at worst: {} bytes{plus} = {connections} connections{auto} x {CONNECTION} + {idle} idle upstream \
         connections x {IDLE}{answers}{keys} + {bodies}\n",
        known.saturating_add(buffered).saturating_add(stored).saturating_add(records),
    )
}

/// What becomes of each route's answers, in two lines.
fn kept(config: &Config, out: &mut dyn Write) -> Result<(), Failure> {
    for route in &config.routes {
        writeln!(out, "{}: cache: {}", route.name, answers::stores(config, route, None))?;
        writeln!(out, "{}: compression: {}", route.name, answers::encodes(route, None))?;
    }
    Ok(())
}

/// What each route does, as YAML. Secrets are masked.
fn policy(config: &Config, out: &mut dyn Write) -> Result<(), Failure> {
    let yaml = serde_yaml::to_string(&config.masked().routes).map_err(std::io::Error::other)?;
    writeln!(out, "routes:\n{}", yaml.trim_end())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> (Result<(), Failure>, String, String) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("outboard.yaml");
        std::fs::write(&file, text).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let done = run(&Args { files: vec![file], no_files: false, quiet: false }, &mut out, &mut err);
        (done, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    const GOOD: &str = "
listeners: [{ name: in, address: 127.0.0.1:0 }]
upstreams: { app: { endpoints: [\"127.0.0.1:3000\"] } }
limits: { max_connections: 100, max_buffered: 1MiB }
defaults: { headers: { request: { set: { authorization: secret } } } }
";

    #[test]
    fn a_good_file_is_explained() {
        let (done, out, err) = check(GOOD);
        assert!(done.is_ok() && err.is_empty(), "{err}");
        assert!(out.contains("outboard.yaml: ok\n"));
        assert!(
            out.contains(&format!("memory at worst: {} bytes =", 100 * 26 * 1024 + 128 * 8192 + (1 << 20))),
            "{out}"
        );
        assert!(
            out.contains("\ndefault: cache: off\ndefault: compression: zstd 3, br 4, gzip 6, from 1KiB on, of"),
            "{out}"
        );
        assert!(out.contains("routes:\n- name: default\n") && out.contains("total: 15s"), "{out}");
        assert!(out.contains("authorization: '***'") && !out.contains("secret"), "{out}");
    }

    #[test]
    fn stored_answers_count_as_memory() {
        let (done, out, _) =
            check(&format!("{GOOD}stores: {{ memory: 2MiB }}\nroutes: [{{ name: all, cache: {{ ttl: 1s }} }}]\n"));
        assert!(done.is_ok() && out.contains(" + 2097152 of stored answers + 1048576 of bodies"), "{out}");
        assert!(out.contains(&format!("worst: {} bytes =", 100 * 26 * 1024 + 128 * 8192 + (3 << 20))), "{out}");
        assert!(out.contains("\nall: cache: per credential, by scheme, host, path and query; fresh as"), "{out}");
    }

    #[test]
    fn records_on_a_disk_count_as_memory() {
        let (done, out, _) = check(&format!("{GOOD}stores: {{ data_dir: /var/lib/outboard, max_records: 1000000 }}\n"));
        let records = server::records_memory(1_000_000);
        assert!(records > (16 << 20) + 1_000_000 * 10 / 8, "{records}");
        assert!(done.is_ok() && out.contains(&format!(" + {records} of idempotency records + ")), "{out}");
    }

    #[test]
    fn a_bad_file_fails_with_all_its_errors() {
        let (done, out, err) = check("listners: []\nupstreams: { app: { endpoint: [] } }\n");
        assert!(matches!(done, Err(Failure::Config)) && out.is_empty());
        assert!(err.contains("did you mean listeners?") && err.contains("did you mean endpoints?"), "{err}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let text = GOOD.replace("admin:", "") + "admin: { token_file: /nowhere/token }\n";
        let (done, _, err) = check(&text);
        assert!(done.is_err());
        assert!(err.contains("admin.token_file: /nowhere/token cannot be read: no such file"), "{err}");
    }
}
