//! What differs between the routes and upstreams of two configurations, in words.

use std::collections::HashMap;

use crate::config::{self, Config};

/// The names of routes whose settings differ between two configurations, for the answer to a reload.
pub fn changed(before: &Config, after: &Config) -> Vec<String> {
    let old: HashMap<&str, &config::Route> = before.routes.iter().map(|r| (r.name.as_str(), r)).collect();
    let new: HashMap<&str, &config::Route> = after.routes.iter().map(|r| (r.name.as_str(), r)).collect();
    let mut changes = Vec::new();
    for route in &after.routes {
        match old.get(route.name.as_str()) {
            None => changes.push(format!("routes.{} added", route.name)),
            Some(o) if *o != route => changes.push(format!("routes.{} changed", route.name)),
            Some(_) => {}
        }
    }
    let gone = before.routes.iter().filter(|r| !new.contains_key(r.name.as_str()));
    changes.extend(gone.map(|r| format!("routes.{} removed", r.name)));
    for (name, upstream) in &after.upstreams {
        match before.upstreams.get(name) {
            None => changes.push(format!("upstreams.{name} added")),
            Some(o) if o != upstream => changes.push(format!("upstreams.{name} changed")),
            Some(_) => {}
        }
    }
    let gone = before.upstreams.keys().filter(|n| !after.upstreams.contains_key(*n));
    changes.extend(gone.map(|n| format!("upstreams.{n} removed")));
    changes
}
