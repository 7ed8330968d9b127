//! The endpoints of payments: create, get, list, refund.

use std::time::Duration;

use rusqlite::{OptionalExtension, Row, params};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Problem};
use super::db::Pool;

/// The body of POST /v1/payments. An amount is a whole number of the currency's smallest unit, never a float.
#[derive(Deserialize)]
struct Create {
    amount: i64,
    currency: String,
    merchant_id: String,
    payment_method: Method,
}

#[derive(Deserialize)]
struct Method {
    #[serde(rename = "type")]
    kind: String,
    brand: String,
    last4: String,
}

/// The body of POST /v1/payments/{id}/refund. Without an amount: all that is left.
#[derive(Default, Deserialize)]
struct Refund {
    amount: Option<i64>,
}

const COLUMNS: &str = "id, merchant_id, amount, currency, status, refunded, type, brand, last4, created_at, version";

fn payment(row: &Row<'_>) -> rusqlite::Result<Value> {
    Ok(json!({
        "object": "payment",
        "id": row.get::<_, String>(0)?,
        "merchant_id": row.get::<_, String>(1)?,
        "amount": row.get::<_, i64>(2)?,
        "currency": row.get::<_, String>(3)?,
        "status": row.get::<_, String>(4)?,
        "amount_refunded": row.get::<_, i64>(5)?,
        "payment_method": {
            "type": row.get::<_, String>(6)?, "brand": row.get::<_, String>(7)?, "last4": row.get::<_, String>(8)?,
        },
        "created_at": row.get::<_, String>(9)?,
        "version": row.get::<_, i64>(10)?,
    }))
}

/// Who moves the money: another company, asked over the network.
pub(super) struct Acquirer {
    /// How long it takes to say yes, which it always does.
    pub(super) answers_after: Duration,
}

impl Acquirer {
    async fn ask(&self) {
        tokio::time::sleep(self.answers_after).await;
    }
}

/// POST /v1/payments: the merchant and its method, two queries; the acquirer, while no connection of the database is
/// held; the payment, its event and the merchant's count of changes, three more.
pub(super) async fn create(db: &Pool, acquirer: &Acquirer, body: &[u8]) -> Result<Answer, Problem> {
    let new: Create = serde_json::from_slice(body).map_err(|e| Problem::unreadable(e.to_string()))?;
    if new.amount <= 0 {
        return Err(Problem::wrong("invalid_amount", "expected an amount above 0 in minor units"));
    }
    if new.payment_method.last4.len() != 4 || !new.payment_method.last4.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Problem::wrong("invalid_last4", "expected the last four digits"));
    }
    let mut lease = db.lease().await?;
    let id = new.merchant_id.clone();
    let merchant = lease.query(1, move |c| {
        c.prepare_cached("SELECT currencies, max_amount FROM merchants WHERE id = ?")?
            .query_row([id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))
            .optional()
    });
    let Some((currencies, max_amount)) = merchant.await? else {
        return Err(Problem::missing("merchant", &new.merchant_id));
    };
    if !currencies.split(',').any(|c| c == new.currency) {
        return Err(Problem::wrong("currency_not_supported", format!("expected one of {currencies}")));
    }
    if new.amount > max_amount {
        return Err(Problem::wrong("amount_too_large", format!("expected at most {max_amount}")));
    }
    let key = (new.merchant_id.clone(), new.payment_method.kind.clone(), new.payment_method.brand.clone());
    let taken = lease.query(1, move |c| {
        c.prepare_cached("SELECT 1 FROM methods WHERE merchant_id = ? AND type = ? AND brand = ?")?
            .exists(params![key.0, key.1, key.2])
    });
    if !taken.await? {
        return Err(Problem::wrong("payment_method_not_supported", "the merchant does not take this method"));
    }
    drop(lease);
    acquirer.ask().await;
    let id = format!("pay_{:012x}", fastrand::u64(..) & 0xffff_ffff_ffff);
    let mut lease = db.lease().await?;
    let made = lease.transaction(3, move |t| {
        let sql = format!(
            "INSERT INTO payments VALUES (?, ?, ?, ?, 'captured', 0, ?, ?, ?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'), 1)
             RETURNING {COLUMNS}"
        );
        let method = &new.payment_method;
        let mut made = t.prepare_cached(&sql)?.query_row(
            params![id, new.merchant_id, new.amount, new.currency, method.kind, method.brand, method.last4],
            payment,
        )?;
        event(t, &id, "payment.captured")?;
        made["merchant_changes"] = changed(t, &new.merchant_id)?.into();
        Ok(made)
    });
    Ok(Answer::created(made.await?))
}

