//! waf-lite: whatever a body says, its values are found, and decoding them comes to an end.
#![no_main]
#![allow(dead_code, reason = "a plugin uses more of its modules")]

#[path = "../../plugins/waf-lite/src/body.rs"]
mod body;
#[path = "../../plugins/waf-lite/src/normalise.rs"]
mod normalise;

use body::Kind;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for kind in [Kind::Form, Kind::Json, Kind::Multipart(b"b".to_vec()), Kind::Text] {
        let Ok(()) = body::values::<()>(&kind, data, |_, value| {
            let views = normalise::views(value, 3);
            assert!(!views.text.windows(2).any(|two| two == b"  "), "white space is one space");
            assert!(!views.text.iter().any(u8::is_ascii_uppercase), "in lower case");
            Ok(())
        }) else {
            unreachable!("nothing is refused");
        };
    }
    if let Ok(text) = std::str::from_utf8(data) {
        Kind::of(Some(text));
    }
});
