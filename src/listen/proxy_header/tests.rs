use proptest::prelude::*;

use super::*;

fn header(len: usize, source: &str, destination: &str) -> Result<Parsed, Malformed> {
    Ok(Parsed::Header { len, source: source.parse().ok(), destination: destination.parse().ok() })
}

/// A header of version 2.
fn v2_bytes(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut bytes = V2.to_vec();
    bytes.extend([command, family]);
    bytes.extend((block.len() as u16).to_be_bytes());
    bytes.extend(block);
    bytes
}

fn addresses(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let ip = |a: SocketAddr| match a.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    [ip(source), ip(destination), source.port().to_be_bytes().to_vec(), destination.port().to_be_bytes().to_vec()]
        .concat()
}

#[test]
fn version_1_names_both_ends() {
    let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 80\r\nGET /";
    assert_eq!(parse(line), header(line.len() - 5, "192.0.2.1:1111", "192.0.2.2:80"));
    let line = b"PROXY TCP6 2001:db8::1 ::1 65535 0\r\n";
    assert_eq!(parse(line), header(line.len(), "[2001:db8::1]:65535", "[::1]:0"));
    assert_eq!(parse(b"PROXY UNKNOWN\r\n"), header(15, "", ""));
    assert_eq!(parse(b"PROXY UNKNOWN ffff::1 whatever 1 2 3\r\n"), header(38, "", ""));
}

#[test]
fn version_1_is_strict() {
    for line in [
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
        "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        "PROXY \r\n",
        "PROXY TCP4\0",
        "PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rX",
    ] {
        assert!(parse(line.as_bytes()).is_err(), "{line:?}");
    }
    let long = |bytes: usize| parse(format!("PROXY UNKNOWN {}\r\n", "x".repeat(bytes - 16)).as_bytes());
    assert_eq!(long(107), header(107, "", ""));
    assert!(long(108).is_err());
    assert!(parse(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 93]].concat()).is_err());
}

#[test]
fn version_2_names_both_ends() {
    let (source, destination) = ("192.0.2.1:1111", "192.0.2.2:80");
    let block = addresses(source.parse().unwrap(), destination.parse().unwrap());
    assert_eq!(parse(&v2_bytes(0x21, 0x11, &block)), header(28, source, destination));
    let with_tlv = [&block[..], &[0x04, 0, 2, 0, 0]].concat();
    assert_eq!(parse(&v2_bytes(0x21, 0x11, &with_tlv)), header(33, source, destination));
    let (source, destination) = ("[2001:db8::1]:1", "[::1]:2");
    let block = addresses(source.parse().unwrap(), destination.parse().unwrap());
    assert_eq!(parse(&v2_bytes(0x21, 0x21, &block)), header(52, source, destination));
}

#[test]
fn version_2_may_name_nobody() {
    assert_eq!(parse(&v2_bytes(0x20, 0x00, &[])), header(16, "", ""));
    assert_eq!(parse(&v2_bytes(0x20, 0x11, &[1; 12])), header(28, "", ""));
    assert_eq!(parse(&v2_bytes(0x20, 0x11, &[])), header(16, "", ""));
    assert_eq!(parse(&v2_bytes(0x21, 0x00, &[1, 2, 3])), header(19, "", ""));
    assert_eq!(parse(&v2_bytes(0x21, 0x31, &[0; 216])), header(232, "", ""));
    assert_eq!(parse(&v2_bytes(0x21, 0x10, &[0; 12])), header(28, "", ""));
}

#[test]
fn version_2_is_strict() {
    for (command, family, block) in [
        (0x11, 0x11, &[0; 12][..]),
        (0x22, 0x11, &[0; 12]),
        (0x21, 0x13, &[0; 12]),
        (0x21, 0x41, &[0; 12]),
        (0x21, 0x11, &[0; 11]),
        (0x21, 0x21, &[0; 35]),
        (0x21, 0x31, &[0; 215]),
        (0x21, 0x11, &[0; 13]),
        (0x21, 0x11, &[1; 15]),
        (0x20, 0x00, &[0; 521]),
    ] {
        assert!(parse(&v2_bytes(command, family, block)).is_err(), "{command:x} {family:x} {}", block.len());
    }
    assert_eq!(parse(&v2_bytes(0x20, 0x00, &[0; 520])), header(536, "", ""));
}

#[test]
fn what_is_no_header_is_told_at_the_first_byte_that_differs() {
    for bytes in ["GET / HTTP/1.1", "PO", "PRI", "PROXY\t", "\r\nG", "\r\n\r\n\r"] {
        assert_eq!(parse(bytes.as_bytes()), Ok(Parsed::NotProxy), "{bytes:?}");
        let before = &bytes.as_bytes()[..bytes.len() - 1];
        if begins(before, V1) || begins(before, V2) {
            assert_eq!(parse(before), Ok(Parsed::Incomplete));
        }
    }
    assert_eq!(parse(b""), Ok(Parsed::Incomplete));
}

fn socket(v6: bool) -> BoxedStrategy<SocketAddr> {
    if v6 {
        (any::<[u16; 8]>(), any::<u16>()).prop_map(|(ip, port)| (Ipv6Addr::from(ip), port).into()).boxed()
    } else {
        (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| (Ipv4Addr::from(ip), port).into()).boxed()
    }
}

fn ends() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    any::<bool>().prop_flat_map(|v6| (socket(v6), socket(v6)))
}

proptest! {
    #[test]
    fn a_written_header_is_read_back_and_no_prefix_of_it_is(
        (source, destination) in ends(), first in any::<bool>(), tlv in prop::option::of(prop::collection::vec(any::<u8>(), 0..200)), tail in any::<[u8; 4]>(),
    ) {
        let mut bytes = if first {
            let family = if source.is_ipv6() { "TCP6" } else { "TCP4" };
            format!("PROXY {family} {} {} {} {}\r\n", source.ip(), destination.ip(), source.port(), destination.port()).into_bytes()
        } else {
            let mut block = addresses(source, destination);
            if let Some(tlv) = tlv {
                block.push(5);
                block.extend((tlv.len() as u16).to_be_bytes());
                block.extend(tlv);
            }
            v2_bytes(0x21, if source.is_ipv6() { 0x21 } else { 0x11 }, &block)
        };
        let len = bytes.len();
        for cut in 0..len {
            prop_assert_eq!(parse(&bytes[..cut]), Ok(Parsed::Incomplete));
        }
        bytes.extend(tail);
        let whole = Parsed::Header { len, source: Some(source), destination: Some(destination) };
        prop_assert_eq!(parse(&bytes), Ok(whole));
    }

    #[test]
    fn any_bytes_are_judged(which in 0..3, bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let start: &[u8] = match which { 0 => b"", 1 => b"PROXY ", _ => V2 };
        let bytes = [start, &bytes].concat();
        let end = parse(&bytes);
        // Once decided, decided: more bytes never change the answer.
        for cut in 0..bytes.len() {
            match parse(&bytes[..cut]) {
                Ok(Parsed::Incomplete) => {}
                decided => prop_assert_eq!(decided, end),
            }
        }
        if let Ok(Parsed::Header { len, .. }) = end {
            prop_assert!(len <= bytes.len() && len <= MAX_V2);
        }
    }
}
