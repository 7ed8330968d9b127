//! `defaults` under every route, as a tree: what a route says wins, sections merge key by key, lists of named things
//! merge by name, other values replace. A key without a value says nothing.

use super::tree::{Entry, Node, Value};

/// Sections that are not optional in the types, but that a route may yet switch `off`: it then has none of it.
const REMOVABLE: &[&str] = &["headers"];

/// What routes switched off: the place of the route and the key.
pub(crate) struct Offs(Vec<(usize, String)>);

/// Takes out of the routes what only merging understands: `section: off`, and `{ name: x, off: true }` in a list.
pub(crate) fn prepare(root: &mut Node) -> Offs {
    let mut offs = Vec::new();
    for (index, route) in routes(root).iter_mut().enumerate() {
        let Some(entries) = route.entries_mut() else { continue };
        entries.retain(|e| {
            let off = REMOVABLE.contains(&e.key.as_str()) && e.value.is_off();
            if off {
                offs.push((index, e.key.clone()));
            }
            !off
        });
        for entry in entries {
            if let Value::List(items) = &mut entry.value.value {
                items.iter_mut().filter(|item| is_removal(item)).for_each(|item| item.hole = true);
            }
        }
    }
    Offs(offs)
}

/// Where the file names no route and has one upstream: one route that takes everything.
pub(crate) fn default_route(root: &mut Node) {
    if root.get("routes").is_some_and(|routes| !routes.is_null()) {
        return;
    }
    let mark = root.mark;
    let name = Entry { key: "name".to_owned(), mark, value: Node::plain(mark, "default") };
    let route = Node::new(mark, Value::Map(vec![name]));
    let routes = Entry { key: "routes".to_owned(), mark, value: Node::new(mark, Value::List(vec![route])) };
    if let Some(entries) = root.entries_mut() {
        entries.retain(|e| e.key != "routes");
        entries.push(routes);
    }
}

/// Puts `defaults` under every route.
pub(crate) fn apply(root: &mut Node, offs: &Offs) {
    let Some(Value::Map(defaults)) = root.get("defaults").map(|d| d.value.clone()) else { return };
    for (index, route) in routes(root).iter_mut().enumerate() {
        if let Some(entries) = route.entries_mut() {
            let wanted = |key: &str| !offs.0.iter().any(|(i, k)| *i == index && k == key);
            under(entries, defaults.iter().filter(|d| wanted(&d.key)));
        }
    }
}

fn routes(root: &mut Node) -> &mut [Node] {
    match root.get_mut("routes").map(|r| &mut r.value) {
        Some(Value::List(routes)) => routes,
        _ => &mut [],
    }
}

fn under<'d>(entries: &mut Vec<Entry>, defaults: impl Iterator<Item = &'d Entry>) {
    for default in defaults {
        match entries.iter_mut().find(|e| e.key == default.key) {
            Some(own) if own.value.is_null() => own.value = inherit(&default.value),
            Some(own) => merge(&mut own.value, &default.value),
            None => entries.push(Entry { value: inherit(&default.value), ..default.clone() }),
        }
    }
}

fn inherit(node: &Node) -> Node {
    Node { inherited: true, ..node.clone() }
}

fn merge(own: &mut Node, default: &Node) {
    match (&mut own.value, &default.value) {
        (Value::Map(own), Value::Map(default)) => under(own, default.iter()),
        (Value::List(own), Value::List(default)) if named(own) && named(default) => by_name(own, default),
        _ => {}
    }
}

/// The defaults' order first, then what only the route has.
fn by_name(own: &mut Vec<Node>, default: &[Node]) {
    let mut merged = Vec::new();
    for item in default {
        match own.iter().position(|o| name(o) == name(item)) {
            Some(at) => {
                let mut same = own.remove(at);
                merge(&mut same, item);
                merged.push(same);
            }
            None => merged.push(inherit(item)),
        }
    }
    merged.append(own);
    *own = merged;
}

fn named(items: &[Node]) -> bool {
    !items.is_empty() && items.iter().all(|item| name(item).is_some())
}

fn name(item: &Node) -> Option<&str> {
    match item.get("name").map(|n| &n.value) {
        Some(Value::Scalar(name)) => Some(&name.text),
        _ => None,
    }
}

fn is_removal(item: &Node) -> bool {
    let off = item.get("off").is_some_and(|off| matches!(&off.value, Value::Scalar(s) if s.text == "true"));
    off && name(item).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse::parse;

    /// The tree as one line, holes left out.
    fn flat(node: &Node) -> String {
        match &node.value {
            Value::Scalar(s) => s.text.clone(),
            Value::List(items) => {
                let items: Vec<_> = items.iter().filter(|i| !i.hole).map(flat).collect();
                format!("[{}]", items.join(" "))
            }
            Value::Map(entries) => {
                let entries: Vec<_> = entries.iter().map(|e| format!("{}:{}", e.key, flat(&e.value))).collect();
                format!("{{{}}}", entries.join(" "))
            }
        }
    }

    fn merged(defaults: &str, route: &str) -> String {
        let (mut root, flaws) = parse(&format!("defaults: {defaults}\nroutes: [{route}]\n")).unwrap();
        assert!(flaws.is_empty());
        let offs = prepare(&mut root);
        apply(&mut root, &offs);
        flat(&root.get("routes").unwrap().items()[0])
    }

    #[test]
    fn how_defaults_and_a_route_merge() {
        for (defaults, route, expected) in [
            ("{ a: 1 }", "{ b: 2 }", "{b:2 a:1}"),
            ("{ a: 1 }", "{ a: 2 }", "{a:2}"),
            ("{ a: 1 }", "{ a: }", "{a:1}"),
            ("{ a: 1 }", "{ a: off }", "{a:off}"),
            ("{ t: { x: 1, y: { z: 3 } } }", "{ t: { x: 2, y: { w: 4 } } }", "{t:{x:2 y:{w:4 z:3}}}"),
            ("{ l: [1, 2] }", "{ l: [3] }", "{l:[3]}"),
            ("{ t: { x: 1 } }", "{ t: off }", "{t:off}"),
            ("{ headers: { a: 1 } }", "{ headers: off }", "{}"),
            ("{ headers: { a: 1 } }", "{ headers: false, b: 2 }", "{b:2}"),
            (
                "{ r: [{ name: a, n: 1, m: 1 }, { name: b }] }",
                "{ r: [{ name: c }, { name: a, n: 2 }] }",
                "{r:[{name:a n:2 m:1} {name:b} {name:c}]}",
            ),
            ("{ r: [{ name: a }, { name: b }] }", "{ r: [{ name: a, off: true }] }", "{r:[{name:b}]}"),
            ("{ r: [{ name: a }] }", "{ r: [] }", "{r:[]}"),
        ] {
            assert_eq!(merged(defaults, route), expected, "{defaults} under {route}");
        }
    }

    #[test]
    fn what_is_inherited_keeps_its_place() {
        let (mut root, _) = parse("defaults:\n  t:\n    x: 1\nroutes:\n  - t:\n      y: 2\n").unwrap();
        let offs = prepare(&mut root);
        apply(&mut root, &offs);
        let route = &root.get("routes").unwrap().items()[0];
        let x = route.get("t").unwrap().get("x").unwrap();
        assert_eq!((x.mark.line, x.inherited), (3, true));
        assert!(!route.get("t").unwrap().get("y").unwrap().inherited);
    }
}
