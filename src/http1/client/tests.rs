use std::future::poll_fn;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::*;
use crate::io::Socket;

/// What was read of an application that sends this and then ends its side.
#[derive(Debug, PartialEq)]
struct Read {
    statuses: Vec<u16>,
    body: Result<Vec<u8>, Broken>,
    reused: bool,
}

/// Reads everything that comes as the answer to GET, or to HEAD.
async fn read(bodiless: bool, wire: &[u8]) -> Result<Read, Broken> {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut session = ClientSession::new(Box::new(Conn::clear(Socket::from(ours))));
    if bodiless {
        session.expect_no_body();
    }
    theirs.write_all(wire).await.unwrap();
    theirs.shutdown().await.unwrap();
    let mut statuses = Vec::new();
    loop {
        poll_fn(|cx| session.poll_head(cx)).await?;
        let status = session.take_head().unwrap().status;
        statuses.push(status.as_u16());
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            break;
        }
        assert_eq!(poll_fn(|cx| session.poll_body(cx)).await, Ok(None), "none behind an informational head");
    }
    let mut data = Vec::new();
    let body = loop {
        match poll_fn(|cx| session.poll_body(cx)).await {
            Ok(Some(part)) => data.extend_from_slice(&part),
            Ok(None) => break Ok(data),
            Err(broken) => break Err(broken),
        }
    };
    Ok(Read { statuses, body, reused: session.reuse().is_some() })
}

/// The body, and whether the connection is used again.
async fn get(wire: &str) -> (Result<String, Broken>, bool) {
    let read = read(false, wire.as_bytes()).await.unwrap();
    (read.body.map(|body| String::from_utf8(body).unwrap()), read.reused)
}

fn whole(body: &str, reused: bool) -> (Result<String, Broken>, bool) {
    (Ok(body.to_owned()), reused)
}

#[tokio::test]
async fn a_body_ends_as_it_is_framed() {
    assert_eq!(get("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await, whole("hi", true));
    assert_eq!(
        get("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n").await,
        whole("hi", true)
    );
    assert_eq!(
        get("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2  \r\nhi\r\n0\r\nA: b\r\n\r\n").await,
        whole("hi", true)
    );
    assert_eq!(get("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n0\r\n\r\n").await, whole("", true));
    assert_eq!(get("HTTP/1.1 200 OK\r\n\r\nhi").await, whole("hi", false));
    assert_eq!(
        get("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 1\r\n\r\nhi").await,
        whole("hi", false)
    );
    assert_eq!(get("HTTP/1.1 204 No Content\r\n\r\n").await, whole("", true));
    assert_eq!(get("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n").await, whole("", true));
}

#[tokio::test]
async fn head_is_answered_without_a_body() {
    let head = read(true, b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n").await.unwrap();
    assert_eq!(head, Read { statuses: vec![200], body: Ok(Vec::new()), reused: true });
    // One that sends it all the same has something behind its answer.
    assert!(!read(true, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await.unwrap().reused);
}

#[tokio::test]
async fn informational_heads_come_before_the_answer() {
    let wire = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let answer = read(false, wire).await.unwrap();
    assert_eq!(answer, Read { statuses: vec![100, 103, 200], body: Ok(b"hi".to_vec()), reused: true });
}

#[tokio::test]
async fn another_protocol_goes_on_until_the_end() {
    let answer = read(false, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nframes").await.unwrap();
    assert_eq!(answer, Read { statuses: vec![101], body: Ok(b"frames".to_vec()), reused: false });
}

#[tokio::test]
async fn a_connection_is_used_again_only_where_it_is_certain_what_comes_next() {
    for (head, reused) in [
        ("HTTP/1.1 200 OK\r\nConnection: close", false),
        ("HTTP/1.1 200 OK\r\nConnection: x, Close", false),
        ("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nConnection: close", false),
        ("HTTP/1.1 200 OK\r\nConnection: keep-alive", true),
        ("HTTP/1.0 200 OK", false),
        ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive", true),
    ] {
        assert_eq!(get(&format!("{head}\r\nContent-Length: 2\r\n\r\nhi")).await, whole("hi", reused), "{head}");
    }
    let chunks = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(get(chunks).await, whole("", false));
    assert_eq!(get("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi there").await, whole("hi", false));
    assert_eq!(get("HTTP/1.1 204 No Content\r\n\r\nhi").await, whole("", false));
}

#[tokio::test]
async fn an_answer_that_is_cut_short_is_an_error() {
    for (wire, broken) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", Broken::Closed),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhi", Broken::Closed),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", Broken::Closed),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi!\r\n0\r\n\r\n", Broken::Malformed),
    ] {
        assert_eq!(get(wire).await, (Err(broken), false), "{wire}");
    }
}

#[tokio::test]
async fn what_is_no_answer_is_an_error() {
    for (wire, broken) in [
        (&b""[..], Broken::Closed),
        (b"HTTP/1.1 200", Broken::Closed),
        (b"HTTP/1.1 100 Continue\r\n\r\n", Broken::Closed),
        (b"220 smtp.example ESMTP\r\n\r\n", Broken::Malformed),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!", Broken::Malformed),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nhi!", Broken::Malformed),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi", Broken::Malformed),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhi", Broken::Malformed),
    ] {
        assert_eq!(read(false, wire).await.unwrap_err(), broken, "{}", wire.escape_ascii());
    }
}

