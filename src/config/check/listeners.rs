//! Rules of `listeners`.

use super::{Check, NAME, headers, is_name};
use crate::config::endpoint::Endpoint;
use crate::config::listener::{Listener, Protocol, ProxyProtocol};
use crate::config::path::Path;

pub(super) fn check(check: &mut Check<'_>) {
    let listeners = &check.config.listeners;
    if listeners.is_empty() {
        check.error(&Path::of("listeners"), "expected at least one listener");
    }
    let places = check.listeners.clone();
    for (listener, path) in listeners.iter().zip(&places) {
        one(check, listener, path);
        if listeners.len() > 1 && listener.direction.is_none() {
            let message =
                "required where there are several listeners: inbound or outbound; a drain closes inbound first";
            check.error(&path.key("direction"), message);
        }
    }
    for (at, (listener, path)) in listeners.iter().zip(&places).enumerate() {
        if let Some(first) = listeners[..at].iter().position(|other| other.name == listener.name) {
            let line = check.line(&places[first].key("name"));
            check.error(&path.key("name"), format!("the same name as the listener on line {line}"));
        }
    }
    addresses(check, &places);
}

fn addresses(check: &mut Check<'_>, places: &[Path]) {
    let mut known: Vec<(Endpoint, String)> = Vec::new();
    let admin = &check.config.admin;
    for (key, text) in [("admin.address", Some(&admin.address)), ("admin.probes", admin.probes.as_ref())] {
        if let Some(Ok(endpoint)) = text.map(|t| t.parse()) {
            known.push((endpoint, key.to_owned()));
        }
    }
    for (listener, path) in check.config.listeners.iter().zip(places) {
        let path = path.key("address");
        let Ok(endpoint) = listener.address.parse::<Endpoint>() else {
            check.invalid(&path, "host:port, [ipv6]:port or unix:/path");
            continue;
        };
        if let Some((_, other)) = known.iter().find(|(other, _)| other.clashes(&endpoint)) {
            check.error(&path, format!("{} is taken by {other}", check.found(&path)));
        }
        known.push((endpoint, format!("listener {}", listener.name)));
    }
}

fn one(check: &mut Check<'_>, listener: &Listener, path: &Path) {
    if !is_name(&listener.name) {
        check.invalid(&path.key("name"), NAME);
    } else if listener.name == "any" {
        check.error(&path.key("name"), "any means every listener in match.listener, so no listener can be named so");
    }
    let wrong = match listener.tls {
        Some(_) => (Protocol::H2c, "http1 or h2, as the listener has tls"),
        None => (Protocol::H2, "http1 or h2c, as the listener has no tls"),
    };
    for (index, protocol) in listener.protocols.iter().enumerate() {
        let path = path.key("protocols").index(index);
        if *protocol == wrong.0 {
            check.invalid(&path, wrong.1);
        } else if listener.protocols[..index].contains(protocol) {
            check.error(&path, "the same protocol twice");
        }
    }
    headers::names(check, &path.key("strip_from_untrusted"), &listener.strip_from_untrusted);
    if listener.trusted_proxies.is_empty() && !check.is_lost(&path.key("trusted_proxies")) {
        let path = path.key("proxy_protocol");
        match listener.proxy_protocol {
            ProxyProtocol::Off => {}
            ProxyProtocol::Optional => check.warn(&path, "is believed from trusted_proxies only, and there are none"),
            ProxyProtocol::Required => {
                check.error(
                    &path,
                    "is believed from trusted_proxies only, and there are none: every connection is closed",
                );
            }
        }
    }
}
