//! `outboard explain --config F METHOD URL [-H 'N: V']`: which route a request takes, which others lost and why, and
//! which policies it then meets.

use std::io::Write;
use std::path::PathBuf;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::answers::Asked;
use super::{Failure, policies};
use crate::config::{Config, load_file};
use crate::route::matcher::{Matcher, Request, host_without_port};
use crate::route::path::check_path;
use crate::route::table::rule;

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration file
    #[arg(short, long)]
    config: PathBuf,
    /// The listener the request comes in at; needed where there are several
    #[arg(long)]
    listener: Option<String>,
    /// GET, POST, …
    method: String,
    /// A path with its query, or a whole URL whose host is matched as well
    url: String,
    /// A header field, as in curl
    #[arg(short = 'H', long = "header", value_name = "N: V")]
    headers: Vec<String>,
}

/// Prints the verdict of every route, and what the winning one does.
pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Failure> {
    let config = match load_file(&args.config) {
        Ok(loaded) => loaded.config,
        Err(errors) => {
            writeln!(err, "{errors}")?;
            return Err(Failure::Config);
        }
    };
    let wrong = |what: &str| Failure::Remote(format!("{what}: expected something else"));
    let method: Method = args.method.parse().map_err(|_| wrong(&args.method))?;
    let uri: Uri = args.url.parse().map_err(|_| wrong(&args.url))?;
    let mut headers = HeaderMap::new();
    for header in &args.headers {
        let (name, value) = header.split_once(':').ok_or_else(|| wrong(header))?;
        let name: HeaderName = name.trim().parse().map_err(|_| wrong(header))?;
        headers.append(name, HeaderValue::from_str(value.trim()).map_err(|_| wrong(header))?);
    }
    let listener = listener(&config, args.listener.as_deref())?;
    let host = uri.authority().map(|a| a.as_str().to_owned());
    let host = host.or_else(|| headers.get("host").and_then(|v| v.to_str().ok()).map(str::to_owned));
    let path = if uri.path().is_empty() { "/" } else { uri.path() };
    let request = Request {
        listener,
        host: host.as_deref().map(host_without_port),
        path,
        method: &method,
        headers: &headers,
        query: uri.query(),
    };
    let rules: Vec<_> = config.routes.iter().map(|r| rule(r, &config)).collect();
    let matcher = Matcher::new(&rules).map_err(|_| Failure::Config)?;
    let verdicts = matcher.explain(&request);
    let winner = verdicts.iter().find(|v| v.won);
    writeln!(out, "{method} {path} at listener {}", config.listeners[listener].name)?;
    let slash = winner.is_some_and(|w| config.routes[w.index].allow_encoded_slash);
    if let Err(why) = check_path(path, slash) {
        writeln!(out, "  refused: bad_request ({why})")?;
        return Ok(());
    }
    match winner {
        Some(winner) => writeln!(out, "  takes route {} to upstream {}", winner.name, upstream(&config, winner.index))?,
        None => writeln!(out, "  takes no route: {}", verdict_without(&matcher, &request))?,
    }
    for verdict in verdicts.iter().filter(|v| !v.won) {
        writeln!(out, "  not {}: {}", verdict.name, verdict.why)?;
    }
    if let Some(winner) = winner {
        let name = upstream(&config, winner.index);
        if let Some(behind) = config.upstreams.get(&name) {
            writeln!(out)?;
            let asked = Asked { method: &method, path, headers: &headers };
            for (key, does) in policies::rows(&config, &config.routes[winner.index], &name, behind, Some(&asked)) {
                writeln!(out, "  {key:<16} {does}")?;
            }
        }
        let masked = config.masked();
        let yaml = serde_yaml::to_string(&masked.routes[winner.index]).map_err(std::io::Error::other)?;
        writeln!(out, "\n{}", yaml.trim_end())?;
    }
    Ok(())
}

fn listener(config: &Config, named: Option<&str>) -> Result<usize, Failure> {
    match named {
        Some(name) => config.listeners.iter().position(|l| l.name == name).ok_or_else(|| {
            let names: Vec<_> = config.listeners.iter().map(|l| l.name.as_str()).collect();
            Failure::Remote(format!("--listener: expected one of {}, got {name}", names.join(", ")))
        }),
        None if config.listeners.len() == 1 => Ok(0),
        None => {
            Ok(config.listeners.iter().position(|l| l.direction() == crate::config::Direction::Inbound).unwrap_or(0))
        }
    }
}

fn upstream(config: &Config, route: usize) -> String {
    let only = || config.upstreams.keys().next().cloned().unwrap_or_default();
    config.routes[route].upstream.clone().unwrap_or_else(only)
}

fn verdict_without(matcher: &Matcher, request: &Request<'_>) -> String {
    match matcher.find(request) {
        crate::route::matcher::Found::MethodNotAllowed(allow) => format!("405, Allow: {allow}"),
        _ => "404".to_owned(),
    }
}
