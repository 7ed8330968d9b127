//! From a head that passed the guard to the fields by which a request is told.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use pingora::http::RequestHeader;

use super::head::{Head, trim};

/// Reads a whole head that [`super::head::check`] let pass. Values are parts of `head`, where the spelling of their names is
/// found. None where it is no head after all, or says what no URI may say.
pub(super) fn read(head: &Bytes, checked: &Head) -> Option<Box<RequestHeader>> {
    let line = memchr::memchr(b'\n', head)?;
    let mut words = head[..line].split(|b| *b == b' ');
    let (method, target) = (words.next()?, words.next()?);
    let mut parts = Request::new(()).into_parts().0;
    parts.method = Method::from_bytes(method).ok()?;
    parts.version = if checked.version_11 { Version::HTTP_11 } else { Version::HTTP_10 };
    parts.headers = HeaderMap::with_capacity(checked.headers);
    let mut at = line + 1;
    while head.get(at..).is_some_and(|rest| rest != b"\r\n") {
        let line = &head[at..];
        let end = memchr::memchr(b'\n', line)?;
        let (name, value) = line.split_at_checked(memchr::memchr(b':', &line[..end])?)?;
        let value = trim(value.get(1..end - name.len() - 1)?);
        let value = HeaderValue::from_maybe_shared(head.slice_ref(value)).ok()?;
        parts.headers.try_append(HeaderName::from_bytes(name).ok()?, value).ok()?;
        at += end + 1;
    }
    let mut request = Box::new(RequestHeader::from(parts));
    match own_uri(head, target) {
        Some(uri) => request.set_uri(uri),
        None => request.set_raw_path(target).ok()?,
    }
    Some(request)
}

/// A target in its usual form, as a part of `head`; None for the others, and for what is wrong with it to be found.
fn own_uri(head: &Bytes, target: &[u8]) -> Option<Uri> {
    let usual = target.first() == Some(&b'/') && target.is_ascii() && memchr::memchr(b'#', target).is_none();
    usual.then(|| Uri::from_maybe_shared(head.slice_ref(target)).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::Spelling;
    use crate::http1::head::{Limits, check};

    fn request(head: &'static str) -> Box<RequestHeader> {
        let bytes = Bytes::from_static(head.as_bytes());
        read(&bytes, &check(&bytes, &Limits::default()).unwrap()).unwrap()
    }

    #[test]
    fn a_head_is_read_as_it_stands() {
        let wire = "PUT /a/%2fb?c=d&e HTTP/1.1\r\nHost: a.example:8080\r\nX-Odd:\t one  two \t\r\nEmpty:\r\nx-odd:three\r\nRaw: \u{e9}\r\n\r\n";
        let bytes = Bytes::from_static(wire.as_bytes());
        let head = read(&bytes, &check(&bytes, &Limits::default()).unwrap()).unwrap();
        assert_eq!(
            (head.method.as_str(), head.raw_path(), head.version),
            ("PUT", &b"/a/%2fb?c=d&e"[..], Version::HTTP_11)
        );
        let (mut fields, text) = (Vec::new(), |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap());
        Spelling::of(bytes).each(&head.headers, |_, name, value| fields.push((text(name), text(value.as_bytes()))));
        let expected =
            [("Host", "a.example:8080"), ("X-Odd", "one  two"), ("x-odd", "three"), ("Empty", ""), ("Raw", "\u{e9}")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(fields, expected);
        assert_eq!(head.headers.get_all("x-odd").iter().count(), 2);
    }

    #[test]
    fn every_form_of_a_target_is_read() {
        let head = request("GET http://a.example/x?y HTTP/1.1\r\nHost: A.example\r\n\r\n");
        assert_eq!(
            (head.raw_path(), head.uri.path(), head.uri.query()),
            (&b"http://a.example/x?y"[..], "/x", Some("y"))
        );
        let head = request("GET //a.example/x?y HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(
            (head.raw_path(), head.uri.path(), head.uri.host()),
            (&b"//a.example/x?y"[..], "//a.example/x", None)
        );
        assert_eq!(request("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").raw_path(), b"*");
        let old = request("GET / HTTP/1.0\r\n\r\n");
        assert_eq!((old.version, old.headers.len()), (Version::HTTP_10, 0));
    }
}
