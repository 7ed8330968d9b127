//! `${NAME}` and `${NAME:-default}`, replaced in scalars after parsing: a value cannot change the structure of the file.

use super::path::{Path, Step};
use super::tree::{Flaw, Node, Value};

/// Finds a variable of the environment.
pub type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Replaces in every scalar of the tree; a name that is missing and has no default is a flaw.
pub(crate) fn replace(root: &mut Node, lookup: &Lookup<'_>) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    walk(root, lookup, &mut Path::default(), &mut flaws);
    flaws
}

fn walk(node: &mut Node, lookup: &Lookup<'_>, path: &mut Path, flaws: &mut Vec<Flaw>) {
    match &mut node.value {
        Value::Scalar(scalar) => match expand(&scalar.text, lookup) {
            Ok(Some(text)) => scalar.written = Some(std::mem::replace(&mut scalar.text, text)),
            Ok(None) => {}
            Err(message) => flaws.push(Flaw { mark: node.mark, path: path.clone(), message, lost: true }),
        },
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                path.0.push(Step::Index(index));
                walk(item, lookup, path, flaws);
                path.0.pop();
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                path.0.push(Step::Key(entry.key.clone()));
                walk(&mut entry.value, lookup, path, flaws);
                path.0.pop();
            }
        }
    }
}

/// The text with everything replaced, or `None` where there is nothing to replace.
fn expand(text: &str, lookup: &Lookup<'_>) -> Result<Option<String>, String> {
    let mut rest = text;
    let mut out = String::new();
    let mut changed = false;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix('$') {
            out.push('$');
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix('{') {
            let end = behind.find('}').ok_or("expected } behind ${; a dollar sign itself is written $$")?;
            out.push_str(&value(&behind[..end], lookup)?);
            rest = &behind[end + 1..];
        } else {
            out.push('$');
            continue;
        }
        changed = true;
    }
    out.push_str(rest);
    Ok(changed.then_some(out))
}

fn value(inside: &str, lookup: &Lookup<'_>) -> Result<String, String> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(letters) {
        return Err("expected a name in ${}; a dollar sign itself is written $$".to_owned());
    }
    match (lookup(name), default) {
        // As in a shell: `:-` also stands in for a variable that is set to nothing.
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!("{name} is not set in the environment; a default is written ${{{name}:-default}}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "N" => Some("4".into()),
            "EMPTY" => Some(String::new()),
            "DEEP" => Some("a: b # ${N}\n- c".into()),
            _ => None,
        }
    }

    #[test]
    fn what_is_replaced() {
        for (text, expected) in [
            ("${N}", "4"),
            ("a${N}b${N}", "a4b4"),
            ("${X:-d:-e}", "d:-e"),
            ("${X:-}", ""),
            ("${EMPTY:-d}", "d"),
            ("${EMPTY}", ""),
            ("$$${N}", "$4"),
            ("$${N}", "${N}"),
            ("$a $ ${N}", "$a $ 4"),
            ("${DEEP}", "a: b # ${N}\n- c"),
        ] {
            assert_eq!(expand(text, &lookup).unwrap().unwrap(), expected, "{text}");
        }
        assert_eq!(expand("no dollar", &lookup), Ok(None));
    }

    #[test]
    fn what_is_refused() {
        for text in ["${X}", "${", "${}", "${1A}", "${a b}", "${N:default}"] {
            assert!(expand(text, &lookup).is_err(), "{text}");
        }
        assert!(expand("${X}", &lookup).unwrap_err().starts_with("X is not set"));
    }

    #[test]
    fn a_plain_scalar_is_resolved_again_and_a_quoted_one_stays_text() {
        use super::super::{parse::parse, tree::Resolved};
        let (mut root, _) = parse("a: ${N}\nb: \"${N}\"\n# ${MISSING}\n").unwrap();
        assert!(replace(&mut root, &lookup).is_empty());
        let resolved = |key: &str| match &root.get(key).unwrap().value {
            Value::Scalar(s) => (matches!(s.resolve(), Resolved::Unsigned(4)), s.found()),
            _ => unreachable!(),
        };
        assert_eq!(resolved("a"), (true, "${N}".into()));
        assert_eq!(resolved("b"), (false, "\"${N}\"".into()));
    }

    #[test]
    fn every_missing_name_is_told_with_its_place() {
        let (mut root, _) = super::super::parse::parse("a:\n  - x\n  - ${X}\nb: ${Y}\n").unwrap();
        let flaws = replace(&mut root, &lookup);
        let places: Vec<_> = flaws.iter().map(|f| (f.mark.line, f.mark.column, f.path.to_string())).collect();
        assert_eq!(places, [(3, 5, "a[1]".into()), (4, 4, "b".into())]);
    }
}