/// GET /v1/payments/{id}: the payment, its refunds: two queries. Another merchant's payment is not found.
pub(super) async fn get(db: &Pool, id: &str, asking: Option<&str>) -> Result<Answer, Problem> {
    let mut db = db.lease().await?;
    let (key, asking) = (id.to_owned(), asking.map(str::to_owned));
    let found = db.query(1, move |c| {
        let sql = format!("SELECT {COLUMNS} FROM payments WHERE id = ?1 AND merchant_id = ifnull(?2, merchant_id)");
        c.prepare_cached(&sql)?.query_row(params![key, asking], payment).optional()
    });
    let Some(mut found) = found.await? else { return Err(Problem::missing("payment", id)) };
    let key = id.to_owned();
    let refunds = db.query(1, move |c| {
        c.prepare_cached("SELECT id, amount, created_at FROM refunds WHERE payment_id = ? ORDER BY created_at, id")?
            .query_map([key], |row| {
                Ok(json!({
                    "id": row.get::<_, String>(0)?,
                    "amount": row.get::<_, i64>(1)?,
                    "created_at": row.get::<_, String>(2)?,
                }))
            })?
            .collect::<rusqlite::Result<Vec<_>>>()
    });
    found["refunds"] = refunds.await?.into();
    Ok(Answer::ok(found))
}

/// GET /v1/payments?merchant_id=&limit=: the merchant, how many there are, the newest: three queries. Without
/// merchant_id it is the merchant who asks, so that the same URL has another answer for each.
pub(super) async fn list(db: &Pool, query: Option<&str>, asking: Option<&str>) -> Result<Answer, Problem> {
    let (merchant, limit) = list_query(query.unwrap_or_default(), asking)?;
    let mut db = db.lease().await?;
    let key = merchant.clone();
    // Read before the rows: what is said here is never newer than they are.
    let changes = db.query(1, move |c| {
        c.prepare_cached("SELECT changes FROM merchants WHERE id = ?")?
            .query_row([key], |row| row.get::<_, i64>(0))
            .optional()
    });
    let Some(changes) = changes.await? else { return Err(Problem::missing("merchant", &merchant)) };
    let key = merchant.clone();
    let total = db.query(1, move |c| {
        c.prepare_cached("SELECT count(*) FROM payments WHERE merchant_id = ?")?
            .query_row([key], |row| row.get::<_, i64>(0))
    });
    let total = total.await?;
    let key = merchant.clone();
    let newest = db.query(1, move |c| {
        let sql =
            format!("SELECT {COLUMNS} FROM payments WHERE merchant_id = ? ORDER BY created_at DESC, id DESC LIMIT ?");
        c.prepare_cached(&sql)?.query_map(params![key, limit], payment)?.collect::<rusqlite::Result<Vec<_>>>()
    });
    Ok(Answer::ok(json!({
        "object": "list",
        "merchant_id": merchant,
        "merchant_changes": changes,
        "total": total,
        "has_more": total > limit,
        "data": newest.await?,
    })))
}

