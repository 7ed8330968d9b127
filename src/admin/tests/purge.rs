//! Stored answers that are ended by hand.

use super::*;

#[tokio::test]
async fn a_purge_is_ordered_by_one_name() {
    let running = start(false).await;
    let client = running.client(Some(TOKEN));
    let answer = client.post("/cache/purge", &json!({ "tag": "payments:mer_1" })).await.unwrap();
    let done = json!({ "purged": { "tag": "payments:mer_1" }, "soft": false });
    assert_eq!((answer.status.as_u16(), answer.json()), (200, done));
    for body in [
        json!({ "url": "http://a.test/v1?x=1", "soft": true }),
        json!({ "prefix": "/v1/", "soft": false }),
        json!({ "all": true }),
    ] {
        assert_eq!(client.post("/cache/purge", &body).await.unwrap().status, 200, "{body}");
    }
    let answer = client.post("/cache/purge", &json!({ "route": "none" })).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.json()["detail"]), (404, &json!("no such")));
    assert_eq!(
        running.calls(),
        [
            "purge tag payments:mer_1",
            "purge soft url http://a.test/v1?x=1",
            "purge prefix /v1/",
            "purge all",
            "purge route none"
        ]
    );
}

#[tokio::test]
async fn what_is_no_order_purges_nothing_and_is_told_what_was_expected() {
    let running = start(false).await;
    let client = running.client(Some(TOKEN));
    for (body, told) in [
        (json!({}), "expected exactly one of url, prefix, tag, route and all: true, got none"),
        (
            json!({ "tag": "a", "route": "b" }),
            "expected exactly one of url, prefix, tag, route and all: true, got tag, route",
        ),
        (json!({ "tag": "" }), "tag: expected a text that is not empty"),
        (
            json!({ "prefix": "v1" }),
            "prefix: expected the start of a path, from its / on and as it is requested, got v1",
        ),
        (json!(["/v1"]), "expected an object, got a list"),
    ] {
        let answer = client.post("/cache/purge", &body).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.json()["detail"]), (400, &json!(told)), "{body}");
    }
    let answer = client.post("/cache/purge", &json!({ "tga": "a" })).await.unwrap();
    assert_eq!(answer.status, 400);
    assert!(answer.json()["detail"].as_str().unwrap().starts_with("unknown field `tga`, expected one of `url`"));
    let bare = format!("host: {}\r\nauthorization: Bearer {TOKEN}\r\n", running.address);
    let answer = running.with("POST /cache/purge", &bare).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("got none"), "{answer}");
    assert_eq!(client.get("/cache/purge").await.unwrap().status, 405);
    assert!(running.calls().is_empty());
}
