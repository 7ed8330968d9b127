//! What a 304, or the answer to a HEAD, makes of a stored answer (RFC 9111, 3.2, 4.3.4 and 4.3.5).

use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED,
    SET_COOKIE,
};

use super::conditional::weak_match;
use super::fields::{is_never_kept, is_nominated};

/// Fields that speak of the bytes that are kept. They stay as they were: the bytes do as well.
const OF_THE_BYTES: [&str; 4] = ["content-md5", "content-digest", "repr-digest", "digest"];

/// What the answer to a HEAD means for a stored answer to GET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// It is the same: [`merge`] it.
    Update,
    /// It is another one: the stored answer is stale.
    Stale,
    /// It says nothing.
    Nothing,
}

/// Whether a 304 that answers a condition of ours speaks of the stored answer. Where it does not, nothing may be updated
/// by it, and the answer has to be fetched without a condition.
///
/// Its tag must be ours, and of two strong ones the very same; without a tag, the date of the last change must be ours. A
/// 304 that has neither answers what it was asked. Where one of the tags is weak they have to be alike: applications that
/// compress weaken the tag of an answer and forget to do so on its 304.
pub fn selects(stored: &HeaderMap, not_modified: &HeaderMap) -> bool {
    if let Some(tag) = not_modified.get(ETAG) {
        return stored.get(ETAG).is_some_and(|ours| weak_match(tag.as_bytes(), ours.as_bytes()));
    }
    match not_modified.get(LAST_MODIFIED) {
        Some(changed) => stored.get(LAST_MODIFIED).is_none_or(|ours| ours == changed),
        None => true,
    }
}

/// What the answer to a HEAD request, for which the stored answer could have been chosen, means for it. Only a success says
/// anything: an error may pass.
///
/// RFC 9111, 4.3.5, takes an answer that has no validator for the stored one, if only its length is none other. But then
/// nothing says that it is: another client's, or a later one of the same length, would lend its fields and its freshness to
/// a body that is not its own. So `by_the_letter` is for routes that ask for the standard, and for requests without a credential.
pub fn of_head(stored_status: u16, stored: &HeaderMap, status: u16, head: &HeaderMap, by_the_letter: bool) -> Head {
    if status != 200 {
        return Head::Nothing;
    }
    if stored_status != 200 {
        return Head::Stale;
    }
    let same = |name: HeaderName| head.get(&name).is_none_or(|value| stored.get(&name) == Some(value));
    let told = head.contains_key(ETAG) || head.contains_key(LAST_MODIFIED);
    match same(ETAG) && same(LAST_MODIFIED) && same(CONTENT_LENGTH) {
        false => Head::Stale,
        true if told || by_the_letter => Head::Update,
        true => Head::Nothing,
    }
}

/// Takes the fields of a 304 into the stored head, each in place of all stored lines of its name.
///
/// Not those that are never kept, nor those that describe the stored bytes, nor the tag: a 304 that [`selects`] has ours,
/// at most as another shade of it.
///
/// What the head then says has to be judged anew, by [`super::store::storable`], which may now say no or that it varies by
/// something else. For that alone it has the 304's `Age`; [`super::fields::strip`] it before it is kept.
pub fn merge(stored: &mut HeaderMap, not_modified: &HeaderMap) {
    stored.remove(AGE);
    if let Some(age) = not_modified.get(AGE) {
        stored.insert(AGE, age.clone());
    }
    for name in not_modified.keys() {
        let ours = *name == ETAG && stored.contains_key(ETAG);
        let cookie = *name == SET_COOKIE && !stored.contains_key(SET_COOKIE);
        if ours || cookie || is_left(name) || is_nominated(not_modified, name) {
            continue;
        }
        stored.remove(name);
        let lines: Vec<HeaderValue> = not_modified.get_all(name).iter().cloned().collect();
        for line in lines {
            stored.append(name, line);
        }
    }
}

fn is_left(name: &HeaderName) -> bool {
    *name == CONTENT_LENGTH
        || *name == CONTENT_ENCODING
        || *name == CONTENT_RANGE
        || OF_THE_BYTES.contains(&name.as_str())
        || is_never_kept(name)
}

#[cfg(test)]
mod tests;
