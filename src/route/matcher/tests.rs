use proptest::prelude::*;

use super::*;

/// A rule named after its text: `[methods] [host]/path` with headers and query in further words.
fn rule(methods: &[&str], host: &str, path: &str) -> Rule {
    Rule {
        name: format!("{}{host}{path}", methods.join("+")),
        host: (!host.is_empty()).then(|| host.into()),
        path: (!path.is_empty()).then(|| path.into()),
        methods: methods.iter().map(|m| m.to_string()).collect(),
        ..Rule::default()
    }
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
}

/// A request, owned.
#[derive(Debug, Clone)]
struct Asked {
    listener: usize,
    host: Option<String>,
    path: String,
    method: Method,
    headers: HeaderMap,
    query: Option<String>,
}

fn ask(method: &str, host: &str, target: &str) -> Asked {
    let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q.to_string())));
    Asked {
        listener: 0,
        host: Some(host.to_string()),
        path: path.to_string(),
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        headers: HeaderMap::new(),
        query,
    }
}

impl Asked {
    fn request(&self) -> Request<'_> {
        Request {
            listener: self.listener,
            host: self.host.as_deref(),
            path: &self.path,
            method: &self.method,
            headers: &self.headers,
            query: self.query.as_deref(),
        }
    }

    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.append(name, http::HeaderValue::from_static(value));
        self
    }
}

/// The name of the route that takes a request, or `405 Allow`, or `404`.
fn winner(rules: &[Rule], asked: &Asked) -> String {
    let matcher = Matcher::new(rules).unwrap();
    let found = matcher.find(&asked.request());
    let explained = matcher.explain(&asked.request()).into_iter().find(|v| v.won).map(|v| v.index);
    match found {
        Found::Route(index) => {
            assert_eq!(explained, Some(index));
            rules[index].name.clone()
        }
        Found::MethodNotAllowed(allow) => format!("405 {allow}"),
        Found::None => "404".into(),
    }
}

/// Each target goes to the route named beside it.
fn goes(rules: &[Rule], cases: &[(&str, &str)]) {
    for (asked, expected) in cases {
        let (method, target) = asked.split_once(' ').unwrap();
        assert_eq!(winner(rules, &ask(method, "a.example", target)), *expected, "{asked}");
    }
}

#[test]
fn a_literal_stands_before_a_parameter_before_a_rest_before_none() {
    let paths = ["/v1/a", "/v1/{id}", "/v1/{id}/x", "/v1/{*rest}", "/v1/a/{id}", "", "/V1/a/"];
    goes(
        &paths.map(|p| rule(&[], "", p)),
        &[
            ("GET /v1/a", "/v1/a"),
            ("GET /v1/b", "/v1/{id}"),
            ("GET /v1/a/x", "/v1/a/{id}"),
            ("GET /v1/b/x", "/v1/{id}/x"),
            ("GET /v1/b/y", "/v1/{*rest}"),
            ("GET /v1/", "/v1/{*rest}"),
            ("GET /v1/a/", "/v1/{*rest}"),
            ("GET /v1", ""),
            ("GET /", ""),
            ("GET /V1/a", ""),
            ("GET /V1/a/", "/V1/a/"),
            ("OPTIONS *", ""),
            ("GET /v1/%61", "/v1/{id}"),
        ],
    );
    goes(&[rule(&[], "", "/{*rest}")], &[("GET /", "/{*rest}"), ("GET /a/b", "/{*rest}"), ("OPTIONS *", "404")]);
    goes(&[rule(&[], "", "/"), rule(&[], "", "/a/{b}")], &[("GET /", "/"), ("GET /a/", "404"), ("GET /a/b/", "404")]);
}

#[test]
fn a_path_whose_routes_want_something_else_gives_way_to_a_wider_one() {
    let rules = [
        rule(&["POST"], "", "/a/b"),
        rule(&["GET"], "", "/a/{x}"),
        rule(&["PUT"], "", "/{*rest}"),
        rule(&["PURGE"], "", ""),
    ];
    goes(
        &rules,
        &[
            ("POST /a/b", "POST/a/b"),
            ("GET /a/b", "GET/a/{x}"),
            ("HEAD /a/b", "GET/a/{x}"),
            ("PUT /a/b", "PUT/{*rest}"),
            ("PURGE /a/b", "PURGE"),
            ("DELETE /a/b", "405 GET, HEAD, POST, PURGE, PUT"),
            ("DELETE /a/c", "405 GET, HEAD, PURGE, PUT"),
        ],
    );
    goes(&rules[..2], &[("GET /c", "404"), ("POST /a/c", "405 GET, HEAD")]);
}

