//! Headers, query and cookies: values by name.

use std::borrow::Cow;

use weir_plugin::message::headers::{self, Side};
use weir_plugin::message::{cookies, query};

use super::{Class, Member, Out};

macro_rules! headers_of {
    ($side:expr, $late:literal) => {
        Class {
            name: "headers handle",
            late: $late,
            members: &[
                (
                    "get",
                    Member::Method {
                        takes: 1,
                        call: |x, texts| {
                            Ok(Out::maybe(headers::get(x, $side, first(texts)).map(|value| value.as_bytes())))
                        },
                    },
                ),
                (
                    "get_all",
                    Member::Method {
                        takes: 1,
                        call: |x, texts| {
                            let all = headers::get_all(x, $side, first(texts));
                            Ok(Out::List(all.map(|value| value.as_bytes().into()).collect()))
                        },
                    },
                ),
                (
                    "set",
                    Member::Method {
                        takes: 2,
                        call: |x, texts| {
                            headers::set(x, $side, first(texts), second(texts)).map(|()| Out::Nil)
                        },
                    },
                ),
                (
                    "add",
                    Member::Method {
                        takes: 2,
                        call: |x, texts| {
                            headers::add(x, $side, first(texts), second(texts)).map(|()| Out::Nil)
                        },
                    },
                ),
                (
                    "remove",
                    Member::Method {
                        takes: 1,
                        call: |x, texts| headers::remove(x, $side, first(texts)).map(|()| Out::Nil),
                    },
                ),
                (
                    "entries",
                    Member::Method {
                        takes: 0,
                        call: |x, _| {
                            let fields = headers::of(x, $side).iter();
                            let text = |bytes| Cow::Borrowed(bytes);
                            Ok(Out::Pairs(
                                fields
                                    .map(|(name, value)| (text(name.as_ref()), text(value.as_bytes())))
                                    .collect(),
                            ))
                        },
                    },
                ),
            ],
        }
    };
}
/// Fields of the request.
pub(super) const REQUEST_HEADERS: Class = headers_of!(Side::Request, "request's headers");
/// Fields of the response.
pub(super) const RESPONSE_HEADERS: Class = headers_of!(Side::Response, "response's headers");

/// Parameters of a query.
pub(super) const QUERY: Class = Class {
    name: "query handle",
    late: "query",
    members: &[
        ("get", Member::Method { takes: 1, call: |x, texts| Ok(Out::maybe(query::get(x, first(texts)))) }),
        (
            "get_all",
            Member::Method {
                takes: 1,
                call: |x, texts| {
                    let named = query::entries(x).filter(|(name, _)| **name == *first(texts));
                    Ok(Out::List(named.map(|(_, value)| value).collect()))
                },
            },
        ),
        (
            "set",
            Member::Method {
                takes: 2,
                call: |x, texts| query::set(x, first(texts), second(texts)).map(|()| Out::Nil),
            },
        ),
        (
            "remove",
            Member::Method { takes: 1, call: |x, texts| query::remove(x, first(texts)).map(|()| Out::Nil) },
        ),
        ("entries", Member::Method { takes: 0, call: |x, _| Ok(Out::Pairs(query::entries(x).collect())) }),
    ],
};

/// Cookies of a request.
pub(super) const COOKIES: Class = Class {
    name: "cookies handle",
    late: "request's cookies",
    members: &[
        ("get", Member::Method { takes: 1, call: |x, texts| Ok(Out::maybe(cookies::get(x, first(texts)))) }),
        (
            "entries",
            Member::Method {
                takes: 0,
                call: |x, _| {
                    let cookies = cookies::entries(x);
                    Ok(Out::Pairs(cookies.map(|(name, value)| (name.into(), value.into())).collect()))
                },
            },
        ),
    ],
};

/// The first text that a method takes.
fn first<'a>(texts: &[&'a [u8]]) -> &'a [u8] {
    texts.first().copied().unwrap_or_default()
}

/// The second one.
fn second<'a>(texts: &[&'a [u8]]) -> &'a [u8] {
    texts.get(1).copied().unwrap_or_default()
}
