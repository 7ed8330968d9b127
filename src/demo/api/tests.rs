use super::*;
use crate::demo::client::Client;
use serde_json::Value;

async fn api() -> Api {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Api::serve(listener, Duration::from_millis(1), 7).await.unwrap()
}

async fn call(api: &Api, method: &str, path: &str, body: &str) -> (u16, Value) {
    let request =
        Request::builder().method(method).uri(path).header("host", "api").body(Full::from(body.to_owned())).unwrap();
    let answered = Client::new(api.address(), Arc::default()).send(&request).await.unwrap();
    (answered.status.as_u16(), serde_json::from_slice(&answered.body).unwrap())
}

fn payment(change: impl FnOnce(&mut Value)) -> String {
    let mut body = json!({
        "amount": 1999, "currency": "EUR", "merchant_id": "mer_0001",
        "payment_method": { "type": "card", "brand": "visa", "last4": "4242" },
    });
    change(&mut body);
    body.to_string()
}

#[tokio::test]
async fn a_payment_is_made_read_listed_and_refunded() {
    let api = api().await;
    let (status, made) = call(&api, "POST", "/v1/payments", &payment(|_| {})).await;
    assert_eq!((status, &made["amount"], &made["status"]), (201, &json!(1999), &json!("captured")));
    let id = made["id"].as_str().unwrap();

    let (status, listed) = call(&api, "GET", "/v1/payments?merchant_id=mer_0001&limit=1", "").await;
    assert_eq!((status, &listed["data"][0]["id"]), (200, &made["id"]), "the newest comes first");

    let refund = format!("/v1/payments/{id}/refund");
    let (status, part) = call(&api, "POST", &refund, r#"{"amount":999}"#).await;
    assert_eq!((status, &part["payment"]["status"]), (201, &json!("partially_refunded")));
    assert_eq!(call(&api, "POST", &refund, r#"{"amount":1001}"#).await.0, 422, "more than is left");
    let (status, rest) = call(&api, "POST", &refund, "").await;
    assert_eq!((status, &rest["amount"], &rest["payment"]["status"]), (201, &json!(1000), &json!("refunded")));
    assert_eq!(call(&api, "POST", &refund, "").await.0, 409, "nothing is left");

    let (status, read) = call(&api, "GET", &format!("/v1/payments/{id}"), "").await;
    assert_eq!((status, read["refunds"].as_array().unwrap().len()), (200, 2));
}

#[tokio::test]
async fn two_refunds_at_once_give_back_no_more_than_was_paid() {
    let api = api().await;
    let (_, made) = call(&api, "POST", "/v1/payments", &payment(|_| {})).await;
    let path = format!("/v1/payments/{}/refund", made["id"].as_str().unwrap());
    let body = r#"{"amount":1500}"#;
    let both = tokio::join!(call(&api, "POST", &path, body), call(&api, "POST", &path, body));
    let mut statuses = [both.0.0, both.1.0];
    statuses.sort_unstable();
    assert!(statuses == [201, 409] || statuses == [201, 422], "{statuses:?}");
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_status() {
    let api = api().await;
    let bodies = [
        (400, "{".to_string()),
        (400, payment(|b| b["amount"] = json!(19.99))),
        (400, payment(|b| b["amount"] = json!("1999"))),
        (400, payment(|b| _ = b.as_object_mut().unwrap().remove("currency"))),
        (404, payment(|b| b["merchant_id"] = json!("mer_9999"))),
        (422, payment(|b| b["amount"] = json!(0))),
        (422, payment(|b| b["amount"] = json!(1_000_001))),
        (422, payment(|b| b["currency"] = json!("XXX"))),
        (422, payment(|b| b["payment_method"]["last4"] = json!("42424"))),
        (422, payment(|b| b["payment_method"]["brand"] = json!("diners"))),
        (413, payment(|b| b["currency"] = json!("x".repeat(MAX_BODY)))),
    ];
    for (expected, body) in bodies {
        let (status, answer) = call(&api, "POST", "/v1/payments", &body).await;
        assert_eq!(status, expected, "{body:.120}: {answer}");
        assert!(answer["error"]["code"].is_string() && answer["error"]["message"].is_string());
    }
    for (expected, method, path) in [
        (200, "GET", "/healthz"),
        (200, "GET", "/v1/payments/pay_000001"),
        (200, "GET", "/v1/merchants/mer_0200/config"),
        (200, "GET", "/v1/merchants/mer_0200/payment-methods"),
        (404, "GET", "/v1/payments/pay_999999"),
        (404, "GET", "/v1/merchants/mer_0201/config"),
        (404, "GET", "/v1/merchants/mer_0201/payment-methods"),
        (404, "GET", "/v1/payments?merchant_id=mer_0201"),
        (404, "GET", "/v2"),
        (404, "POST", "/v1/payments/pay_999999/refund"),
        (400, "GET", "/v1/payments"),
        (200, "GET", "/v1/payments?merchant_id=mer_0200"),
        (400, "GET", "/v1/payments?merchant_id=mer_0001&limit=0"),
        (400, "GET", "/v1/payments?merchant_id=mer_0001&limit=101"),
        (405, "DELETE", "/v1/payments/pay_000001"),
        (405, "GET", "/v1/payments/pay_000001/refund"),
    ] {
        assert_eq!(call(&api, method, path, "").await.0, expected, "{method} {path}");
    }
}

#[tokio::test]
async fn queries_and_requests_are_counted_and_a_reset_undoes_the_rows() {
    let api = api().await;
    let path = "/v1/payments?merchant_id=mer_0001&limit=100";
    let (_, before) = call(&api, "GET", path, "").await;
    assert_eq!(api.counters().queries, 3);
    call(&api, "POST", "/v1/payments", &payment(|_| {})).await;
    let counters = api.counters();
    assert_eq!(counters.queries, 8);
    assert_eq!(
        counters.requests[..3],
        [(Endpoint::CreatePayment, 1), (Endpoint::GetPayment, 0), (Endpoint::ListPayments, 1)]
    );
    assert_ne!(call(&api, "GET", path, "").await.1, before);
    api.reset().await.unwrap();
    assert_eq!(call(&api, "GET", path, "").await.1, before);
}

#[tokio::test]
async fn ten_queries_run_at_once_and_the_eleventh_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = Api::serve(listener, Duration::from_millis(100), 7).await.unwrap();
    let began = tokio::time::Instant::now();
    let mut calls = JoinSet::new();
    let address = api.address();
    for _ in 0..=db::CONNECTIONS {
        calls.spawn(async move {
            let request = Request::get("/v1/merchants/mer_0001/payment-methods").header("host", "api");
            Client::new(address, Arc::default()).send(&request.body(Full::default()).unwrap()).await.unwrap().status
        });
    }
    while let Some(status) = calls.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_stopped_api_leaves_nothing_behind() {
    let api = api().await;
    let folder = api.state.db.folder().to_owned();
    assert_eq!(call(&api, "GET", "/v1/payments/pay_000001", "").await.0, 200);
    assert!(folder.join("payments.db").exists());
    api.stop().await.unwrap();
    assert!(!folder.exists());
}
