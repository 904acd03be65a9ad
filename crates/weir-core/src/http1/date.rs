//! The `Date` field (RFC 9110, section 6.6.1), made once a second and thread.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use crate::net::deadline::Coarse;

thread_local! {
    static NOW: RefCell<Option<(Coarse, String)>> = const { RefCell::new(None) };
}

/// Appends the field with the time of now.
pub(crate) fn write(out: &mut Vec<u8>) {
    NOW.with(|now| {
        let mut now = now.borrow_mut();
        let fresh = now.as_ref().filter(|(until, _)| Coarse::now() < *until);
        if fresh.is_none() {
            *now = Some((
                Coarse::now().after(Duration::from_millis(500)),
                httpdate::fmt_http_date(SystemTime::now()),
            ));
        }
        if let Some((_, date)) = &*now {
            super::head::write_field(out, "date", date.as_bytes());
        }
    });
}
