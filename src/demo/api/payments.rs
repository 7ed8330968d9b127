//! The endpoints of payments: create, get, list, refund.

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

const COLUMNS: &str = "id, merchant_id, amount, currency, status, refunded, type, brand, last4, created_at";

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
    }))
}

/// POST /v1/payments: the merchant, its method, the payment, its event: four queries.
pub(super) async fn create(db: &Pool, body: &[u8]) -> Result<Answer, Problem> {
    let new: Create = serde_json::from_slice(body).map_err(|e| Problem::unreadable(e.to_string()))?;
    if new.amount <= 0 {
        return Err(Problem::wrong("invalid_amount", "expected an amount above 0 in minor units"));
    }
    if new.payment_method.last4.len() != 4 || !new.payment_method.last4.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Problem::wrong("invalid_last4", "expected the last four digits"));
    }
    let mut db = db.lease().await?;
    let id = new.merchant_id.clone();
    let merchant = db.query(move |c| {
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
    let taken = db.query(move |c| {
        c.prepare_cached("SELECT 1 FROM methods WHERE merchant_id = ? AND type = ? AND brand = ?")?
            .exists(params![key.0, key.1, key.2])
    });
    if !taken.await? {
        return Err(Problem::wrong("payment_method_not_supported", "the merchant does not take this method"));
    }
    let id = format!("pay_{:012x}", fastrand::u64(..) & 0xffff_ffff_ffff);
    let made = db.transaction(2, move |t| {
        let sql = format!(
            "INSERT INTO payments VALUES (?, ?, ?, ?, 'captured', 0, ?, ?, ?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
             RETURNING {COLUMNS}"
        );
        let method = &new.payment_method;
        let made = t.prepare_cached(&sql)?.query_row(
            params![id, new.merchant_id, new.amount, new.currency, method.kind, method.brand, method.last4],
            payment,
        )?;
        event(t, &id, "payment.captured")?;
        Ok(made)
    });
    Ok(Answer::created(made.await?))
}

/// GET /v1/payments/{id}: the payment, its refunds: two queries.
pub(super) async fn get(db: &Pool, id: &str) -> Result<Answer, Problem> {
    let mut db = db.lease().await?;
    let key = id.to_owned();
    let found = db.query(move |c| {
        c.prepare_cached(&format!("SELECT {COLUMNS} FROM payments WHERE id = ?"))?.query_row([key], payment).optional()
    });
    let Some(mut found) = found.await? else { return Err(Problem::missing("payment", id)) };
    let key = id.to_owned();
    let refunds = db.query(move |c| {
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

/// GET /v1/payments?merchant_id=&limit=: the merchant, how many there are, the newest: three queries.
pub(super) async fn list(db: &Pool, query: Option<&str>) -> Result<Answer, Problem> {
    let (merchant, limit) = list_query(query.unwrap_or_default())?;
    let mut db = db.lease().await?;
    let key = merchant.clone();
    let known = db.query(move |c| c.prepare_cached("SELECT 1 FROM merchants WHERE id = ?")?.exists([key]));
    if !known.await? {
        return Err(Problem::missing("merchant", &merchant));
    }
    let key = merchant.clone();
    let total = db.query(move |c| {
        c.prepare_cached("SELECT count(*) FROM payments WHERE merchant_id = ?")?
            .query_row([key], |row| row.get::<_, i64>(0))
    });
    let total = total.await?;
    let key = merchant.clone();
    let newest = db.query(move |c| {
        let sql =
            format!("SELECT {COLUMNS} FROM payments WHERE merchant_id = ? ORDER BY created_at DESC, id DESC LIMIT ?");
        c.prepare_cached(&sql)?.query_map(params![key, limit], payment)?.collect::<rusqlite::Result<Vec<_>>>()
    });
    Ok(Answer::ok(json!({
        "object": "list", "merchant_id": merchant, "total": total, "has_more": total > limit, "data": newest.await?,
    })))
}

fn list_query(query: &str) -> Result<(String, i64), Problem> {
    let (mut merchant, mut limit) = (None, 20);
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
    Ok((merchant.ok_or_else(|| Problem::unreadable("expected merchant_id in the query"))?, limit))
}

/// POST /v1/payments/{id}/refund: the payment, then what changes it: four queries.
pub(super) async fn refund(db: &Pool, id: &str, body: &[u8]) -> Result<Answer, Problem> {
    let asked: Refund = if body.is_empty() {
        Refund::default()
    } else {
        serde_json::from_slice(body).map_err(|e| Problem::unreadable(e.to_string()))?
    };
    if asked.amount.is_some_and(|a| a <= 0) {
        return Err(Problem::wrong("invalid_amount", "expected an amount above 0 in minor units"));
    }
    let mut db = db.lease().await?;
    let key = id.to_owned();
    let found = db.query(move |c| {
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
    let (key, refund) = (id.to_owned(), format!("ref_{:012x}", fastrand::u64(..) & 0xffff_ffff_ffff));
    let made = db.transaction(3, move |t| {
        // The condition is checked again here: another refund may have come in between.
        let sql = format!(
            "UPDATE payments SET refunded = refunded + ?1,
               status = CASE WHEN refunded + ?1 = amount THEN 'refunded' ELSE 'partially_refunded' END
             WHERE id = ?2 AND refunded + ?1 <= amount AND status IN ('captured', 'partially_refunded')
             RETURNING {COLUMNS}"
        );
        let Some(changed) = t.prepare_cached(&sql)?.query_row(params![amount, key], payment).optional()? else {
            return Ok(None);
        };
        t.prepare_cached("INSERT INTO refunds VALUES (?, ?, ?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))")?
            .execute(params![refund, key, amount])?;
        event(t, &key, "payment.refunded")?;
        Ok(Some(json!({ "object": "refund", "id": refund, "amount": amount, "payment": changed })))
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
