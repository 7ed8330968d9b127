//! The files that a configuration names. Apart from the other rules: they are a matter of the machine, not of the text.

use std::path::Path as FilePath;

use crate::config::Config;
use crate::config::error::{Error, Errors};
use crate::config::path::{Mark, Path};

/// Finds every certificate, key, CA, token and key set file that cannot be read here. `file` is the configuration's name.
pub fn check_files(config: &Config, file: &str) -> Errors {
    let mut errors = Vec::new();
    let mut need = |path: Path, named: Option<&FilePath>| {
        let Some(named) = named else { return };
        let readable = std::fs::File::open(named).and_then(|f| f.metadata()).map(|m| m.is_dir());
        let why = match readable {
            Ok(false) => return,
            Ok(true) => "is a folder".to_owned(),
            Err(e) => e.to_string().to_lowercase(),
        };
        let message = format!("{} cannot be read: {why}", named.display());
        errors.push(Error::new(file, Mark::default(), &path, message));
    };
    need(Path::of("admin").key("token_file"), config.admin.token_file.as_deref());
    for (index, listener) in config.listeners.iter().enumerate() {
        let Some(tls) = &listener.tls else { continue };
        let path = Path::of("listeners").index(index).key("tls");
        need(path.key("cert_file"), Some(&tls.cert_file));
        need(path.key("key_file"), Some(&tls.key_file));
        need(path.key("client_ca_file"), tls.client_ca_file.as_deref());
    }
    for (name, upstream) in &config.upstreams {
        let Some(tls) = &upstream.tls else { continue };
        let path = Path::of("upstreams").key(name).key("tls");
        need(path.key("ca_file"), tls.ca_file.as_deref());
        need(path.key("cert_file"), tls.cert_file.as_deref());
        need(path.key("key_file"), tls.key_file.as_deref());
    }
    let stores = Path::of("stores");
    for (index, key) in config.stores.encryption_keys.iter().enumerate() {
        need(stores.key("encryption_keys").index(index).key("file"), Some(&key.file));
    }
    if let Some(redis) = &config.stores.redis {
        need(stores.key("redis").key("url_file"), redis.url_file.as_deref());
        need(stores.key("redis").key("ca_file"), redis.ca_file.as_deref());
    }
    for (index, route) in config.routes.iter().enumerate() {
        let Some(jwt) = &route.jwt else { continue };
        // What many routes have from `defaults` is told once.
        if config.routes[..index].iter().all(|before| before.jwt.as_ref() != Some(jwt)) {
            need(Path::of("routes").index(index).key("jwt").key("jwks_file"), Some(&jwt.jwks_file));
        }
    }
    Errors(errors)
}
