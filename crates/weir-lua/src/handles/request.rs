//! The request.

use weir_plugin::Error;
use weir_plugin::message::headers::Side;
use weir_plugin::message::{
    capture, host, scheme, set_group, set_method, set_path, set_query, upstream, version,
};

use super::{Class, Made, Member, Out, Part, Set};

/// The request of an exchange.
pub(super) const CLASS: Class = Class {
    name: "request",
    late: "request",
    members: &[
        ("request_id", Member::Field { get: |x| Out::text(&x.request_id), set: None }),
        ("route", Member::Field { get: |x| Out::text(&*x.route), set: None }),
        ("method", Member::Field { get: |x| Out::text(x.method.as_str()), set: Some(Set::Text(set_method)) }),
        ("scheme", Member::Field { get: |x| Out::text(scheme(x)), set: None }),
        ("host", Member::Field { get: |x| Out::text(host(x)), set: None }),
        ("path", Member::Field { get: |x| Out::text(x.uri.path()), set: Some(Set::Text(set_path)) }),
        (
            "query_string",
            Member::Field {
                get: |x| Out::text(x.uri.query().unwrap_or_default()),
                set: Some(Set::Text(set_query)),
            },
        ),
        ("version", Member::Field { get: |x| Out::text(version(x)), set: None }),
        ("is_websocket", Member::Field { get: |x| Out::Boolean(x.is_websocket), set: None }),
        (
            "client_ip",
            Member::Field { get: |x| Out::maybe(x.client.map(|ip| ip.to_string().into_bytes())), set: None },
        ),
        (
            "upstream",
            Member::Field {
                get: |x| Out::maybe(upstream(x).map(str::as_bytes)),
                set: Some(Set::Text(|x, name| match std::str::from_utf8(name) {
                    Ok(name) => set_group(x, name),
                    Err(_) => Err(Error::invalid("the name of an upstream is UTF-8")),
                })),
            },
        ),
        (
            "capture",
            Member::Method {
                takes: 1,
                call: |x, texts| {
                    let found = texts.first().and_then(|name| capture(x, name));
                    Ok(Out::maybe(found.map(str::as_bytes)))
                },
            },
        ),
        ("headers", Member::Part(Part::RequestHeaders)),
        ("query", Member::Part(Part::Query)),
        ("cookies", Member::Part(Part::Cookies)),
        ("body", Member::Made(Made::Body(Side::Request))),
        ("connection", Member::Made(Made::Connection)),
    ],
};
