use super::*;
use crate::config::tree::Resolved;

fn root(text: &str) -> Node {
    let (root, flaws) = parse(text).unwrap();
    assert!(flaws.is_empty(), "{flaws:?}");
    root
}

fn scalar(node: &Node) -> &Scalar {
    match &node.value {
        Value::Scalar(scalar) => scalar,
        other => panic!("{other:?} is no scalar"),
    }
}

#[test]
fn every_node_knows_its_place() {
    let root = root("a: 1\n\"b\":\n  - x\n  - { c:  \"é\", d: 'y' }\n");
    let place = |node: &Node| (node.mark.line, node.mark.column);
    let item = &root.get("b").unwrap().items()[1];
    assert_eq!(place(&root), (1, 1));
    assert_eq!(place(root.get("a").unwrap()), (1, 4));
    assert_eq!(place(item), (4, 5));
    assert_eq!(place(item.get("c").unwrap()), (4, 11));
    assert_eq!(place(item.get("d").unwrap()), (4, 19), "columns count characters");
    match &root.value {
        Value::Map(entries) => assert_eq!((entries[1].mark.line, entries[1].mark.column), (2, 1)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn scalars_follow_the_core_schema() {
    for (text, expected) in [
        ("~", Resolved::Null),
        ("null", Resolved::Null),
        ("true", Resolved::Bool(true)),
        ("False", Resolved::Bool(false)),
        ("on", Resolved::Text("on")),
        ("no", Resolved::Text("no")),
        ("7", Resolved::Unsigned(7)),
        ("-7", Resolved::Signed(-7)),
        ("0x1F", Resolved::Unsigned(31)),
        ("0o17", Resolved::Unsigned(15)),
        ("1.5", Resolved::Float(1.5)),
        ("1:30", Resolved::Text("1:30")),
        ("5s", Resolved::Text("5s")),
        ("inf", Resolved::Text("inf")),
        ("'7'", Resolved::Text("7")),
        ("\"true\"", Resolved::Text("true")),
        ("!!str 7", Resolved::Text("7")),
    ] {
        assert_eq!(scalar(root(&format!("a: {text}")).get("a").unwrap()).resolve(), expected, "{text}");
    }
}

#[test]
fn off_is_off_however_a_tool_writes_it() {
    for (text, off) in [("off", true), ("false", true), ("'off'", true), ("no", false), ("'false'", false), ("", false)]
    {
        assert_eq!(root(&format!("a: {text}")).get("a").unwrap().is_off(), off, "{text}");
    }
}

#[test]
fn what_can_be_passed_over_does_not_hide_the_rest() {
    let (root, flaws) = parse("a: &x 1\nb: *x\na: 2\nc: !t 3\n? <<\n: d\n").unwrap();
    let told: Vec<_> = flaws.iter().map(|f| (f.mark.line, f.path.to_string(), f.lost)).collect();
    let expected = [(1, "a", false), (2, "b", true), (3, "a", false), (4, "c", true), (5, "<<", true)];
    assert_eq!(told, expected.map(|(line, path, lost)| (line, path.to_owned(), lost)));
    assert_eq!(scalar(root.get("a").unwrap()).text, "1", "the first of two");
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    assert_eq!(root("\u{feff}a: 1").get("a").unwrap().mark, Mark { line: 1, column: 4 });
}

#[test]
fn depth_is_bounded() {
    let nested = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
    assert!(parse(&nested(MAX_DEPTH - 1)).is_ok());
    assert!(parse(&nested(MAX_DEPTH)).unwrap_err().message.contains("64 levels"));
}

#[test]
fn a_comment_without_a_space_in_front_is_forgiven() {
    let root = root("a: [x]# é\nb: { c: 'd' }# [\ne: f#g\n");
    assert_eq!(scalar(root.get("e").unwrap()).text, "f#g");
    assert_eq!(root.get("b").unwrap().get("c").unwrap().mark, Mark { line: 2, column: 9 });
    assert!(parse(&"- [a]#\n".repeat(200)).is_err());
}
