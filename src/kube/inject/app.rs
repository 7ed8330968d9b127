//! The application: its container, and the port of it that is taken over.

use serde_json::Value;

use super::{Reason, Refused, Wish};
use crate::kube::pod;

/// The application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct App {
    /// Its container.
    pub(super) container: String,
    /// Its port.
    pub(super) port: u16,
    /// The port's name.
    pub(super) name: Option<String>,
}

impl App {
    /// The one that the annotations name, or the only one there can be.
    pub(super) fn find(spec: &Value, wish: &Wish) -> Result<App, Refused> {
        let refused = |message: String| Err(Refused::new(Reason::AppPort, message));
        let containers: Vec<&str> =
            pod::list(spec, "containers").iter().filter_map(|container| pod::text(container, "name")).collect();
        if containers.is_empty() {
            return Err(Refused::new(Reason::Malformed, "it has no containers"));
        }
        if let Some(wanted) = &wish.app_container
            && !containers.contains(&wanted.as_str())
        {
            return refused(format!(
                "outboard.dev/app-container: there is no container {wanted}; there is {}",
                containers.join(", ")
            ));
        }
        let mut ports = ports(spec);
        ports.retain(|app| wish.app_container.as_ref().is_none_or(|wanted| app.container == *wanted));
        match &wish.app_port {
            Some(wanted) => chosen(wanted, wish, &containers, ports),
            None => only(ports),
        }
    }
}

/// The port that the annotation names.
fn chosen(wanted: &str, wish: &Wish, containers: &[&str], ports: Vec<App>) -> Result<App, Refused> {
    let number = wanted.parse::<u16>().ok();
    let known = listed(&ports);
    let found = ports.into_iter().find(|app| app.name.as_deref() == Some(wanted) || Some(app.port) == number);
    if let Some(app) = found {
        return Ok(app);
    }
    // A port works without being listed; whose it is has to be known all the same.
    let container = wish.app_container.as_deref().or(if let [only] = containers { Some(*only) } else { None });
    match (number.filter(|port| *port > 0), container) {
        (Some(port), Some(container)) => Ok(App { container: container.to_owned(), port, name: None }),
        (Some(port), None) => Err(Refused::new(
            Reason::AppPort,
            format!(
                "outboard.dev/app-port: no container lists port {port}; list it, or name its container in outboard.dev/app-container"
            ),
        )),
        (None, _) => Err(Refused::new(
            Reason::AppPort,
            format!("outboard.dev/app-port: there is no port {wanted}; there is {known}"),
        )),
    }
}

/// The only port there is, or the one that is called http.
fn only(mut ports: Vec<App>) -> Result<App, Refused> {
    if ports.len() > 1
        && let Some(at) = ports.iter().position(|app| app.name.as_deref() == Some("http"))
    {
        return Ok(ports.swap_remove(at));
    }
    let known = listed(&ports);
    match (ports.pop(), ports.is_empty()) {
        (Some(app), true) => Ok(app),
        (Some(_), false) => Err(Refused::new(
            Reason::AppPort,
            format!(
                "it has several ports ({known}) and none is called http; write which one it is into outboard.dev/app-port"
            ),
        )),
        (None, _) => Err(Refused::new(
            Reason::AppPort,
            "no container lists a port; write the application's into outboard.dev/app-port, or list it with a name",
        )),
    }
}

/// Every TCP port that a container lists.
fn ports(spec: &Value) -> Vec<App> {
    let mut all = Vec::new();
    for container in pod::list(spec, "containers") {
        for port in pod::list(container, "ports") {
            let number = port.get("containerPort").and_then(Value::as_u64).and_then(|n| u16::try_from(n).ok());
            if let (true, Some(port_number), Some(container)) =
                (pod::is_tcp(port), number, pod::text(container, "name"))
            {
                let name = pod::text(port, "name").map(str::to_owned);
                all.push(App { container: container.to_owned(), port: port_number, name });
            }
        }
    }
    all
}

fn listed(ports: &[App]) -> String {
    let told = |app: &App| match &app.name {
        Some(name) => format!("{name} ({} of {})", app.port, app.container),
        None => format!("{} of {}", app.port, app.container),
    };
    if ports.is_empty() { "none".into() } else { ports.iter().map(told).collect::<Vec<_>>().join(", ") }
}