#[tokio::test]
async fn a_length_that_is_told_twice_is_told_once_from_here_on() {
    for told in ["2, 2", "2\r\nContent-Length: 2"] {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut session = ClientSession::new(Box::new(Conn::clear(Socket::from(ours))));
        let wire = format!("HTTP/1.1 200 OK\r\nContent-Length: {told}\r\n\r\nhi");
        theirs.write_all(wire.as_bytes()).await.unwrap();
        poll_fn(|cx| session.poll_head(cx)).await.unwrap();
        let head = session.take_head().unwrap();
        let lengths: Vec<_> = head.headers.get_all(header::CONTENT_LENGTH).iter().collect();
        assert_eq!(lengths, ["2"]);
        assert_eq!(poll_fn(|cx| session.poll_body(cx)).await, Ok(Some("hi".into())));
        assert!(session.reuse().is_some());
    }
}

/// Each read is given up and begun again, as a timeout would have it.
#[tokio::test]
async fn a_read_that_was_given_up_goes_on_where_it_stopped() {
    let wire = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut session = ClientSession::new(Box::new(Conn::clear(Socket::from(ours))));
    let writing = tokio::spawn(async move {
        for byte in wire {
            theirs.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        theirs
    });
    let mut given_up = 0;
    loop {
        tokio::select! {
            biased;
            read = poll_fn(|cx| session.poll_head(cx)) => break read.unwrap(),
            () = tokio::task::yield_now() => given_up += 1,
        }
    }
    assert!(given_up > 0);
    let mut body = Vec::new();
    while let Some(part) = poll_fn(|cx| session.poll_body(cx)).await.unwrap() {
        body.extend_from_slice(&part);
    }
    assert_eq!(body, b"hi");
    assert!(session.reuse().is_some());
    drop(writing.await.unwrap());
}

#[test]
fn a_servers_keep_alive_is_learnt_less_one_second() {
    assert_eq!(server_keeps(b"timeout=5, max=1000"), Some(Duration::from_secs(4)));
    assert_eq!(server_keeps(b"max=1000, Timeout = 72"), Some(Duration::from_secs(71)));
    assert_eq!(server_keeps(b"timeout=1"), Some(Duration::ZERO));
    assert_eq!(server_keeps(b"max=3"), None);
    assert_eq!(server_keeps(b"timeout=x"), None);
    assert_eq!(server_keeps(b"\xff"), None);
}
