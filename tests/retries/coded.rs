//! What an attempt brought before it broke off is no part of the answer of the next one.

use super::*;

/// A short body is held back to be encoded as a whole, and so can be fetched again while nothing was sent.
#[test]
fn half_a_body_that_was_to_be_encoded_is_forgotten() {
    let origin = scripted(|conn, _, number| {
        let (status, length, body) = match number {
            0 => ("200 OK", 2000, "first ".repeat(200)),
            _ => ("404 Not Found", 6, "second".to_owned()),
        };
        let kind = "Content-Type: text/plain\r\n";
        conn.write(format!("HTTP/1.1 {status}\r\n{kind}Content-Length: {length}\r\n\r\n{body}")) && number > 0
    });
    let proxy = before(&[origin.to_string()], "", "retry: { attempts: 2 }");
    let mut client = Client::connect(proxy.addr("inbound"));
    for _ in 0..2 {
        client.request("GET", "/a", &[("accept-encoding", "gzip")], b"");
        let answer = client.read_response();
        assert_eq!((answer.status, answer.text().as_str()), (404, "second"));
        assert_eq!(answer.header("content-encoding"), None);
    }
    assert_eq!(origin.count(), 3);
}
