//! The end of the pod: the application is there until the last request, and the kubelet waits for both.

use serde_json::{Value, json};

use super::app::App;
use super::configuration::Configuration;
use super::{Injector, Wish};
use crate::kube::pod::{self, SIDECAR};
use crate::kube::status::Status;
use crate::kube::version::Version;

/// What Kubernetes gives a pod that asks for nothing, in seconds.
const GRACE: u64 = 30;
/// The application sleeps for longer than inbound traffic comes, by this: its SIGTERM must not meet the last request on its way.
const BEHIND: u64 = 1;
/// What is added to the drain's own deadline: hooks start a moment late, and the process ends a moment after.
const MARGIN: u64 = 5;

/// Arranges it.
pub(super) fn arrange(
    spec: &mut Value,
    injector: &Injector,
    wish: &Wish,
    app: &App,
    configuration: &Configuration,
    status: &mut Status,
    warnings: &mut Vec<String>,
) {
    let seconds = if configuration.delay == 0 || !wish.app_sleep { 0 } else { configuration.delay + BEHIND };
    if seconds > 0 {
        sleep(spec, injector, app, seconds, status, warnings);
    }
    // A hook may not take longer than the pod has.
    let needed = configuration.timeout.max(seconds) + MARGIN;
    let set = spec.get("terminationGracePeriodSeconds").cloned();
    let given = set.as_ref().and_then(Value::as_u64).unwrap_or(GRACE);
    if given < needed {
        warnings.push(format!(
            "terminationGracePeriodSeconds was {given} and is {needed}: a drain may take {} s",
            configuration.timeout
        ));
        spec["terminationGracePeriodSeconds"] = json!(needed);
        (status.grace_raised_to, status.grace) = (Some(needed), set);
    }
}

/// The application gets its SIGTERM when no new requests come any more, and so does what it may need beside it.
fn sleep(
    spec: &mut Value,
    injector: &Injector,
    app: &App,
    seconds: u64,
    status: &mut Status,
    warnings: &mut Vec<String>,
) {
    status.sleep = seconds;
    for container in pod::list_mut(spec, "containers") {
        let Some(name) = pod::text(container, "name").map(str::to_owned) else { continue };
        match container.pointer("/lifecycle/preStop") {
            _ if name == SIDECAR => {}
            None if injector.kubernetes >= Version::SLEEP => {
                pod::map_mut(container, "lifecycle").insert("preStop".into(), json!({ "sleep": { "seconds": seconds } }));
                status.sleeps.push(name);
            }
            None if name == app.container => warnings.push(format!(
                "Kubernetes {} has no preStop that sleeps ({} has): container {name} gets its SIGTERM while requests still \
                 come; give it a preStop that takes {seconds} s, such as exec: {{ command: [sleep, \"{seconds}\"] }} where its \
                 image has one",
                injector.kubernetes,
                Version::SLEEP,
            )),
            None => {}
            Some(own) => {
                let sleeps = own.pointer("/sleep/seconds").and_then(Value::as_u64);
                if name == app.container && sleeps.is_none_or(|own| own < seconds) {
                    warnings.push(format!(
                        "container {name} has a preStop of its own, which is left as it is: it should take at least \
                         {seconds} s, so that the application is there for the last requests",
                    ));
                }
            }
        }
    }
}
