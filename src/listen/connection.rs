//! What comes before the first request: PROXY header, TLS, and which protocol is spoken. All of it bounded in time.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::accept::Gate;
use super::proxy_header::{self, Parsed};
use super::{http1, http2};
use crate::config::{Protocol, ProxyProtocol};
use crate::io::{Conn, Socket};
use crate::observe::metrics::ConnectionRefused;
use crate::proxy::state::ListenerPolicy;
use crate::proxy::{Client, Proxy, is_trusted};

/// A PROXY header is no longer than this.
const PROXY_HEADER: usize = 536;

/// Why a connection ended before its first request.
enum Ended {
    Refused(ConnectionRefused),
    /// The client left.
    Gone,
}

/// Serves a connection to its end.
pub(super) async fn serve(
    mut socket: Socket,
    peer: Option<IpAddr>,
    listener: Arc<ListenerPolicy>,
    gate: &Gate,
    proxy: &Arc<Proxy>,
) {
    let started = Instant::now();
    let deadline = started + proxy.state.load().limits.header_read_timeout;
    let peer = match Box::pin(proxied(&mut socket, peer, &listener, gate.proxy_protocol, deadline)).await {
        Ok(peer) => peer,
        Err(Ended::Refused(cause)) => return listener.metrics.refused(cause),
        Err(Ended::Gone) => return,
    };
    let client = Client::new(listener, peer);
    let Some(tls) = &gate.tls else {
        return clear(socket, client, gate, proxy).await;
    };
    // Boxed, as all that is done once: it would make the connection larger for its whole life.
    let handshake = Box::pin(TlsAcceptor::from(tls.current()).accept(socket));
    let Ok(handshake) = timeout_at(deadline, handshake).await else {
        return client.listener.metrics.refused(ConnectionRefused::Timeout);
    };
    let Ok(stream) = handshake else {
        return client.listener.metrics.refused(ConnectionRefused::Tls);
    };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let conn = Conn::tls(stream.into());
    // Without ALPN a client speaks HTTP/1.1, if that is spoken here.
    if http2 {
        Box::pin(http2::serve(conn, client, proxy)).await;
    } else if gate.protocols.contains(&Protocol::Http1) {
        http1::serve(conn, BytesMut::new(), client, proxy).await;
    }
}

/// In clear: by the first bytes, where both protocols are spoken.
async fn clear(socket: Socket, client: Client, gate: &Gate, proxy: &Arc<Proxy>) {
    let conn = Conn::clear(socket);
    let speaks = |p: Protocol| gate.protocols.contains(&p);
    match (speaks(Protocol::Http1), speaks(Protocol::H2c)) {
        (true, true) => http1::serve_or_http2(conn, client, proxy).await,
        (false, true) => Box::pin(http2::serve(conn, client, proxy)).await,
        _ => http1::serve(conn, BytesMut::new(), client, proxy).await,
    }
}

/// Reads the PROXY header and says who the peer is.
async fn proxied(
    socket: &mut Socket,
    peer: Option<IpAddr>,
    listener: &ListenerPolicy,
    mode: ProxyProtocol,
    deadline: Instant,
) -> Result<Option<IpAddr>, Ended> {
    let trusted = peer.is_none_or(|ip| is_trusted(&listener.trusted, ip));
    match mode {
        ProxyProtocol::Off => return Ok(peer),
        // From anyone else the bytes are what they are: a bad request.
        ProxyProtocol::Optional if !trusted => return Ok(peer),
        ProxyProtocol::Required if !trusted => return Err(Ended::Refused(ConnectionRefused::ProxyProtocol)),
        ProxyProtocol::Optional | ProxyProtocol::Required => {}
    }
    let read = timeout_at(deadline, read_header(socket)).await;
    let (parsed, rest) = match read {
        Err(_) => return Err(Ended::Refused(ConnectionRefused::Timeout)),
        Ok(Err(e)) if e.kind() == io::ErrorKind::InvalidData => {
            return Err(Ended::Refused(ConnectionRefused::ProxyProtocol));
        }
        Ok(Err(_)) => return Err(Ended::Gone),
        Ok(Ok(read)) => read,
    };
    socket.unread(rest);
    match parsed {
        Parsed::Header { source, .. } => Ok(source.map(|a| a.ip().to_canonical()).or(peer)),
        _ if mode == ProxyProtocol::Required => Err(Ended::Refused(ConnectionRefused::ProxyProtocol)),
        _ => Ok(peer),
    }
}

/// Reads until the header is whole or it is clear that there is none, and gives back what was read too far.
async fn read_header(socket: &mut Socket) -> io::Result<(Parsed, Bytes)> {
    let mut buf = BytesMut::with_capacity(PROXY_HEADER);
    loop {
        match proxy_header::parse(&buf) {
            Ok(Parsed::Incomplete) => {
                if socket.read_buf(&mut buf).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Ok(Parsed::Header { len, source, destination }) => {
                let rest = buf.split_off(len).freeze();
                return Ok((Parsed::Header { len, source, destination }, rest));
            }
            Ok(Parsed::NotProxy) => return Ok((Parsed::NotProxy, buf.freeze())),
            Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
