//! Hosts, as requests name them. One rule for clients and for plugins.

/// Whether a text is a host with or without a port: RFC 3986, section 3.2, without userinfo and without an empty host (RFC 9110, sections 4.2.1 and 4.2.4).
pub fn is_authority(text: &[u8]) -> bool {
    let (name, port) = match text {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|b| *b == b']') else { return false };
            let (inside, after) = rest.split_at(end);
            let is_address =
                std::str::from_utf8(inside).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
            if !is_address {
                return false;
            }
            match after {
                [b']'] => return true,
                [b']', b':', port @ ..] => (&b"v6"[..], port),
                _ => return false,
            }
        }
        _ => match text.iter().position(|b| *b == b':') {
            Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default()),
            None => (text, &b""[..]),
        },
    };
    is_registered_name(name) && is_port(port)
}

fn is_registered_name(mut name: &[u8]) -> bool {
    if name.is_empty() || name.len() > 255 {
        return false;
    }
    while let [first, rest @ ..] = name {
        name = match (first, rest) {
            (b'%', [high, low, rest @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            (b'-' | b'.' | b'_' | b'~', _) => rest,
            _ if first.is_ascii_alphanumeric() => rest,
            _ => return false,
        };
    }
    true
}

/// Digits of a port; none at all is a port too (RFC 3986, section 3.2.3).
fn is_port(port: &[u8]) -> bool {
    port.len() <= 5
        && port.iter().all(u8::is_ascii_digit)
        && port.iter().fold(0u32, |sum, digit| sum * 10 + u32::from(digit - b'0')) <= 65535
}
