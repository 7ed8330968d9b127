//! The port's name goes from the application to the sidecar, so that a Service whose targetPort says it reaches the sidecar
//! from now on. What says it inside the application's container, the kubelet's probes and hooks, gets the number: the
//! kubelet goes on asking the application itself.

use serde_json::{Value, json};

use super::app::App;
use super::{Reason, Refused, Surroundings};
use crate::kube::pod;
use crate::kube::status::Status;

/// The name of a port that had none.
pub(in crate::kube) const UNNAMED: &str = "outboard";

/// What in a container may refer to a port by its name.
const REFERENCES: [&str; 10] = [
    "livenessProbe/httpGet",
    "livenessProbe/tcpSocket",
    "readinessProbe/httpGet",
    "readinessProbe/tcpSocket",
    "startupProbe/httpGet",
    "startupProbe/tcpSocket",
    "lifecycle/postStart/httpGet",
    "lifecycle/postStart/tcpSocket",
    "lifecycle/preStop/httpGet",
    "lifecycle/preStop/tcpSocket",
];

/// Takes the name over. The name that the sidecar's port has.
pub(super) fn take(
    spec: &mut Value,
    app: &App,
    around: &Surroundings<'_>,
    status: &mut Status,
    warnings: &mut Vec<String>,
) -> Result<String, Refused> {
    let by_number = around.services.as_ref().map(|services| services.by_number(app.port));
    if let Some(service) = by_number.as_ref().and_then(|services| services.first())
        && !around.services_change
    {
        return Err(Refused::new(
            Reason::NumericTarget,
            format!(
                "Service {service} reaches port {} by its number and would pass by the sidecar; {}",
                app.port,
                advice(app)
            ),
        ));
    }
    (status.container, status.port, status.name) = (app.container.clone(), app.port, app.name.clone());
    if let Some(host) = own_entry(spec, app).and_then(|entry| entry.get("hostPort")) {
        warnings.push(format!("hostPort {host} of container {} still leads to the application itself", app.container));
    }
    if let Some(other) = other_of_the_name(spec, app) {
        return Err(Refused::new(
            Reason::Conflict,
            format!(
                "container {other} has a port called {} too, and a Service would reach that one instead of the sidecar; \
                 give it another name",
                app.name.as_deref().unwrap_or(UNNAMED),
            ),
        ));
    }
    let Some(name) = &app.name else {
        let meant = around.services.as_ref().is_some_and(|services| services.has_name(UNNAMED));
        if meant || by_number.is_some_and(|services| !services.is_empty()) {
            return Ok(UNNAMED.to_owned());
        }
        return Err(Refused::new(
            Reason::UnnamedPort,
            format!(
                "port {} of container {} has no name, so a Service can only reach it by its number and would pass by the \
                 sidecar; {}",
                app.port,
                app.container,
                advice(app)
            ),
        ));
    };
    let Some(container) = pod::container_mut(spec, &app.container) else { return Ok(name.clone()) };
    for reference in REFERENCES {
        if let Some(handler) = container.pointer_mut(&format!("/{reference}"))
            && pod::text(handler, "port") == Some(name)
        {
            handler["port"] = json!(app.port);
            status.references.push(reference.to_owned());
        }
    }
    for port in pod::list_mut(container, "ports") {
        if pod::text(port, "name") != Some(name) || !pod::is_tcp(port) {
            continue;
        }
        if let Some(port) = port.as_object_mut() {
            port.shift_remove("name");
        }
    }
    Ok(name.clone())
}

/// The application's own entry of the port.
fn own_entry<'a>(spec: &'a Value, app: &App) -> Option<&'a Value> {
    let container = pod::list(spec, "containers").iter().find(|c| pod::text(c, "name") == Some(&app.container))?;
    let number = |port: &Value| port.get("containerPort").and_then(Value::as_u64);
    pod::list(container, "ports").iter().find(|port| pod::is_tcp(port) && number(port) == Some(app.port.into()))
}

/// Another container whose port has the name that the sidecar's will have: names are unique in a container only.
fn other_of_the_name<'a>(spec: &'a Value, app: &App) -> Option<&'a str> {
    let name = app.name.as_deref().unwrap_or(UNNAMED);
    let has = |container: &&Value| {
        pod::list(container, "ports").iter().any(|port| pod::is_tcp(port) && pod::text(port, "name") == Some(name))
    };
    let mut others = pod::containers(spec).filter(|c| pod::text(c, "name") != Some(&app.container));
    others.find(has).and_then(|container| pod::text(container, "name"))
}

fn advice(app: &App) -> String {
    match &app.name {
        Some(name) => format!("write targetPort: {name} into the Service"),
        None => "give the port a name in the container, say http, and write targetPort: http into the Service".into(),
    }
}
