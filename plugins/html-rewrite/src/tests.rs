//! Pages as weir hands them to the plugin, and what the client gets.

use proptest::prelude::*;
use weir_guest::testing;

use super::*;

fn rewrite(rules: &str) -> Rewrite {
    testing::load(&format!(r#"{{"rules": [{rules}]}}"#)).expect("settings").0
}

fn page() -> Response {
    Response::new(200).with_header("content-type", "text/html; charset=utf-8")
}

/// What the client gets of a response with these pieces.
fn served<'a>(rewrite: &Rewrite, res: &Response, pieces: impl Iterator<Item = &'a [u8]>) -> String {
    let mut x = None;
    let verdict = rewrite.on_response(&mut x, res, &Request::new("GET", "/"));
    assert_eq!(verdict, Ok(Verdict::Proceed));
    assert_eq!(res.body().is_passed(), x.is_none());
    let mut out = Vec::new();
    for data in pieces.chain([&[][..]]) {
        match rewrite.on_response_body(&mut x, data, data.is_empty()).expect("a piece") {
            Piece::Pass => out.extend_from_slice(data),
            Piece::Replace(bytes) => out.extend_from_slice(&bytes),
            Piece::Respond(_) => panic!("an answer"),
        }
    }
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn elements_are_changed_in_pages_of_any_split() {
    for (rules, html, expected) in [
        (
            r#"{"select": "a[href^='http:']", "set": {"rel": "nofollow", "title": "\"é\""}, "unset": ["onclick"]}"#,
            "<a href='/a'>a</a><A HREF=http://b onclick=x>ü</A>",
            "<a href='/a'>a</a><A HREF=http://b rel=\"nofollow\" title=\"&quot;é&quot;\">ü</A>",
        ),
        (
            r#"{"select": "body", "prepend": "<p>1", "append": "<p>2", "before": "<!--b-->", "after": "<!--a-->"}"#,
            "<html><body>x</body></html>",
            "<html><!--b--><body><p>1x<p>2</body><!--a--></html>",
        ),
        (
            r##"{"select": "#user > b", "inner": "<i> & you", "text": true}"##,
            "<div id=user><b>me <u>x</u></b><i><b>y</b></i></div>",
            "<div id=user><b>&lt;i&gt; &amp; you</b><i><b>y</b></i></div>",
        ),
        (
            r#"{"select": "script", "remove": true, "before": "<!-- gone -->"}"#,
            "<p>a<script>\"</p><b>\"</script>b",
            "<p>a<!-- gone -->b",
        ),
        (
            r#"{"select": "b", "set": {"a": "1"}}, {"select": ".c", "unset": ["class"]}"#,
            "<b class=c>x</b><!-- <b> --><textarea><b></textarea>",
            "<b a=\"1\">x</b><!-- <b> --><textarea><b></textarea>",
        ),
        (r#"{"select": "x", "remove": true}"#, "<p>nothing <b", "<p>nothing <b"),
        (r#"{"select": "br", "append": "x", "after": "y"}"#, "a<br>b", "a<br>yb"),
    ] {
        let rewrite = rewrite(rules);
        for piece in [1, 2, 7, 1000] {
            assert_eq!(served(&rewrite, &page(), html.as_bytes().chunks(piece)), expected, "{rules} {piece}");
        }
    }
}

#[test]
fn only_whole_pages_of_html_in_utf_8_are_changed() {
    let rewrite = rewrite(r#"{"select": "b", "remove": true}"#);
    let of = |content_type: &str| Response::new(200).with_header("content-type", content_type);
    for (res, changed) in [
        (of("text/html"), true),
        (of("Text/HTML; Charset=\"UTF-8\""), true),
        (of("text/html; charset=iso-8859-1"), false),
        (of("text/html; charset=utf-16"), false),
        (of("application/json"), false),
        (of("text/htmlx"), false),
        (Response::new(200), false),
        (page().with_header("content-encoding", "br"), true),
        (page().with_header("content-encoding", "deflate"), false),
        (Response::new(206).with_header("content-type", "text/html"), false),
        (Response::new(404).with_header("content-type", "text/html"), true),
    ] {
        let expected = if changed { "a" } else { "a<b>x</b>" };
        assert_eq!(served(&rewrite, &res, [&b"a<b>x</b>"[..]].into_iter()), expected, "{res:?}");
    }
    let (mut x, res) = (None, page());
    rewrite.on_response(&mut x, &res, &Request::new("HEAD", "/")).expect("on_response");
    assert!(x.is_none() && res.body().is_passed());
}

#[test]
fn what_is_not_changed_goes_on_as_it_came_and_soon() {
    let rewrite = rewrite(r#"{"select": "b", "remove": true}"#);
    let mut x = None;
    rewrite.on_response(&mut x, &page(), &Request::new("GET", "/")).expect("on_response");
    for (data, expected) in [
        (&b"<p class = 'x' >a \xff\xfe</P >"[..], Piece::Pass),
        (b"text <", Piece::Replace(b"text ".to_vec())),
        (b"i>", Piece::Replace(b"<i>".to_vec())),
        (b"<b>", Piece::hold()),
        (b"gone", Piece::hold()),
        (b"</b>here", Piece::Replace(b"here".to_vec())),
    ] {
        assert_eq!(rewrite.on_response_body(&mut x, data, false), Ok(expected), "{data:?}");
    }
}

#[test]
fn changes_are_counted_by_selector() {
    let rewrite = rewrite(r#"{"select": "b", "remove": true}, {"select": "u", "remove": true}"#);
    served(&rewrite, &page(), [&b"<b></b><b></b>"[..]].into_iter());
    assert_eq!(
        testing::metrics().into_iter().collect::<Vec<_>>(),
        [("changed{select=\"b\"}".to_owned(), 2.0)]
    );
}

#[test]
fn a_page_that_needs_too_much_memory_is_a_failure() {
    let settings = r#"{"rules": [{"select": "b", "remove": true}], "memory": 16384}"#;
    let (rewrite, _) = testing::load::<Rewrite>(settings).expect("settings");
    let mut x = None;
    rewrite.on_response(&mut x, &page(), &Request::new("GET", "/")).expect("on_response");
    let tag = format!("<b class='{}", "x".repeat(1000));
    let failed = (0..100).find_map(|_| rewrite.on_response_body(&mut x, tag.as_bytes(), false).err());
    assert!(failed.expect("a failure").text().contains("memory"));
}

proptest! {
    #[test]
    fn any_split_gives_the_same(
        tokens in prop::collection::vec(0_usize..14, 0..40),
        cuts in prop::collection::vec(1_usize..12, 1..20),
    ) {
        let words = [
            "<b>", "</b>", "<a href='x'>", "</a>", "<script>", "</script>", "<!--", "-->", "é & ", "<p class=c", ">",
            "\"", "<", "<title>",
        ];
        let html: String = tokens.iter().filter_map(|at| words.get(*at)).copied().collect();
        let rewrite = rewrite(
            r#"{"select": "b", "remove": true}, {"select": "a", "set": {"rel": "x"}, "append": "!"},
               {"select": "p.c", "inner": "new"}"#,
        );
        let mut rest = html.as_bytes();
        let mut cuts = cuts.iter().cycle();
        let pieces = std::iter::from_fn(|| {
            let (piece, after) = rest.split_at(cuts.next().map_or(1, |cut| *cut).min(rest.len()));
            rest = after;
            (!piece.is_empty()).then_some(piece)
        });
        let whole = served(&rewrite, &page(), [html.as_bytes()].into_iter());
        prop_assert_eq!(served(&rewrite, &page(), pieces), whole);
    }
}

#[test]
fn settings_that_cannot_be_are_refused_with_what_would_be_right() {
    for (settings, expected) in [
        (r#"{"rules": []}"#, "rules: there are none; as `[{ select"),
        (r#"{"rules": [{"select": "a"}]}"#, "rules: `a`: it changes nothing; one of `set`"),
        (
            r#"{"rules": [{"select": "a[", "remove": true}]}"#,
            "rules: `a[`: no selector that can be used here",
        ),
        (
            r#"{"rules": [{"select": "a + b", "remove": true}]}"#,
            "rules: `a + b`: no selector that can be used here",
        ),
        (
            r#"{"rules": [{"select": "a", "set": {"x y": ""}}]}"#,
            "rules: `a`: `x y` is no name of an attribute",
        ),
        (
            r#"{"rules": [{"select": "a", "set": {"x": ""}, "unset": ["x"]}]}"#,
            "rules: `a`: `x` is in `set` and in",
        ),
        (
            r#"{"rules": [{"select": "a", "remove": true, "inner": ""}]}"#,
            "rules: `a`: with `remove` there is only",
        ),
        (r#"{"rules": [{"select": "a", "remove": true}], "memory": 1}"#, "memory: 1 bytes; at least 16384"),
        (r#"{"rules": [{"select": "a", "delete": true}]}"#, "settings: unknown field `delete`"),
    ] {
        let refused = testing::load::<Rewrite>(settings).err().expect(settings);
        assert!(refused.starts_with(expected), "{refused}");
    }
}
