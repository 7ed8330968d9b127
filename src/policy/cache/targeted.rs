//! `CDN-Cache-Control` (RFC 9213): what an origin says to caches that stand before it, and to no others.

use http::HeaderName;
use http::header::HeaderMap;
use sfv::{BareItem, ListEntry, Parser};

use super::FOREVER;
use super::control::{Argument, Control};

const NAME: HeaderName = HeaderName::from_static("cdn-cache-control");

/// Reads it; none where the answer has none that counts. One that is empty, that is no dictionary of structured fields or
/// that gives a time as something else than a whole number is as good as none: `Cache-Control` holds then.
pub(super) fn control(headers: &HeaderMap) -> Option<Control> {
    let lines = headers.get_all(NAME);
    lines.iter().next()?;
    let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
    let dictionary = Parser::parse_dictionary(&lines.join(&b", "[..])).ok()?;
    if dictionary.is_empty() {
        return None;
    }
    let mut control = Control { targeted: true, ..Control::default() };
    for (name, entry) in &dictionary {
        let ListEntry::Item(item) = entry else {
            if is_time(name) {
                return None;
            }
            control.take(name.as_bytes(), &Argument::Malformed);
            continue;
        };
        match &item.bare_item {
            BareItem::Integer(time) if is_time(name) => {
                let time = u32::try_from(*time.max(&0)).unwrap_or(FOREVER).min(FOREVER);
                control.take(name.as_bytes(), &Argument::Seconds(time));
            }
            _ if is_time(name) => return None,
            BareItem::Boolean(false) => {}
            BareItem::Boolean(true) => control.take(name.as_bytes(), &Argument::None),
            BareItem::String(text) => control.take(name.as_bytes(), &Argument::Quoted(text.as_bytes())),
            _ => control.take(name.as_bytes(), &Argument::Malformed),
        }
    }
    // Whether a body may be changed on the way is no question of caching.
    control.no_transform |= Control::standard(headers).no_transform;
    Some(control)
}

fn is_time(name: &str) -> bool {
    matches!(name, "max-age" | "s-maxage" | "stale-while-revalidate" | "stale-if-error")
}
