//! Breakers that are told something, and policies that are switched.

use super::*;

#[tokio::test]
async fn a_breaker_is_told_by_its_scope() {
    let running = start(false).await;
    let client = running.client(Some(TOKEN));
    let answer = client.post("/breakers/upstream:app/open", &json!({})).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({ "state": "open" })));
    assert_eq!(client.post("/breakers/upstream:none/open", &json!({})).await.unwrap().status, 404);
    for (path, body, status) in [
        ("/breakers/upstream:app", json!({}), 404),
        ("/breakers/upstream:app/open/now", json!({}), 404),
        ("/breakers/upstream:app/open", json!({ "for": "1m" }), 400),
    ] {
        assert_eq!(client.post(path, &body).await.unwrap().status, status, "{path}");
    }
    assert_eq!(client.get("/breakers/upstream:app/open").await.unwrap().status, 405);
    assert_eq!(running.calls(), ["breaker upstream:app open", "breaker upstream:none open"]);
}

#[tokio::test]
async fn a_policy_is_switched_for_a_time() {
    let running = start(false).await;
    let client = running.client(Some(TOKEN));
    let answer = client.post("/policies/pay/rate_limits/off", &json!({ "for": "15m" })).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({ "switch": "off" })));
    assert_eq!(client.post("/policies/pay/retry/observe", &json!({})).await.unwrap().status, 422);
    for (path, body, status) in [
        ("/policies/pay/retry", json!({}), 404),
        ("/policies/pay/retry/off", json!({ "for": "soon" }), 400),
        ("/policies/pay/retry/off", json!({ "fro": "1m" }), 400),
    ] {
        assert_eq!(client.post(path, &body).await.unwrap().status, status, "{path} {body}");
    }
    assert_eq!(running.calls(), ["policy pay rate_limits off Some(900s)", "policy pay retry observe None"]);
}
