//! What tokens claim (RFC 7519, section 4.1).

use std::time::Duration;

use serde_json::{Map, Value};
use weir_plugin::error::{Error, Result};
use weir_plugin::services::TokenOptions;

/// The most names in each list of the options.
const MOST_NAMES: usize = 100;
/// The most seconds by which clocks may differ.
const MOST_LEEWAY: u32 = 600;

/// Refuses options that cannot be.
pub(super) fn check_options(options: &TokenOptions) -> Result<()> {
    let lists = [&options.algorithms, &options.issuers, &options.audiences, &options.required];
    if lists.iter().any(|list| list.len() > MOST_NAMES) {
        return Err(Error::TooLarge(MOST_NAMES as u64));
    }
    if options.leeway > MOST_LEEWAY {
        return Err(Error::invalid(format!("`leeway` is 0 to {MOST_LEEWAY} seconds")));
    }
    Ok(())
}

/// Whether claims hold at this time.
pub(super) fn check(claims: &Map<String, Value>, options: &TokenOptions, now: Duration) -> Result<()> {
    let is_missing = |name: &&String| claims.get(*name).is_none_or(Value::is_null);
    if let Some(name) = options.required.iter().find(is_missing) {
        return Err(Error::denied(format!("it has no claim `{name}`")));
    }
    let (now, leeway) = (now.as_secs_f64(), f64::from(options.leeway));
    if time(claims, "exp")?.is_some_and(|exp| now >= exp + leeway) {
        return Err(Error::denied("it has expired"));
    }
    if time(claims, "nbf")?.is_some_and(|nbf| nbf > now + leeway) {
        return Err(Error::denied("it is not valid yet"));
    }
    let is_of = |value: &Value, accepted: &[String]| {
        value.as_str().is_some_and(|value| accepted.iter().any(|accepted| accepted == value))
    };
    if !options.issuers.is_empty() && !claims.get("iss").is_some_and(|iss| is_of(iss, &options.issuers)) {
        return Err(Error::denied("its issuer is not accepted"));
    }
    let is_for = |aud: &Value| match aud {
        Value::Array(all) => all.iter().any(|aud| is_of(aud, &options.audiences)),
        one => is_of(one, &options.audiences),
    };
    if !options.audiences.is_empty() && !claims.get("aud").is_some_and(is_for) {
        return Err(Error::denied("it is for another audience"));
    }
    Ok(())
}

fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            Some(time) => Ok(Some(time)),
            None => Err(Error::denied(format!("its claim `{name}` is no time"))),
        },
    }
}