#[test]
fn host_stands_before_path() {
    let rules = [
        rule(&[], "a.example", "/x"),
        rule(&[], "*.example", "/x/y"),
        rule(&[], "*.b.example", "/{*r}"),
        rule(&[], "", "/x/y/z"),
    ];
    let at = |host: &str, path: &str| winner(&rules, &ask("GET", host, path));
    assert_eq!(at("A.Example", "/x"), "a.example/x");
    assert_eq!(at("a.example.", "/x"), "a.example/x");
    assert_eq!(at("a.example", "/x/y"), "*.example/x/y");
    assert_eq!(at("c.example", "/x/y"), "*.example/x/y");
    assert_eq!(at("c.b.example", "/x/y"), "*.b.example/{*r}");
    assert_eq!(at("b.example", "/x/y"), "*.example/x/y");
    assert_eq!(at("example", "/x/y"), "404");
    assert_eq!(at(".example", "/x/y"), "404");
    assert_eq!(at(&"a".repeat(300), "/x/y/z"), "/x/y/z");
    let nobody = Asked { host: None, ..ask("GET", "", "/x/y/z") };
    assert_eq!(winner(&rules, &nobody), "/x/y/z");
}

#[test]
fn the_listener_stands_before_everything() {
    let mut egress = rule(&[], "", "");
    egress.listener = Some(1);
    let rules = [rule(&["GET"], "a.example", "/v1/payments"), egress];
    let mut asked = ask("GET", "a.example", "/v1/payments");
    assert_eq!(winner(&rules, &asked), rules[0].name);
    asked.listener = 1;
    assert_eq!(winner(&rules, &asked), rules[1].name);
    asked.listener = 7;
    assert_eq!(winner(&rules, &asked), rules[0].name);
}

#[test]
fn methods_then_headers_then_query_decide_within_a_path() {
    let with = |name: &str, methods: &[&str], headers: &[(&str, &str)], query: &[(&str, &str)]| Rule {
        name: name.into(),
        headers: pairs(headers),
        query: pairs(query),
        ..rule(methods, "", "/a")
    };
    let rules = [
        with("query", &[], &[], &[("q", "1")]),
        with("header", &[], &[("x-v", "2")], &[]),
        with("two", &[], &[("x-v", "2"), ("x-w", "*")], &[]),
        with("method", &["POST"], &[], &[]),
        with("plain", &[], &[], &[]),
        with("head", &["HEAD"], &[], &[]),
        with("get", &["GET"], &[], &[]),
    ];
    let of = |asked: Asked| winner(&rules, &asked);
    let put = |target: &str| ask("PUT", "", target);
    assert_eq!(of(put("/a")), "plain");
    assert_eq!(of(put("/a?q=1")), "query");
    assert_eq!(of(put("/a?b&q=1")), "query");
    assert_eq!(of(put("/a?q=1&q=2")), "plain");
    assert_eq!(of(put("/a?q=%31")), "plain");
    assert_eq!(of(put("/a?q=1").header("x-v", "2")), "header");
    assert_eq!(of(put("/a").header("x-v", "2").header("x-v", "2")), "header");
    assert_eq!(of(put("/a").header("x-v", "2").header("x-v", "3")), "plain");
    assert_eq!(of(put("/a").header("x-v", "2").header("x-w", "")), "two");
    assert_eq!(of(ask("POST", "", "/a?q=1").header("x-v", "2")), "method");
    assert_eq!(of(ask("HEAD", "", "/a")), "head");
    assert_eq!(of(ask("GET", "", "/a")), "get");
    assert_eq!(winner(std::slice::from_ref(&rules[1]), &put("/a")), "404");
    let versioned = Rule { headers: pairs(&[("x-v", "2")]), ..rule(&["GET"], "", "/a") };
    assert_eq!(winner(std::slice::from_ref(&versioned), &put("/a")), "404", "405 is for who lacks the method alone");
    assert_eq!(winner(&[versioned], &put("/a").header("x-v", "2")), "405 GET, HEAD");
}

