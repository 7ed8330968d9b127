//! Reload: a good file is swapped in between requests, a bad one changes nothing.
//!
//! What did not change keeps its state: an upstream whose section is the same keeps its connections, a route keeps its
//! counters. What a running process cannot change is said and left as it was.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::run::Shared;
use super::switches;
use crate::config::{Config, Listener, load_file};
use crate::observe::metrics::ResultLabel;
use crate::proxy::state::State;
use crate::upstream::Upstream;

impl Shared {
    /// Reads the file again and takes it over.
    ///
    /// # Errors
    /// Every error of the file; then nothing has changed.
    pub(super) fn reload(self: &Arc<Self>) -> Result<Value, Vec<String>> {
        let mut seen = self.seen.lock();
        let Some(file) = self.source.file() else {
            return Err(vec!["outboard was started without a file: there is nothing to reload".to_owned()]);
        };
        *seen = std::fs::read(file).ok();
        let result = self.try_reload(file);
        let label = if result.is_ok() { ResultLabel::Ok } else { ResultLabel::Failed };
        self.proxy.metrics.process.reloaded(label, super::run::unix_now());
        match &result {
            Ok(answer) => {
                tracing::info!(event = "reload", result = "ok", changed = %answer["changed"], needs_restart = %answer["needs_restart"])
            }
            Err(errors) => {
                for error in errors {
                    tracing::error!(event = "reload", result = "failed", error);
                }
            }
        }
        result
    }

    fn try_reload(self: &Arc<Self>, file: &Path) -> Result<Value, Vec<String>> {
        let lines = |errors: crate::config::Errors| errors.to_string().lines().map(str::to_owned).collect::<Vec<_>>();
        let loaded = load_file(file).map_err(lines)?;
        let missing = crate::config::check_files(&loaded.config, &file.display().to_string());
        if !missing.0.is_empty() {
            return Err(lines(missing));
        }
        let before = self.proxy.state.load_full();
        let mut config = loaded.config;
        if self.bypass {
            config.bypass();
        }
        let changed = changes(&before.config, &config);
        let needs_restart = keep_what_needs_a_restart(&before.config, &mut config);
        let state = State::compile(Arc::new(config), &self.proxy.metrics, self.cgroup_memory, Some(&before));
        let state = Arc::new(state.map_err(|e| vec![e.to_string()])?);
        self.look_after_new(&before, &state);
        self.redactor.store(Arc::new(crate::policy::redact::Redactor::new(&state.config.redaction)));
        self.level.set(state.config.logging.level);
        let hash = state.hash.clone();
        self.proxy.state.store(state.clone());
        let stays = |u: &Arc<Upstream>| state.table.upstreams.values().any(|new| Arc::ptr_eq(new, u));
        // A request in flight, or a stream of an hour, may hold the others.
        before.table.upstreams.values().filter(|u| !stays(u)).for_each(|u| u.retire());
        // After that: what was replaced has its last word on a queue before this one has.
        state.table.apply();
        switches::clear(&before.table, &state.table);
        if answers_may_be_wrong(&before.config, &state.config) {
            self.proxy.forget_stored();
        }
        Ok(json!({ "changed": changed, "needs_restart": needs_restart, "config": hash }))
    }

    /// Begins to look after upstreams that were not there before.
    fn look_after_new(&self, before: &State, after: &State) {
        for (name, upstream) in &after.table.upstreams {
            let known = before.table.upstreams.get(name).is_some_and(|u| Arc::ptr_eq(u, upstream));
            if !known {
                super::run::look_after(upstream);
            }
        }
    }
}

/// Whether what was stored by one configuration may be wrong by the other: for whom it is, what ends it, whose answer it is.
fn answers_may_be_wrong(before: &Config, after: &Config) -> bool {
    let concerned = |config: &Config| -> Vec<_> {
        let routes = config.routes.iter().filter(|route| route.cache.is_some() || route.invalidates.is_some());
        routes.cloned().collect()
    };
    before.credentials != after.credentials
        || before.upstreams != after.upstreams
        || concerned(before) != concerned(after)
}

/// What differs, section by section.
fn changes(before: &Config, after: &Config) -> Vec<String> {
    let mut changed = Vec::new();
    let mut section = |name: &str, same: bool| {
        if !same {
            changed.push(format!("{name} changed"));
        }
    };
    section("runtime", before.runtime == after.runtime);
    section("admin", before.admin == after.admin);
    section("logging", before.logging == after.logging);
    section("redaction", before.redaction == after.redaction);
    section("drain", before.drain == after.drain);
    section("limits", before.limits == after.limits);
    section("stores", before.stores == after.stores);
    section("credentials", before.credentials == after.credentials);
    section("listeners", before.listeners == after.listeners);
    changed.extend(crate::route::changed::changed(before, after));
    changed
}

/// Puts back what only a new process can change, and names it.
fn keep_what_needs_a_restart(before: &Config, after: &mut Config) -> Vec<String> {
    let mut kept = Vec::new();
    if before.runtime != after.runtime {
        kept.push("runtime".to_owned());
        after.runtime = before.runtime.clone();
    }
    if before.admin != after.admin {
        kept.push("admin".to_owned());
        after.admin = before.admin.clone();
    }
    if before.stores != after.stores {
        kept.push("stores".to_owned());
        after.stores = before.stores.clone();
    }
    if before.logging.format != after.logging.format {
        kept.push("logging.format".to_owned());
        after.logging.format = before.logging.format;
    }
    let socket = |l: &Listener| {
        (l.name.clone(), l.address.clone(), l.direction(), l.protocols(), l.proxy_protocol, l.tls.clone())
    };
    let names = |c: &Config| c.listeners.iter().map(|l| l.name.clone()).collect::<Vec<_>>();
    if names(before) != names(after) {
        kept.push("listeners".to_owned());
        after.listeners = before.listeners.clone();
        return kept;
    }
    for (old, new) in before.listeners.iter().zip(&mut after.listeners) {
        if socket(old) != socket(new) {
            kept.push(format!("listeners.{}", old.name));
            let (trusted, strip) = (new.trusted_proxies.clone(), new.strip_from_untrusted.clone());
            *new = Listener { trusted_proxies: trusted, strip_from_untrusted: strip, ..old.clone() };
        }
    }
    kept
}
