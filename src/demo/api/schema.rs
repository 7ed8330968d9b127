//! The tables of the sample application, and the rows it starts with.

use rusqlite::{Connection, params};

/// Merchants mer_0001 to mer_0200.
pub(in crate::demo) const MERCHANTS: u32 = 200;
/// Payments that each merchant starts with.
pub(in crate::demo) const PAYMENTS_EACH: u32 = 20;
/// Payments pay_000001 to pay_004000.
const PAYMENTS: u32 = MERCHANTS * PAYMENTS_EACH;

/// A merchant's id, from 1.
pub(in crate::demo) fn merchant_id(n: u32) -> String {
    format!("mer_{n:04}")
}

/// The id of a merchant's n-th seeded payment, both from 1.
pub(in crate::demo) fn payment_id(merchant: u32, n: u32) -> String {
    format!("pay_{:06}", merchant.saturating_sub(1) * PAYMENTS_EACH + n)
}

const TABLES: &str = "
CREATE TABLE merchants (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, country TEXT NOT NULL, currencies TEXT NOT NULL,
    max_amount INTEGER NOT NULL, created_at TEXT NOT NULL, changes INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE fees (
    merchant_id TEXT NOT NULL, method TEXT NOT NULL, region TEXT NOT NULL, fixed INTEGER NOT NULL,
    basis_points INTEGER NOT NULL, PRIMARY KEY (merchant_id, method, region)
) WITHOUT ROWID;
CREATE TABLE rules (
    merchant_id TEXT NOT NULL, priority INTEGER NOT NULL, brand TEXT NOT NULL, region TEXT NOT NULL,
    min_amount INTEGER NOT NULL, acquirer TEXT NOT NULL, three_ds TEXT NOT NULL,
    PRIMARY KEY (merchant_id, priority)
) WITHOUT ROWID;
CREATE TABLE labels (
    brand TEXT NOT NULL, locale TEXT NOT NULL, name TEXT NOT NULL, hint TEXT NOT NULL,
    PRIMARY KEY (brand, locale)
) WITHOUT ROWID;
CREATE TABLE webhooks (
    merchant_id TEXT NOT NULL, url TEXT NOT NULL, events TEXT NOT NULL,
    PRIMARY KEY (merchant_id, url)
) WITHOUT ROWID;
CREATE TABLE methods (
    merchant_id TEXT NOT NULL, type TEXT NOT NULL, brand TEXT NOT NULL,
    min_amount INTEGER NOT NULL, max_amount INTEGER NOT NULL,
    PRIMARY KEY (merchant_id, type, brand)
) WITHOUT ROWID;
CREATE TABLE payments (
    id TEXT PRIMARY KEY, merchant_id TEXT NOT NULL, amount INTEGER NOT NULL, currency TEXT NOT NULL,
    status TEXT NOT NULL, refunded INTEGER NOT NULL, type TEXT NOT NULL, brand TEXT NOT NULL, last4 TEXT NOT NULL,
    created_at TEXT NOT NULL, version INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX payments_of_merchant ON payments (merchant_id, created_at DESC, id DESC);
CREATE TABLE refunds (
    id TEXT PRIMARY KEY, payment_id TEXT NOT NULL, amount INTEGER NOT NULL, created_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX refunds_of_payment ON refunds (payment_id);
CREATE TABLE events (
    payment_id TEXT NOT NULL, kind TEXT NOT NULL, at TEXT NOT NULL
);
";

/// (country, its currency): every merchant takes EUR beside its own.
const COUNTRIES: [(&str, &str); 6] =
    [("DE", "EUR"), ("FR", "EUR"), ("GB", "GBP"), ("US", "USD"), ("CH", "CHF"), ("SE", "SEK")];
/// Every merchant takes the first two; the others vary.
const METHODS: [(&str, &str); 6] = [
    ("card", "visa"),
    ("card", "mastercard"),
    ("card", "amex"),
    ("wallet", "applepay"),
    ("wallet", "googlepay"),
    ("transfer", "sepa"),
];

const REGIONS: [&str; 4] = ["domestic", "eea", "uk", "rest"];
const ACQUIRERS: [&str; 3] = ["acq-north", "acq-south", "acq-backup"];
const RULES: u32 = 12;
/// (locale, how a method is named, what is said beside it).
const LOCALES: [(&str, &str, &str); 6] = [
    ("de-DE", "Mit {} bezahlen", "Ihre Bank kann eine Bestätigung verlangen."),
    ("en-GB", "Pay with {}", "Your bank may ask you to confirm."),
    ("es-ES", "Pagar con {}", "Su banco puede pedirle una confirmación."),
    ("fr-FR", "Payer avec {}", "Votre banque peut demander une confirmation."),
    ("it-IT", "Paga con {}", "La banca può chiedere una conferma."),
    ("sv-SE", "Betala med {}", "Banken kan be dig bekräfta."),
];

/// Makes the tables of a new database.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)
}

/// Replaces every row by what the seed says.
pub(super) fn seed(connection: &mut Connection, seed: u64) -> rusqlite::Result<()> {
    let rng = &mut fastrand::Rng::with_seed(seed);
    let t = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for table in ["events", "refunds", "payments", "methods", "labels", "rules", "webhooks", "fees", "merchants"] {
        t.execute(&format!("DELETE FROM {table}"), [])?;
    }
    for n in 1..=MERCHANTS {
        merchant(&t, n, rng)?;
    }
    for (_, brand) in METHODS {
        for (locale, name, hint) in LOCALES {
            let name = name.replace("{}", brand);
            t.prepare_cached("INSERT INTO labels VALUES (?, ?, ?, ?)")?.execute([brand, locale, &name, hint])?;
        }
    }
    for n in 1..=PAYMENTS {
        payment(&t, n, rng)?;
    }
    t.commit()
}

fn merchant(t: &Connection, n: u32, rng: &mut fastrand::Rng) -> rusqlite::Result<()> {
    let id = merchant_id(n);
    let (country, currency) = COUNTRIES[rng.usize(..COUNTRIES.len())];
    let currencies = if currency == "EUR" { currency.into() } else { format!("EUR,{currency}") };
    t.prepare_cached("INSERT INTO merchants VALUES (?, ?, ?, ?, ?, ?, 0)")?.execute(params![
        id,
        format!("Merchant {n} {country}"),
        country,
        currencies,
        1_000_000,
        moment(rng),
    ])?;
    for (index, (kind, brand)) in METHODS.into_iter().enumerate() {
        if index < 2 || rng.bool() {
            t.prepare_cached("INSERT INTO methods VALUES (?, ?, ?, ?, ?)")?
                .execute(params![id, kind, brand, 50, 1_000_000])?;
        }
    }
    for method in ["card", "wallet", "transfer"] {
        for region in REGIONS {
            let (fixed, points) = (rng.u32(5..35), rng.u32(20..290));
            t.prepare_cached("INSERT INTO fees VALUES (?, ?, ?, ?, ?)")?
                .execute(params![id, method, region, fixed, points])?;
        }
    }
    for priority in 1..=RULES {
        let (brand, region) = (METHODS[rng.usize(..METHODS.len())].1, REGIONS[rng.usize(..REGIONS.len())]);
        let acquirer = ACQUIRERS[rng.usize(..ACQUIRERS.len())];
        let three_ds = if rng.bool() { "required" } else { "on_request" };
        t.prepare_cached("INSERT INTO rules VALUES (?, ?, ?, ?, ?, ?, ?)")?.execute(params![
            id,
            priority,
            brand,
            region,
            rng.u32(0..20) * 500,
            acquirer,
            three_ds,
        ])?;
    }
    for hook in 0..rng.u32(1..4) {
        let url = format!("https://hooks.{}.example/payments/{hook}", id.replace('_', "-"));
        t.prepare_cached("INSERT INTO webhooks VALUES (?, ?, ?)")?.execute(params![
            id,
            url,
            "payment.captured,payment.refunded,payment.failed"
        ])?;
    }
    Ok(())
}

/// The n-th of all, from 1: the first twenty are the first merchant's, and so on.
fn payment(t: &Connection, n: u32, rng: &mut fastrand::Rng) -> rusqlite::Result<()> {
    let merchant = (n - 1) / PAYMENTS_EACH + 1;
    let id = payment_id(merchant, n - (merchant - 1) * PAYMENTS_EACH);
    let amount = rng.u32(100..50_000);
    let (status, refunded) = match rng.u32(0..20) {
        0 => ("refunded", amount),
        1 => ("failed", 0),
        _ => ("captured", 0),
    };
    let (kind, brand) = METHODS[rng.usize(..2)];
    let (last4, at) = (format!("{:04}", rng.u32(0..10_000)), moment(rng));
    t.prepare_cached("INSERT INTO payments VALUES (?, ?, ?, 'EUR', ?, ?, ?, ?, ?, ?, 1)")?.execute(params![
        id,
        merchant_id(merchant),
        amount,
        status,
        refunded,
        kind,
        brand,
        last4,
        at,
    ])?;
    if refunded > 0 {
        t.prepare_cached("INSERT INTO refunds VALUES (?, ?, ?, ?)")?.execute(params![
            format!("ref_{n:06}"),
            id,
            refunded,
            at,
        ])?;
    }
    t.prepare_cached("INSERT INTO events VALUES (?, ?, ?)")?.execute(params![id, format!("payment.{status}"), at])?;
    Ok(())
}

/// A moment of the year before, the same for the same seed.
fn moment(rng: &mut fastrand::Rng) -> String {
    let (month, day) = (rng.u32(1..13), rng.u32(1..29));
    format!("2025-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rng.u32(0..24), rng.u32(0..60), rng.u32(0..60))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every row of every table, as text.
    fn dump(connection: &Connection) -> Vec<String> {
        let mut rows = Vec::new();
        for table in ["merchants", "fees", "webhooks", "methods", "payments", "refunds", "events"] {
            let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns = statement.column_count();
            let mut found = statement.query([]).unwrap();
            while let Some(row) = found.next().unwrap() {
                rows.push((0..columns).map(|c| format!("{:?},", row.get_ref(c).unwrap())).collect());
            }
        }
        rows
    }

    #[test]
    fn seeding_again_leaves_the_same_rows() {
        let mut connection = Connection::open_in_memory().unwrap();
        create(&connection).unwrap();
        seed(&mut connection, 7).unwrap();
        let first = dump(&connection);
        connection.execute("UPDATE payments SET amount = 1", []).unwrap();
        connection.execute("DELETE FROM merchants WHERE id = 'mer_0001'", []).unwrap();
        seed(&mut connection, 7).unwrap();
        assert_eq!(first, dump(&connection));
        seed(&mut connection, 8).unwrap();
        assert_ne!(first, dump(&connection));
    }

    #[test]
    fn there_are_as_many_rows_as_it_says() {
        let mut connection = Connection::open_in_memory().unwrap();
        create(&connection).unwrap();
        seed(&mut connection, 1).unwrap();
        let count = |table: &str| -> u32 {
            connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
        };
        assert_eq!((count("merchants"), count("payments"), count("events")), (MERCHANTS, PAYMENTS, PAYMENTS));
    }
}
