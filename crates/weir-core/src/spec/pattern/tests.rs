use super::*;

#[test]
fn hosts() {
    for (text, want) in [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("*.Example.com", "*.example.com"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:DB8::1]", "[2001:db8::1]"),
        ("a_b.internal", "a_b.internal"),
        ("localhost", "localhost"),
    ] {
        assert_eq!(HostPattern::parse(text).map(|p| p.to_string()), Ok(want.to_owned()), "{text}");
    }
    for (text, help) in [
        ("", "leave the hosts out"),
        ("*", "leave the hosts out"),
        ("https://a.example/x", "write `a.example`"),
        ("a.example:8080", "write `a.example`"),
        ("a.example/x", "write `a.example`"),
        ("::1", "write `[::1]`"),
        ("[::1]:80", "without a port"),
        ("a.*.example", "write `*.example.com`"),
        ("*a.example", "write `*.example.com`"),
        ("bücher.example", "A-label"),
        ("a..example", "1 to 63"),
        ("a b", "letters"),
    ] {
        let error = HostPattern::parse(text).expect_err(text);
        assert!(error.to_string().contains(help), "{text}: {error}");
    }
}

#[test]
fn suffixes_take_whole_labels() {
    let pattern = HostPattern::parse("*.example.com").expect("it is one");
    for (host, want) in
        [("a.example.com", true), ("a.b.example.com", true), ("example.com", false), ("aexample.com", false)]
    {
        assert_eq!(pattern.matches(host), want, "{host}");
    }
}

#[test]
fn templates() {
    use Segment::{Capture, Literal, Rest};
    let parse = |text| PathTemplate::parse(text).map(|t| t.segments);
    assert_eq!(
        parse("/users/{id}/%61b/{rest*}"),
        Ok(vec![Literal("users".into()), Capture("id".into()), Literal("ab".into()), Rest("rest".into())])
    );
    assert_eq!(parse("/{a}/"), Ok(vec![Capture("a".into()), Literal("".into())]));
    for (text, help) in [
        ("users/{id}", "write `/users/{id}`"),
        ("/u/x{id}", "whole segment"),
        ("/u/{id", "whole segment"),
        ("/u/{}", "letter"),
        ("/u/{1a}", "letter"),
        ("/u/{a}/{a}", "its own name"),
        ("/u/{a*}/b", "only the last"),
        ("/u/{a}/../b", "normalised"),
        ("/u/{a}?x=1", "query"),
    ] {
        let error = PathTemplate::parse(text).expect_err(text);
        assert!(error.to_string().contains(help), "{text}: {error}");
    }
}

#[test]
fn paths() {
    let shown = |pattern| match pattern {
        Ok(PathPattern::Exact(path) | PathPattern::Prefix(path)) => path.to_string(),
        other => format!("{other:?}"),
    };
    assert_eq!(shown(PathPattern::exact("/caf\u{e9}/%7ea")), "/caf%C3%A9/~a");
    assert_eq!(shown(PathPattern::prefix("/api/")), "/api");
    assert_eq!(shown(PathPattern::prefix("/")), "/");
    for text in ["api", "/a/../b", "/a?b", "/a%zz"] {
        assert!(PathPattern::exact(text).is_err() && PathPattern::prefix(text).is_err(), "{text}");
    }
    assert!(PathPattern::regex("/a(").is_err() && PathPattern::regex("/a)(?:b").is_err());
    let regex = anchored("/a|/b").expect("it is one");
    assert!(regex.is_match("/b") && !regex.is_match("/bc") && !regex.is_match("x/b"));
}

#[test]
fn values() {
    use TemplatePart::{Literal, Placeholder};
    assert!(matches!(ValueTemplate::parse("a{{b}}"), Ok(ValueTemplate::Fixed(v)) if v == "a{b}"));
    assert!(matches!(ValueTemplate::parse(""), Ok(ValueTemplate::Fixed(v)) if v.is_empty()));
    assert_eq!(
        template_parts("a {host}{path}b"),
        Ok(vec![
            Literal("a ".into()),
            Placeholder("host".into()),
            Placeholder("path".into()),
            Literal("b".into())
        ])
    );
    for (text, help) in [
        ("a{", "single brace"),
        ("a}", "single brace"),
        ("{a b}", "not a placeholder"),
        ("a\nb", "line breaks"),
    ] {
        let error = ValueTemplate::parse(text).expect_err(text);
        assert!(error.to_string().contains(help), "{text}: {error}");
    }
}
