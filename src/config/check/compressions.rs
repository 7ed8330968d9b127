//! Rules of `compression`.

use super::Check;
use crate::config::path::Path;
use crate::config::pattern::PathPattern;
use crate::policy::compression::{Coding, Levels, Settings};

/// From this level on brotli takes milliseconds for what the levels below take microseconds for.
const SLOW_BROTLI: u32 = 9;

pub(super) fn check(check: &mut Check<'_>) {
    let config = check.config;
    let places = check.routes.clone();
    for (route, place) in config.routes.iter().zip(places) {
        let Some(settings) = &route.compression else { continue };
        let path = place.key("compression");
        encodings(check, &settings.encodings, &path.key("encodings"));
        types(check, &settings.types, &path.key("types"));
        levels(check, settings, &path.key("levels"));
        for (index, text) in settings.exclude_paths.iter().enumerate() {
            let path = path.key("exclude_paths").index(index);
            if let Err(error) = text.parse::<PathPattern>() {
                check.error(&path, format!("{error}, found {}", check.found(&path)));
            }
        }
        if !settings.breach_guard {
            check.warn(
                &path.key("breach_guard"),
                "answers to requests with a cookie are encoded: their lengths tell what a secret in them begins with, where \
                 an attacker's text stands beside it",
            );
        }
    }
}

fn encodings(check: &mut Check<'_>, encodings: &[Coding], path: &Path) {
    if encodings.is_empty() {
        check.error(path, "expected at least one of zstd, br and gzip; compression: off, if nothing is to be encoded");
    }
    for (index, coding) in encodings.iter().enumerate() {
        if encodings[..index].contains(coding) {
            check.error(&path.index(index), format!("{} twice: the first place counts", coding.as_str()));
        }
    }
}

fn types(check: &mut Check<'_>, types: &[String], path: &Path) {
    if types.is_empty() {
        check.error(path, "expected at least one media type; compression: off, if nothing is to be encoded");
    }
    for (index, text) in types.iter().enumerate() {
        if !is_media_type(text) {
            check.invalid(&path.index(index), "a media type without parameters such as application/json, or text/*");
        } else if types[..index].iter().any(|other| other.eq_ignore_ascii_case(text)) {
            check.error(&path.index(index), "the same type twice");
        }
    }
}

/// `type/subtype` or `type/*`, RFC 9110, 8.3.1.
fn is_media_type(text: &str) -> bool {
    let token =
        |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&b));
    text.split_once('/').is_some_and(|(kind, sub)| token(kind) && (sub == "*" || token(sub)))
}

fn levels(check: &mut Check<'_>, settings: &Settings, path: &Path) {
    for coding in Coding::ALL {
        let (level, range) = (settings.levels.get(coding), Levels::range(coding));
        if !range.contains(&level) {
            check.invalid(&path.key(coding.as_str()), &format!("a level from {} to {}", range.start(), range.end()));
        }
    }
    let br = settings.levels.br;
    if Levels::range(Coding::Br).contains(&br) && br >= SLOW_BROTLI && settings.encodings.contains(&Coding::Br) {
        let message =
            format!("brotli {br} takes milliseconds for 10 KB; it is for what is encoded once and kept for long");
        check.warn(&path.key("br"), message);
    }
}
