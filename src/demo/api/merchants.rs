//! The endpoints of merchants: configuration, payment methods.

use rusqlite::OptionalExtension;
use serde_json::{Value, json};

use super::answer::{Answer, Problem};
use super::db::Pool;

fn words(list: &str) -> Vec<Value> {
    list.split(',').map(Value::from).collect()
}

/// GET /v1/merchants/{id}/config: the merchant, its fees, its routing rules, its webhooks: four queries, of which the
/// first finds a row by its key and the others stand for joins over tables that grew for years.
pub(super) async fn config(db: &Pool, id: &str) -> Result<Answer, Problem> {
    let mut db = db.lease().await?;
    let key = id.to_owned();
    let merchant = db.query(1, move |c| {
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
    let fees = db.query(8, move |c| {
        let sql = "SELECT method, region, fixed, basis_points FROM fees WHERE merchant_id = ? ORDER BY method, region";
        c.prepare_cached(sql)?
            .query_map([key], |row| {
                Ok(json!({
                    "method": row.get::<_, String>(0)?,
                    "region": row.get::<_, String>(1)?,
                    "fixed": row.get::<_, i64>(2)?,
                    "basis_points": row.get::<_, i64>(3)?,
                }))
            })?
            .collect::<rusqlite::Result<Vec<_>>>()
    });
    found["fees"] = fees.await?.into();
    let key = id.to_owned();
    let rules = db.query(9, move |c| {
        c.prepare_cached(
            "SELECT priority, brand, region, min_amount, acquirer, three_ds FROM rules WHERE merchant_id = ?
             ORDER BY priority",
        )?
        .query_map([key], |row| {
            Ok(json!({
                "priority": row.get::<_, i64>(0)?,
                "when": {
                    "brand": row.get::<_, String>(1)?,
                    "region": row.get::<_, String>(2)?,
                    "min_amount": row.get::<_, i64>(3)?,
                },
                "acquirer": row.get::<_, String>(4)?,
                "three_ds": row.get::<_, String>(5)?,
            }))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()
    });
    found["routing"] = rules.await?.into();
    let key = id.to_owned();
    let hooks = db.query(3, move |c| {
        c.prepare_cached("SELECT url, events FROM webhooks WHERE merchant_id = ? ORDER BY url")?
            .query_map([key], |row| {
                Ok(json!({ "url": row.get::<_, String>(0)?, "events": words(&row.get::<_, String>(1)?) }))
            })?
            .collect::<rusqlite::Result<Vec<_>>>()
    });
    found["webhooks"] = hooks.await?.into();
    Ok(Answer::ok(found))
}

/// GET /v1/merchants/{id}/payment-methods: what it takes, and how that is called in each language: two queries, slow
/// for the same reason. Every merchant takes some.
pub(super) async fn payment_methods(db: &Pool, id: &str) -> Result<Answer, Problem> {
    let mut db = db.lease().await?;
    let key = id.to_owned();
    let methods = db.query(3, move |c| {
        c.prepare_cached(
            "SELECT type, brand, min_amount, max_amount FROM methods WHERE merchant_id = ? ORDER BY type, brand",
        )?
        .query_map([key], |row| {
            Ok(json!({
                "type": row.get::<_, String>(0)?,
                "brand": row.get::<_, String>(1)?,
                "min_amount": row.get::<_, i64>(2)?,
                "max_amount": row.get::<_, i64>(3)?,
                "labels": [],
            }))
        })?
        .collect::<rusqlite::Result<Vec<Value>>>()
    });
    let mut methods = methods.await?;
    if methods.is_empty() {
        return Err(Problem::missing("merchant", id));
    }
    let key = id.to_owned();
    let labels = db.query(10, move |c| {
        c.prepare_cached(
            "SELECT m.brand, l.locale, l.name, l.hint FROM methods m JOIN labels l ON l.brand = m.brand
             WHERE m.merchant_id = ? ORDER BY m.brand, l.locale",
        )?
        .query_map([key], |row| {
            let label = json!({
                "locale": row.get::<_, String>(1)?,
                "name": row.get::<_, String>(2)?,
                "hint": row.get::<_, String>(3)?,
            });
            Ok((row.get::<_, String>(0)?, label))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()
    });
    for (brand, label) in labels.await? {
        let method = methods.iter_mut().find(|m| m["brand"] == *brand);
        if let Some(Value::Array(labels)) = method.and_then(|m| m.get_mut("labels")) {
            labels.push(label);
        }
    }
    Ok(Answer::ok(json!({ "object": "list", "merchant_id": id, "data": methods })))
}
