//! Whatever a file holds, loading it ends with a configuration or with errors that can be shown.

use super::load;
use proptest::prelude::*;

/// Loads, and shows what is wrong.
fn survive(text: &str) {
    if let Err(errors) = load(text) {
        assert!(!errors.0.is_empty(), "no error and no configuration:\n{text}");
        for error in &errors.0 {
            let line = error.to_string();
            assert!(!line.contains('\n'), "{line:?}");
        }
    }
}

const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    "-",
    " ",
    "\n",
    "\"",
    "'",
    "*",
    "&a",
    "*a",
    "!x",
    "<<: ",
    "? ",
    "|\n",
    ">\n",
    "#",
    "%",
    "@",
    "off",
    "null",
    "~",
    "true",
    "${A}",
    "${",
    "$$",
    "---\n",
    "...\n",
    "\t",
    "\u{feff}",
    "\u{0}",
    "é",
    "99999999999999999999",
    "-1",
    "0x",
    "1e400",
    ".inf",
    "5s",
    "auto",
    "name: x\n",
    "routes:\n",
    "listeners: ",
    "upstreams: ",
    "defaults: ",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text(text in "\\PC{0,200}") {
        survive(&text);
    }

    #[test]
    fn pieces_of_yaml(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..40)) {
        survive(&pieces.concat());
    }

    #[test]
    fn the_contract_with_a_piece_in_it(at in 0.0..1.0f64, cut in 0usize..40, piece in proptest::sample::select(PIECES)) {
        let chars: Vec<char> = include_str!("../data/contract.yaml").chars().collect();
        let at = (at * chars.len() as f64) as usize;
        let mut text: String = chars[..at].iter().collect();
        text.push_str(piece);
        text.extend(&chars[(at + cut).min(chars.len())..]);
        survive(&text);
    }
}

#[test]
fn hostile_files_are_bounded() {
    survive(&"[".repeat(100_000));
    survive(&"{a: ".repeat(10_000));
    survive(&"- ".repeat(100_000));
    survive(&"#".repeat((1 << 20) + 1));
    survive(&"a: &a [*a, *a]\n".repeat(5000));
    let many: String = (0..5000).map(|n| format!("x{n}: 1\n")).collect();
    let errors = load(&many).unwrap_err();
    assert_eq!(errors.to_string().lines().count(), 101);
}
