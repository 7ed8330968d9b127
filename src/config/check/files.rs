//! The files that a configuration names. Apart from the other rules: they are a matter of the machine, not of the text.

use std::path::{Path as FilePath, PathBuf};

use crate::config::Config;
use crate::config::error::{Error, Errors};
use crate::config::path::{Mark, Path};

/// A file that a configuration names, to be read when the process starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// The setting that names it, such as `stores.redis.url_file`.
    pub setting: String,
    /// The file.
    pub file: PathBuf,
    /// What is in it is a secret: a key, a token, a password. A certificate is none.
    pub secret: bool,
}

/// Finds every certificate, key, CA, token and key set file that cannot be read here. `file` is the configuration's name.
pub fn check_files(config: &Config, file: &str) -> Errors {
    let mut errors = Vec::new();
    for (path, named, _) in named(config) {
        let readable = std::fs::File::open(named).and_then(|f| f.metadata()).map(|m| m.is_dir());
        let why = match readable {
            Ok(false) => continue,
            Ok(true) => "is a folder".to_owned(),
            Err(e) => e.to_string().to_lowercase(),
        };
        let message = format!("{} cannot be read: {why}", named.display());
        errors.push(Error::new(file, Mark::default(), &path, message));
    }
    Errors(errors)
}

/// Every file that a configuration names. Nothing is read: they may be files of another machine.
pub fn named_files(config: &Config) -> Vec<NamedFile> {
    let named = named(config).into_iter();
    named.map(|(path, file, secret)| NamedFile { setting: path.to_string(), file: file.to_owned(), secret }).collect()
}

/// Each with the setting that names it, and whether what is in it is a secret.
fn named<'a>(config: &'a Config) -> Vec<(Path, &'a FilePath, bool)> {
    const SECRET: bool = true;
    const PUBLIC: bool = false;
    let mut all = Vec::new();
    let mut add = |path: Path, named: Option<&'a PathBuf>, secret| {
        all.extend(named.map(|named| (path, named.as_path(), secret)));
    };
    add(Path::of("admin").key("token_file"), config.admin.token_file.as_ref(), SECRET);
    for (index, listener) in config.listeners.iter().enumerate() {
        let Some(tls) = &listener.tls else { continue };
        let path = Path::of("listeners").index(index).key("tls");
        add(path.key("cert_file"), Some(&tls.cert_file), PUBLIC);
        add(path.key("key_file"), Some(&tls.key_file), SECRET);
        add(path.key("client_ca_file"), tls.client_ca_file.as_ref(), PUBLIC);
    }
    for (name, upstream) in &config.upstreams {
        let Some(tls) = &upstream.tls else { continue };
        let path = Path::of("upstreams").key(name).key("tls");
        add(path.key("ca_file"), tls.ca_file.as_ref(), PUBLIC);
        add(path.key("cert_file"), tls.cert_file.as_ref(), PUBLIC);
        add(path.key("key_file"), tls.key_file.as_ref(), SECRET);
    }
    let stores = Path::of("stores");
    for (index, key) in config.stores.encryption_keys.iter().enumerate() {
        add(stores.key("encryption_keys").index(index).key("file"), Some(&key.file), SECRET);
    }
    if let Some(redis) = &config.stores.redis {
        add(stores.key("redis").key("url_file"), redis.url_file.as_ref(), SECRET);
        add(stores.key("redis").key("ca_file"), redis.ca_file.as_ref(), PUBLIC);
    }
    for (index, route) in config.routes.iter().enumerate() {
        let Some(jwt) = &route.jwt else { continue };
        // What many routes have from `defaults` is told once.
        if config.routes[..index].iter().all(|before| before.jwt.as_ref() != Some(jwt)) {
            // Those of HMAC sign as well as they verify.
            add(Path::of("routes").index(index).key("jwt").key("jwks_file"), Some(&jwt.jwks_file), SECRET);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_named_with_its_setting_and_what_is_in_it() {
        let text = "\
admin: { token_file: /s/token }
listeners:
  - { name: in, address: \"127.0.0.1:0\", tls: { cert_file: /s/tls.crt, key_file: /s/tls.key, client_ca_file: /s/clients.pem } }
upstreams:
  app:
    endpoints: [\"127.0.0.1:3000\"]
    tls: { ca_file: /s/app.pem, cert_file: /s/own.crt, key_file: /s/own.key }
stores:
  encryption_keys: [{ id: k2, file: /s/k2 }, { id: k1, file: /s/k1 }]
  redis: { url_file: /s/redis-url, ca_file: /s/redis.pem }
defaults: { jwt: { jwks_file: /s/jwks.json } }
routes: [{ name: a, match: { path: /a } }, { name: b }]
";
        let config = crate::config::load(text, "outboard.yaml", &|_| None).unwrap();
        let told: Vec<String> = named_files(&config)
            .iter()
            .map(|named| {
                format!("{} {}{}", named.setting, named.file.display(), if named.secret { " secret" } else { "" })
            })
            .collect();
        let expected = [
            "admin.token_file /s/token secret",
            "listeners[0].tls.cert_file /s/tls.crt",
            "listeners[0].tls.key_file /s/tls.key secret",
            "listeners[0].tls.client_ca_file /s/clients.pem",
            "upstreams.app.tls.ca_file /s/app.pem",
            "upstreams.app.tls.cert_file /s/own.crt",
            "upstreams.app.tls.key_file /s/own.key secret",
            "stores.encryption_keys[0].file /s/k2 secret",
            "stores.encryption_keys[1].file /s/k1 secret",
            "stores.redis.url_file /s/redis-url secret",
            "stores.redis.ca_file /s/redis.pem",
            "routes[0].jwt.jwks_file /s/jwks.json secret",
        ];
        assert_eq!(told, expected);
    }

    /// A setting that is not in the list would be looked for neither here nor on a volume.
    #[test]
    fn no_setting_of_the_schema_that_is_a_file_is_left_out() {
        fn files(schema: &serde_json::Value, found: &mut std::collections::BTreeSet<String>) {
            match schema {
                serde_json::Value::Object(map) => {
                    for (key, value) in map {
                        if key == "file" || key.ends_with("_file") {
                            found.insert(key.clone());
                        }
                        files(value, found);
                    }
                }
                serde_json::Value::Array(list) => list.iter().for_each(|value| files(value, found)),
                _ => {}
            }
        }
        let mut found = std::collections::BTreeSet::new();
        files(&serde_json::to_value(crate::config::schema()).unwrap(), &mut found);
        let known =
            ["ca_file", "cert_file", "client_ca_file", "file", "jwks_file", "key_file", "token_file", "url_file"];
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), known);
    }
}
