//! The rules by which plugins read and change requests and responses. Engines call these and add none of their own.

mod authority;
pub mod body;
pub mod call;
pub mod cookies;
pub mod headers;
pub mod query;
mod request;
mod response;

pub use authority::is_authority;
pub use request::{capture, host, scheme, set_group, set_method, set_path, set_query, upstream, version};
pub use response::{reply, set_status};

use crate::error::{Error, Result};
use crate::{Exchange, Phase};

/// Whether the request may still be changed.
fn may_change_request(x: &Exchange) -> Result<()> {
    match x.phase {
        Phase::Request => Ok(()),
        _ => Err(Error::denied("the request can only be changed in on_request: by now it is on its way")),
    }
}

/// Whether the response may be changed.
fn may_change_response(x: &Exchange) -> Result<()> {
    match x.phase {
        Phase::Response => Ok(()),
        Phase::Ended => Err(Error::denied("the response can no longer be changed: it has been sent")),
        _ => Err(Error::denied("there is no response yet")),
    }
}