#[test]
fn parameters_are_cut_out_of_the_path() {
    let rules = [rule(&[], "", "/v1/{merchant}/x/{*tail}"), rule(&[], "", "/")];
    let matcher = Matcher::new(&rules).unwrap();
    let params = |index, path| matcher.params(index, path).collect::<Vec<_>>();
    assert_eq!(params(0, "/v1/m%201/x/a/b"), [("merchant", "m%201"), ("tail", "a/b")]);
    assert_eq!(params(0, "/v1/m/x/"), [("merchant", "m"), ("tail", "")]);
    assert_eq!(params(1, "/"), []);
    assert_eq!(params(9, "/"), []);
}

#[test]
fn explain_says_why_each_route_lost() {
    let mut other = rule(&[], "", "/a");
    other.listener = Some(1);
    let versioned = Rule { name: "v2".into(), headers: pairs(&[("x-api-version", "2")]), ..rule(&[], "", "/a") };
    let asking = Rule { name: "q".into(), query: pairs(&[("q", "*")]), ..rule(&[], "", "/a") };
    let rules = [
        rule(&[], "", ""),
        rule(&[], "", "/a"),
        rule(&["POST"], "", "/a"),
        rule(&[], "", "/b"),
        rule(&[], "b.example", ""),
        versioned,
        asking,
        other,
    ];
    let asked = ask("GET", "a.example", "/a");
    let told: Vec<String> =
        Matcher::new(&rules).unwrap().explain(&asked.request()).into_iter().map(|v| v.why).collect();
    assert_eq!(
        told,
        [
            "listener differs",
            "host differs",
            "method: expected POST, got GET",
            "header x-api-version: expected \"2\", got nothing",
            "query q: expected some value, got nothing",
            "won",
            "path differs",
            "less specific than /a",
        ]
    );
}

#[test]
fn what_cannot_be_matched_is_told_at_once() {
    let wrong = [
        rule(&[], "", "a"),
        rule(&[], "", "/a b"),
        rule(&[], "", "/{*r}/a"),
        rule(&[], "", "/{a}/{a}"),
        rule(&[], "", "/x{a}"),
        rule(&[], "", "/{}"),
        rule(&[], "", "/a?b"),
        rule(&["get"], "", ""),
        rule(&["G T"], "", ""),
        rule(&["GET", "GET"], "", ""),
        rule(&[], "a:80", ""),
        rule(&[], "*.", ""),
        rule(&[], "a.*", ""),
        Rule { headers: pairs(&[("a b", "*")]), ..Rule::default() },
        Rule { headers: pairs(&[("a", "*"), ("A", "1")]), ..Rule::default() },
        Rule { query: pairs(&[("a=b", "*")]), ..Rule::default() },
    ];
    let errors = Matcher::new(&wrong).unwrap_err();
    let told =
        |i: usize| errors.iter().filter(|e| matches!(e, RuleError::Malformed { index, .. } if *index == i)).count();
    for (i, rule) in wrong.iter().enumerate() {
        assert_eq!(told(i), 1, "{rule:?}");
    }
}

#[test]
fn two_rules_that_stand_equal_are_an_error() {
    let ambiguous = |a: Rule, b: Rule| {
        matches!(Matcher::new(&[a, b]).map_err(|e| e[0].clone()), Err(RuleError::Ambiguous { index: 1, .. }))
    };
    let with = |headers: &[(&str, &str)]| Rule { headers: pairs(headers), ..rule(&[], "", "/a") };
    assert!(ambiguous(rule(&[], "", "/a"), rule(&[], "", "/a")));
    assert!(ambiguous(rule(&[], "", "/{a}"), rule(&[], "", "/{b}")));
    assert!(ambiguous(rule(&[], "A.b", "/{a}"), rule(&[], "a.b", "/{b}")));
    assert!(ambiguous(rule(&["GET", "POST"], "", "/a"), rule(&["POST"], "", "/a")));
    assert!(ambiguous(with(&[("a", "1")]), with(&[("b", "1")])));
    assert!(ambiguous(with(&[("a", "1")]), with(&[("a", "*")])));
    assert!(!ambiguous(with(&[("a", "1")]), with(&[("a", "2")])));
    assert!(!ambiguous(rule(&["GET"], "", "/a"), rule(&["HEAD"], "", "/a")));
    assert!(!ambiguous(rule(&["GET"], "", "/a"), rule(&[], "", "/a")));
}

