//! The PROXY protocol, versions 1 and 2: who the client is, told by a load balancer in front of us.
//!
//! Only the parser. Whether a header is believed is decided by who sent it (`trusted_proxies`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of version 1, its CRLF included.
const MAX_V1: usize = 107;
/// The longest header of version 2 that is read: UNIX addresses and 304 bytes of TLVs.
const MAX_V2: usize = 536;

const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// No PROXY header: told at the first byte that differs.
    NotProxy,
    /// So far a PROXY header; more bytes are needed.
    Incomplete,
    /// A whole header.
    Header {
        /// Its bytes; the connection begins behind them.
        len: usize,
        /// The client. None: the header names none (LOCAL, UNKNOWN, UNIX), the peer itself is the client.
        source: Option<SocketAddr>,
        /// Where the client connected to.
        destination: Option<SocketAddr>,
    },
}

/// It begins as a PROXY header and is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed PROXY header: {0}")]
pub struct Malformed(&'static str);

/// Reads the first bytes of a connection.
pub fn parse(buf: &[u8]) -> Result<Parsed, Malformed> {
    if begins(buf, V1) {
        return if buf.len() < V1.len() { Ok(Parsed::Incomplete) } else { v1(buf) };
    }
    if begins(buf, V2) {
        return if buf.len() < V2.len() { Ok(Parsed::Incomplete) } else { v2(buf) };
    }
    Ok(Parsed::NotProxy)
}

/// Whether `buf` is the beginning of a header that begins with `signature`, as far as it goes.
fn begins(buf: &[u8], signature: &[u8]) -> bool {
    let common = buf.len().min(signature.len());
    buf[..common] == signature[..common]
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 1111 80\r\n`
fn v1(buf: &[u8]) -> Result<Parsed, Malformed> {
    let seen = &buf[..buf.len().min(MAX_V1)];
    let end = match seen.iter().position(|b| !(b' '..=b'~').contains(b)) {
        Some(end) => end,
        None if seen.len() < MAX_V1 => return Ok(Parsed::Incomplete),
        None => return Err(Malformed("longer than 107 bytes")),
    };
    match &seen[end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if seen.len() < MAX_V1 => return Ok(Parsed::Incomplete),
        _ => return Err(Malformed("the line does not end with CRLF")),
    }
    let len = end + 2;
    let line = std::str::from_utf8(&seen[V1.len()..end]).map_err(|_| Malformed("not ASCII"))?;
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        return Ok(Parsed::Header { len, source: None, destination: None });
    }
    let mut address = || -> Option<IpAddr> {
        let word = words.next()?;
        match family {
            "TCP4" => word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (source, destination) = address().zip(address()).ok_or(Malformed("an address is malformed"))?;
    let mut port = || words.next().and_then(port);
    let (source_port, destination_port) = port().zip(port()).ok_or(Malformed("a port is malformed"))?;
    if words.next().is_some() {
        return Err(Malformed("more than six words"));
    }
    Ok(Parsed::Header {
        len,
        source: Some(SocketAddr::new(source, source_port)),
        destination: Some(SocketAddr::new(destination, destination_port)),
    })
}

fn port(word: &str) -> Option<u16> {
    // parse() would take a sign.
    if word.starts_with('+') { None } else { word.parse().ok() }
}

/// Signature, version and command, family, length, addresses, TLVs.
fn v2(buf: &[u8]) -> Result<Parsed, Malformed> {
    let rest = &buf[V2.len()..];
    let Some(&command) = rest.first() else { return Ok(Parsed::Incomplete) };
    let proxied = match command {
        0x20 => false,
        0x21 => true,
        _ => return Err(Malformed("unknown version or command")),
    };
    let Some(&family) = rest.get(1) else { return Ok(Parsed::Incomplete) };
    let addresses = match family {
        0x00..=0x02 => 0,
        0x10..=0x12 => 12,
        0x20..=0x22 => 36,
        0x30..=0x32 => 216,
        _ => return Err(Malformed("unknown address family")),
    };
    let Some(&[high, low]) = rest.get(2..4) else { return Ok(Parsed::Incomplete) };
    let len = V2.len() + 4 + usize::from(u16::from_be_bytes([high, low]));
    if len > MAX_V2 {
        return Err(Malformed("longer than 536 bytes"));
    }
    // A LOCAL header's addresses say nothing and need not be there.
    if proxied && len < V2.len() + 4 + addresses {
        return Err(Malformed("shorter than its addresses"));
    }
    let Some(block) = buf.get(V2.len() + 4..len) else { return Ok(Parsed::Incomplete) };
    let none = Parsed::Header { len, source: None, destination: None };
    if !proxied {
        return Ok(none);
    }
    // What follows no known addresses is not known either.
    if addresses > 0 {
        tlvs(&block[addresses..])?;
    }
    Ok(match family {
        0x11 | 0x12 => pair::<4, 12, Ipv4Addr>(len, block).unwrap_or(none),
        0x21 | 0x22 => pair::<16, 36, Ipv6Addr>(len, block).unwrap_or(none),
        _ => none,
    })
}

/// Two addresses, then two ports.
fn pair<const A: usize, const ALL: usize, T: From<[u8; A]> + Into<IpAddr>>(len: usize, block: &[u8]) -> Option<Parsed> {
    let block = block.first_chunk::<ALL>()?;
    let (source, rest) = block.split_first_chunk::<A>()?;
    let (destination, rest) = rest.split_first_chunk::<A>()?;
    let (source_port, rest) = rest.split_first_chunk::<2>()?;
    let (destination_port, _) = rest.split_first_chunk::<2>()?;
    let address = |ip: &[u8; A], port: &[u8; 2]| SocketAddr::new(T::from(*ip).into(), u16::from_be_bytes(*port));
    Some(Parsed::Header {
        len,
        source: Some(address(source, source_port)),
        destination: Some(address(destination, destination_port)),
    })
}

/// Nothing of the TLVs is used; they have to fill the header exactly.
fn tlvs(mut rest: &[u8]) -> Result<(), Malformed> {
    while let [_, high, low, value @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        rest = value.get(length..).ok_or(Malformed("a TLV is longer than the header"))?;
    }
    if rest.is_empty() { Ok(()) } else { Err(Malformed("a TLV is cut off")) }
}

#[cfg(test)]
mod tests;
