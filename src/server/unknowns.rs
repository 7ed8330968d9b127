//! Requests of unknown outcome, for a person: which there are, and how they were.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::admin::{Refused, ResolveOrder, Resolved};
use crate::policy::idempotency::{Digest, Hash, State, hex, unhex};
use crate::policy::parts::Parts;
use crate::proxy::keyed::records::Records;
use crate::store::records::{Answer, Record};

/// Records that are shown at a time, and at most.
const SHOWN: usize = 100;
const MOST: usize = 1_000;

/// How many there are; or those of a state, the oldest first: `state=unknown&limit=100`.
pub(super) async fn list(records: &Records, query: Option<&str>) -> Result<Value, Refused> {
    let (mut state, mut limit) = (None, SHOWN);
    for (name, value) in query.unwrap_or("").split('&').filter_map(|pair| pair.split_once('=')) {
        match (name, value) {
            ("state", "unknown") => state = Some(State::Unknown),
            ("state", "sent") => state = Some(State::Sent),
            ("limit", value) => {
                let number = value.parse().ok().filter(|n| (1..=MOST).contains(n));
                limit = number.ok_or_else(|| Refused::Impossible(format!("limit: expected a number up to {MOST}")))?;
            }
            ("state", _) => return Err(Refused::Impossible("state: expected unknown or sent".to_owned())),
            _ => return Err(Refused::Impossible(format!("{name}: expected state or limit"))),
        }
    }
    let Some(state) = state else { return Ok(records.counts_json()) };
    let found = records.list(state, limit).await.map_err(|cause| Refused::Impossible(cause.to_string()))?;
    let shown = found.iter().map(|(store, hash, record)| show(records, store, hash, record));
    Ok(json!({ "records": shown.collect::<Vec<_>>() }))
}

/// Neither the key nor its owner stands in it, nor anything of the request or its answer.
fn show(records: &Records, store: &str, hash: &Hash, record: &Record) -> Value {
    json!({
        "hash": hex(hash),
        "store": store,
        "state": record.state.as_str(),
        "route": &*record.about.route,
        "owner": record.about.owner.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")),
        "request_id": &*record.about.request,
        "endpoint": &*record.about.endpoint,
        "sent_seconds_ago": records.seconds_since(record.sent).round(),
        "upstream_sent": record.seen.as_str(),
        "status": (record.status != 0).then_some(record.status),
    })
}

/// Says how a request of unknown outcome was. Without its confirmation: what that would do.
pub(super) async fn resolve(records: &Records, hash: &str, order: &ResolveOrder) -> Result<Value, Refused> {
    let failed = |cause: crate::store::records::StoreError| Refused::Impossible(cause.to_string());
    let none = || Refused::Unknown(format!("no record {hash}; GET /idempotency?state=unknown lists them"));
    let id = unhex(hash).ok_or_else(none)?;
    let (store, record) = records.find(&id).await.map_err(failed)?.ok_or_else(none)?;
    if record.state != State::Unknown {
        let detail = format!("the outcome of {hash} is not unknown: it is {}", record.state.as_str());
        return Err(Refused::Impossible(detail));
    }
    let code = confirmation(records, &id, &record, order);
    let effect = match (order.outcome, &order.body) {
        (Resolved::NotCharged, _) => "the next try of this key is sent to the application",
        (Resolved::Done, Some(_)) => "later tries of this key get this status and body",
        (Resolved::Done, None) => "later tries of this key are told that it was carried out (409 idempotency_not_kept)",
    };
    match &order.confirm {
        None => Ok(json!({
            "confirm": code,
            "effect": effect,
            "record": show(records, store, &id, &record),
        })),
        Some(confirm) if *confirm != code => Err(Refused::Impossible(
            "confirm: not what this order was answered with: ask again without it, and look at the record".to_owned(),
        )),
        Some(_) => {
            let answer = order.body.as_ref().map(|body| Answer {
                head: Bytes::from_static(b"Content-Type: application/json\r\n"),
                body: Bytes::from(body.clone()),
            });
            let outcome = match order.outcome {
                Resolved::Done => Some((order.status.unwrap_or(200), answer)),
                Resolved::NotCharged => None,
            };
            if !records.resolve(store, &id, &record, outcome).await.map_err(failed)? {
                return Err(Refused::Impossible(format!("the outcome of {hash} is not unknown any more")));
            }
            Ok(json!({ "resolved": hash, "as": order.outcome.as_str(), "effect": effect }))
        }
    }
}

/// What confirms an order: the same order, of the record as it was shown.
fn confirmation(records: &Records, hash: &Hash, record: &Record, order: &ResolveOrder) -> String {
    let mut digest = Digest::new("resolve");
    digest.part(hash);
    digest.part(&records.secret());
    digest.part(&record.fence.to_le_bytes());
    digest.part(order.outcome.as_str().as_bytes());
    digest.part(order.operator.as_bytes());
    digest.part(&order.status.unwrap_or(0).to_le_bytes());
    digest.part(order.body.as_deref().unwrap_or("").as_bytes());
    digest.part(&[u8::from(order.body.is_some())]);
    let mut code = hex(&digest.finish());
    code.truncate(12);
    code
}