fn list_query(query: &str, asking: Option<&str>) -> Result<(String, i64), Problem> {
    let (mut merchant, mut limit) = (asking.map(str::to_owned), 20);
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("merchant_id", id) => merchant = Some(id.to_owned()),
            ("limit", n) => {
                limit = n
                    .parse()
                    .ok()
                    .filter(|n| (1..=100).contains(n))
                    .ok_or_else(|| Problem::unreadable(format!("expected a limit between 1 and 100, got {n:?}")))?;
            }
            _ => {}
        }
    }
    let merchant = merchant.filter(|m| !m.is_empty());
    Ok((
        merchant
            .ok_or_else(|| Problem::unreadable("expected merchant_id in the query, or the header x-merchant-id"))?,
        limit,
    ))
}

/// POST /v1/payments/{id}/refund: the payment, one query; the acquirer; then what changes it, four more.
pub(super) async fn refund(db: &Pool, acquirer: &Acquirer, id: &str, body: &[u8]) -> Result<Answer, Problem> {
    let asked: Refund = if body.is_empty() {
        Refund::default()
    } else {
        serde_json::from_slice(body).map_err(|e| Problem::unreadable(e.to_string()))?
    };
    if asked.amount.is_some_and(|a| a <= 0) {
        return Err(Problem::wrong("invalid_amount", "expected an amount above 0 in minor units"));
    }
    let mut lease = db.lease().await?;
    let key = id.to_owned();
    let found = lease.query(1, move |c| {
        c.prepare_cached("SELECT status, amount - refunded FROM payments WHERE id = ?")?
            .query_row([key], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))
            .optional()
    });
    let Some((status, left)) = found.await? else { return Err(Problem::missing("payment", id)) };
    if status != "captured" && status != "partially_refunded" {
        return Err(Problem::conflict("not_refundable", format!("the payment is {status}")));
    }
    let amount = asked.amount.unwrap_or(left);
    if amount > left {
        return Err(Problem::wrong("amount_too_large", format!("expected at most {left}, which is left")));
    }
    drop(lease);
    acquirer.ask().await;
    let (key, refund) = (id.to_owned(), format!("ref_{:012x}", fastrand::u64(..) & 0xffff_ffff_ffff));
    let mut lease = db.lease().await?;
    let made = lease.transaction(4, move |t| {
        // The condition is checked again here: another refund may have come in between.
        let sql = format!(
            "UPDATE payments SET refunded = refunded + ?1, version = version + 1,
               status = CASE WHEN refunded + ?1 = amount THEN 'refunded' ELSE 'partially_refunded' END
             WHERE id = ?2 AND refunded + ?1 <= amount AND status IN ('captured', 'partially_refunded')
             RETURNING {COLUMNS}"
        );
        let Some(payment) = t.prepare_cached(&sql)?.query_row(params![amount, key], payment).optional()? else {
            return Ok(None);
        };
        t.prepare_cached("INSERT INTO refunds VALUES (?, ?, ?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))")?
            .execute(params![refund, key, amount])?;
        event(t, &key, "payment.refunded")?;
        let changes = changed(t, payment["merchant_id"].as_str().unwrap_or_default())?;
        let made = json!({ "object": "refund", "id": refund, "amount": amount, "payment": payment,
            "merchant_changes": changes });
        Ok(Some(made))
    });
    match made.await? {
        Some(made) => Ok(Answer::created(made)),
        None => Err(Problem::conflict("not_refundable", "another refund came first")),
    }
}

fn event(t: &rusqlite::Connection, payment: &str, kind: &str) -> rusqlite::Result<usize> {
    t.prepare_cached("INSERT INTO events VALUES (?, ?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))")?
        .execute(params![payment, kind])
}

/// Counts a change of what a merchant's list shows, and says how many there were.
fn changed(t: &rusqlite::Connection, merchant: &str) -> rusqlite::Result<i64> {
    t.prepare_cached("UPDATE merchants SET changes = changes + 1 WHERE id = ? RETURNING changes")?
        .query_row([merchant], |row| row.get(0))
}