#[test]
fn a_host_is_what_stands_before_the_port() {
    for (authority, host) in
        [("a", "a"), ("a:80", "a"), ("a:", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("", "")]
    {
        assert_eq!(host_without_port(authority), host);
    }
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let segment = prop::sample::select(vec!["a", "b", "", "{p}"]);
    let path = (prop::collection::vec(segment, 1..4), prop::sample::select(vec!["", "/{*r}"]));
    let path = prop::option::weighted(
        0.9,
        path.prop_map(|(s, rest)| {
            // Parameter names have to differ within a path.
            let named: Vec<String> =
                s.iter().enumerate().map(|(i, s)| s.replace("{p}", &format!("{{p{i}}}"))).collect();
            format!("/{}{rest}", named.join("/"))
        }),
    );
    let host = prop::sample::select(vec!["", "", "x.y.z", "*.y.z", "*.z"]);
    let methods = prop::sample::subsequence(vec!["GET", "POST", "HEAD"], 0..2);
    let values = || prop::sample::select(vec!["1", "2", "*"]);
    let headers = prop::option::weighted(0.3, values().prop_map(|v| pairs(&[("h", v)])));
    let query = prop::option::weighted(0.3, values().prop_map(|v| pairs(&[("q", v)])));
    (prop::option::of(0usize..2), host, path, methods, headers, query).prop_map(
        |(listener, host, path, methods, headers, query)| Rule {
            listener,
            headers: headers.unwrap_or_default(),
            query: query.unwrap_or_default(),
            ..rule(&methods, host, &path.unwrap_or_default())
        },
    )
}

fn any_request() -> impl Strategy<Value = Asked> {
    let path = prop::collection::vec(prop::sample::select(vec!["a", "b", "", "c"]), 1..5)
        .prop_map(|s| format!("/{}", s.join("/")));
    let value = || prop::option::of(prop::sample::select(vec!["1", "2", "3"]));
    let host = prop::sample::select(vec!["x.y.z", "w.y.z", "w.z", "z", "X.Y.Z."]);
    let method = prop::sample::select(vec!["GET", "POST", "HEAD", "PUT"]);
    (0usize..3, host, path, method, value(), value()).prop_map(|(listener, host, path, method, header, query)| {
        let target = query.map_or(path.clone(), |q| format!("{path}?q={q}"));
        let asked = Asked { listener, ..ask(method, host, &target) };
        header.map_or(asked.clone(), |value| asked.header("h", value))
    })
}

/// Rules of which no two are ambiguous.
fn rules() -> impl Strategy<Value = Vec<Rule>> {
    prop::collection::vec(any_rule(), 0..12).prop_map(|rules| {
        let mut kept = Vec::new();
        for (i, mut rule) in rules.into_iter().enumerate() {
            rule.name = format!("r{i}");
            kept.push(rule);
            if Matcher::new(&kept).is_err() {
                kept.pop();
            }
        }
        kept
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn the_tree_finds_what_a_linear_search_finds(rules in rules(), asked in any_request()) {
        let matcher = Matcher::new(&rules).unwrap();
        let linear = matcher.explain(&asked.request()).into_iter().find(|v| v.won).map(|v| v.index);
        match matcher.find(&asked.request()) {
            Found::Route(index) => prop_assert_eq!(Some(index), linear),
            _ => prop_assert_eq!(None, linear),
        }
    }

    #[test]
    fn the_order_of_the_file_does_not_matter((rules, shuffled) in rules().prop_flat_map(|r| (Just(r.clone()), Just(r).prop_shuffle())), asked in any_request()) {
        prop_assert_eq!(winner(&rules, &asked), winner(&shuffled, &asked));
    }

    #[test]
    fn any_path_is_judged(rules in rules(), path in ".{0,20}", host in ".{0,10}") {
        let asked = Asked { path, host: Some(host), ..ask("GET", "", "/") };
        winner(&rules, &asked);
    }
}
