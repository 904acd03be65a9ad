//! The response.

use weir_plugin::message::headers::Side;
use weir_plugin::message::set_status;

use super::{Class, Made, Member, Out, Part, Set};

/// The response of an exchange.
pub(super) const CLASS: Class = Class {
    name: "response",
    late: "response",
    members: &[
        (
            "status",
            Member::Field {
                get: |x| Out::Integer(x.status.as_u16().into()),
                set: Some(Set::Integer(set_status)),
            },
        ),
        (
            "endpoint",
            Member::Field {
                get: |x| Out::maybe(x.endpoint.as_ref().map(|endpoint| endpoint.as_bytes())),
                set: None,
            },
        ),
        ("headers", Member::Part(Part::ResponseHeaders)),
        ("body", Member::Made(Made::Body(Side::Response))),
    ],
};
