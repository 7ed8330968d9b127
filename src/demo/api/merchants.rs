//! The endpoints of merchants: configuration, payment methods.

use rusqlite::OptionalExtension;
use serde_json::{Value, json};

use super::answer::{Answer, Problem};
use super::db::Pool;

fn words(list: &str) -> Vec<Value> {
    list.split(',').map(Value::from).collect()
}

/// GET /v1/merchants/{id}/config: the merchant, its fees, its methods, its webhooks: four queries.
pub(super) async fn config(db: &Pool, id: &str) -> Result<Answer, Problem> {
    let mut db = db.lease().await?;
    let key = id.to_owned();
    let merchant = db.query(move |c| {
        c.prepare_cached("SELECT id, name, country, currencies, max_amount, created_at FROM merchants WHERE id = ?")?
            .query_row([key], |row| {
                Ok(json!({
                    "object": "merchant_config",
                    "merchant_id": row.get::<_, String>(0)?,
                    "name": row.get::<_, String>(1)?,
                    "country": row.get::<_, String>(2)?,
                    "currencies": words(&row.get::<_, String>(3)?),
                    "max_amount": row.get::<_, i64>(4)?,
                    "created_at": row.get::<_, String>(5)?,
                }))
            })
            .optional()
    });
    let Some(mut found) = merchant.await? else { return Err(Problem::missing("merchant", id)) };
    let key = id.to_owned();
    let fees = db.query(move |c| {
        c.prepare_cached("SELECT method, fixed, basis_points FROM fees WHERE merchant_id = ? ORDER BY method")?
            .query_map([key], |row| {
                Ok(json!({
                    "method": row.get::<_, String>(0)?,
                    "fixed": row.get::<_, i64>(1)?,
                    "basis_points": row.get::<_, i64>(2)?,
                }))
            })?
            .collect::<rusqlite::Result<Vec<_>>>()
    });
    found["fees"] = fees.await?.into();
    let key = id.to_owned();
    let methods = db.query(move |c| methods_of(c, &key));
    found["payment_methods"] = methods.await?.into();
    let key = id.to_owned();
    let hooks = db.query(move |c| {
        c.prepare_cached("SELECT url, events FROM webhooks WHERE merchant_id = ? ORDER BY url")?
            .query_map([key], |row| {
                Ok(json!({ "url": row.get::<_, String>(0)?, "events": words(&row.get::<_, String>(1)?) }))
            })?
            .collect::<rusqlite::Result<Vec<_>>>()
    });
    found["webhooks"] = hooks.await?.into();
    Ok(Answer::ok(found))
}

/// GET /v1/merchants/{id}/payment-methods: one query; every merchant has some.
pub(super) async fn payment_methods(db: &Pool, id: &str) -> Result<Answer, Problem> {
    let mut db = db.lease().await?;
    let key = id.to_owned();
    let methods = db.query(move |c| methods_of(c, &key)).await?;
    if methods.is_empty() {
        return Err(Problem::missing("merchant", id));
    }
    Ok(Answer::ok(json!({ "object": "list", "merchant_id": id, "data": methods })))
}

fn methods_of(c: &rusqlite::Connection, merchant: &str) -> rusqlite::Result<Vec<Value>> {
    c.prepare_cached(
        "SELECT type, brand, min_amount, max_amount FROM methods WHERE merchant_id = ? ORDER BY type, brand",
    )?
    .query_map([merchant], |row| {
        Ok(json!({
            "type": row.get::<_, String>(0)?,
            "brand": row.get::<_, String>(1)?,
            "min_amount": row.get::<_, i64>(2)?,
            "max_amount": row.get::<_, i64>(3)?,
        }))
    })?
    .collect()
}
