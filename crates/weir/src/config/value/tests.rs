use proptest::prelude::*;

use super::*;

#[test]
fn durations_and_sizes() {
    let ms = |text: &str| <Duration as Leaf>::parse(text).map(|d| d.as_millis());
    for (text, want) in
        [("0", 0), ("0s", 0), ("500ms", 500), ("1h30m", 5_400_000), ("2d", 172_800_000), ("90s", 90_000)]
    {
        assert_eq!(ms(text), Ok(want), "{text}");
    }
    for text in ["", "s", "1", "1x", "-1s", "1.5s", "1 s", "99999999999999999999s", "1001d", "999d25h", "1s1"]
    {
        assert!(ms(text).is_err(), "{text}");
    }
    for (text, want) in [("0", 0), ("1B", 1), ("64KiB", 65_536), ("10 MiB", 10 << 20), ("1MB", 1_000_000)] {
        assert_eq!(Size::parse(text), Ok(Size(want)), "{text}");
    }
    for text in ["", "64", "64K", "KiB", "-1B", "99999999999TiB"] {
        assert!(Size::parse(text).is_err(), "{text}");
    }
}

#[test]
fn addresses() {
    let listen = |text: &str| <ListenAddress as Leaf>::parse(text).map(|a| a.show());
    assert_eq!(listen(":443").as_deref(), Ok("0.0.0.0:443"));
    assert_eq!(listen("[::]:443").as_deref(), Ok("[::]:443"));
    assert_eq!(listen("unix:/run/w.sock").as_deref(), Ok("unix:/run/w.sock"));
    assert_eq!(listen("systemd:web").as_deref(), Ok("systemd:web"));
    let endpoint = |text: &str| <EndpointAddress as Leaf>::parse(text).map(|a| a.show());
    assert_eq!(endpoint("App.internal:80").as_deref(), Ok("app.internal:80"));
    assert_eq!(endpoint("demo:").as_deref(), Ok("demo:"));
    for text in [":+80", "127.0.0.1:+80", ":65536", ":"] {
        assert!(listen(text).is_err(), "{text}");
    }
    assert!(Mode::parse("+660").is_err());
    for text in [
        "",
        "host",
        "host:",
        "host:0",
        "host:+80",
        "127.0.0.1:0",
        "host:65536",
        "a b:1",
        "http://a:1",
        "unix:",
        "::1:80",
    ] {
        assert!(endpoint(text).is_err(), "{text}");
    }
}

#[test]
fn shares_are_percents() {
    for (text, shown) in
        [("5%", "5%"), ("0.5%", "0.5%"), ("12.30 %", "12.3%"), ("100%", "100%"), ("0%", "0%")]
    {
        assert_eq!(Share::parse(text).map(|share| share.show()).as_deref(), Ok(shown), "{text}");
    }
    for text in ["5", "", "%", "-1%", "+1%", "1.%", ".5%", "0.001%", "100.01%", "99999999999%", "five%"] {
        assert!(Share::parse(text).is_err(), "{text}");
    }
    assert_eq!(Share::of(1, 3).show(), "33.33%");
    assert_eq!(Share::of(0, 0).show(), "0%");
}

proptest! {
    #[test]
    fn what_is_shown_is_parsed_again(ms in 0u64..86_400_000_000, bytes: u64, part: u64, text in ".{0,20}") {
        let share = Share::of(part, u64::MAX);
        prop_assert_eq!(Share::parse(&share.show()), Ok(share));
        let time = Duration::from_millis(ms);
        prop_assert_eq!(<Duration as Leaf>::parse(&time.show()), Ok(time));
        prop_assert_eq!(Size::parse(&Size(bytes).show()), Ok(Size(bytes)));
        for kind in kinds() {
            // Whatever is written: a value or an error, never a panic.
            let _ = (kind.check)(&text);
        }
    }
}
