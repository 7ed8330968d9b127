//! `compression`: what could not work, and what costs more than it says.

use super::policies::{file, one, route, silent, warns};
use super::{load, loaded};
use outboard::policy::compression::{Coding, Settings};

/// A file whose only route has this in its `compression`.
fn with(inside: &str) -> String {
    route(&format!("compression: {{ {inside} }}"))
}

#[test]
fn a_compression_that_could_not_work() {
    for (inside, expected) in [
        ("encoding: [gzip]", "8:20: routes[0].compression.encoding: unknown key; did you mean encodings?"),
        (
            "encodings: []",
            "encodings: expected at least one of zstd, br and gzip; compression: off, if nothing is to be encoded",
        ),
        ("encodings: [deflate]", "encodings[0]: expected zstd, br or gzip, found deflate"),
        ("encodings: [brotli]", "encodings[0]: expected zstd, br or gzip, found brotli"),
        ("encodings: [gzip, br, gzip]", "8:42: routes[0].compression.encodings[2]: gzip twice: the first place counts"),
        ("encodings: gzip", "encodings: expected a list, found gzip"),
        ("min_size: 1KB", "min_size: expected a size such as 512, 64KiB, 1MiB or 2GiB, found 1KB"),
        ("types: []", "types: expected at least one media type; compression: off, if nothing is to be encoded"),
        (
            "types: [json]",
            "types[0]: expected a media type without parameters such as application/json, or text/*, found json",
        ),
        ("types: [\"application/json; charset=utf-8\"]", "types[0]: expected a media type without parameters"),
        ("types: [\"text/\"]", "types[0]: expected a media type without parameters"),
        ("types: [\"*/*\"]", "types[0]: expected a media type without parameters"),
        ("types: [text/css, \"text/*\", TEXT/css]", "types[2]: the same type twice"),
        ("levels: { gzip: 0 }", "levels.gzip: expected a level from 1 to 9, found 0"),
        ("levels: { gzip: 10 }", "levels.gzip: expected a level from 1 to 9, found 10"),
        ("levels: { br: 12 }", "levels.br: expected a level from 0 to 11, found 12"),
        ("levels: { zstd: 0 }", "levels.zstd: expected a level from 1 to 19, found 0"),
        ("levels: { zstd: 20 }", "levels.zstd: expected a level from 1 to 19, found 20"),
        ("levels: { zstd: -1 }", "levels.zstd: expected a whole number up to 4294967295, found -1"),
        ("levels: { brotli: 4 }", "levels.brotli: unknown key; known here: gzip, br, zstd"),
        ("adaptive: on", "adaptive: expected true or false, found on; write true"),
        ("exclude_paths: [health]", "exclude_paths[0]: expected a path that starts with /, found health"),
        ("exclude_paths: [\"/files/*\"]", "exclude_paths[0]: expected a whole segment for a parameter"),
    ] {
        one(&with(inside), expected);
    }
    one(&route("compression: on"), "routes[0].compression: expected a section, found on");
}

#[test]
fn a_compression_that_works() {
    for inside in [
        "",
        "encodings: [gzip], min_size: 0",
        "levels: { gzip: 9, br: 0, zstd: 19 }",
        "levels: { br: 11 }, encodings: [gzip]",
        "types: [application/vnd.api+json, \"text/*\"]",
        "exclude_paths: [/health, \"/files/{*rest}\", \"/a/{id}\"], adaptive: false",
    ] {
        silent(&with(inside));
    }
}

#[test]
fn what_costs_or_gives_away_more_than_it_says() {
    warns(
        &with("breach_guard: false"),
        "8:34: routes[0].compression.breach_guard: answers to requests with a cookie are encoded: their lengths tell what a \
         secret in them begins with",
    );
    warns(&with("levels: { br: 11 }"), "levels.br: brotli 11 takes milliseconds for 10 KB");
    silent(&with("levels: { br: 8 }"));
}

#[test]
fn it_is_on_until_it_is_off_and_merges_key_by_key() {
    let text = file(
        "",
        "defaults:\n  compression: { encodings: [br, gzip], levels: { gzip: 1 } }\nroutes:\n  \
         - { name: a, match: { path: /a }, compression: { min_size: 2KiB, levels: { br: 5 } } }\n  \
         - { name: b, match: { path: /b }, compression: off }\n  - { name: c, compression: false }\n",
    )
    .replace("name: c,", "name: c, match: { path: /c },");
    let config = loaded(&text).config;
    let a = config.routes[0].compression.as_ref().unwrap();
    assert_eq!(a.encodings, [Coding::Br, Coding::Gzip]);
    assert_eq!((a.levels.gzip, a.levels.br, a.levels.zstd, a.min_size.bytes()), (1, 5, 3, 2048));
    assert!(config.routes[1].compression.is_none() && config.routes[2].compression.is_none());
    let written = serde_yaml::to_string(&config).unwrap();
    assert_eq!(load(&written).unwrap_or_else(|e| panic!("{e}\n{written}")), config);

    assert_eq!(loaded(&route("")).config.routes[0].compression, Some(Settings::default()));
    let off = loaded(&file("", "defaults: { compression: off }\nroutes: [{ name: a }]")).config;
    assert!(off.routes[0].compression.is_none() && off.defaults.compression.is_none());
}
