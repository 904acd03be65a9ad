use super::*;

fn headers(values: &str) -> HeaderMap {
    let lines = values.split('\n').filter(|line| !line.is_empty());
    lines.map(|line| (SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_str(line).unwrap())).collect()
}

fn settings(takeover: bool, window_bits: u8) -> Deflate {
    Deflate { takeover, window_bits, ..Deflate::default() }
}

/// An agreement in short: what the client does, what the server does; `+` with takeover.
fn short(agreement: Agreement) -> String {
    let side = |side| {
        let takeover = if agreement.takeover(side) { "+" } else { "" };
        format!("{}{takeover}", agreement.window_bits(side))
    };
    format!("{} {}", side(Role::Client), side(Role::Server))
}

/// What both do, and the answer behind the name, in which `~` is no takeover on either side; nothing: no answer.
#[test]
fn offers_of_clients() {
    let (none, small, keep) = (settings(false, 15), settings(false, 10), settings(true, 12));
    for (offer, settings, wanted) in [
        ("permessage-deflate", none, "15 15 ~"),
        ("Permessage-Deflate ; client_max_window_bits", none, "15 15 ~"),
        ("permessage-deflate; client_max_window_bits", small, "10 10 ~; client_max_window_bits=10"),
        ("permessage-deflate", small, "15 10 ~"),
        (
            "permessage-deflate; server_max_window_bits=\"11\"; client_max_window_bits=9",
            none,
            "9 11 ~; server_max_window_bits=11; client_max_window_bits=9",
        ),
        (
            "permessage-deflate;client_max_window_bits=15;server_max_window_bits=15",
            none,
            "15 15 ~; server_max_window_bits=15",
        ),
        ("permessage-deflate; client_max_window_bits=8", none, "9 15 ~"),
        ("permessage-deflate; server_max_window_bits=8", none, ""),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", none, "15 15 ~"),
        ("permessage-deflate; client_max_window_bits", keep, "12+ 12+ ; client_max_window_bits=12"),
        ("permessage-deflate", keep, "15+ 12+ "),
        ("permessage-deflate; server_no_context_takeover", keep, "15+ 12 ; server_no_context_takeover"),
        ("permessage-deflate; client_no_context_takeover", keep, "15 12+ ; client_no_context_takeover"),
        (
            "x-webkit-deflate-frame, foo; bar=\"baz\"; qux,\npermessage-deflate; x=1\n,,permessage-deflate",
            none,
            "15 15 ~",
        ),
    ] {
        let accepted = accept(&headers(offer), &settings).map(|(agreement, answer)| {
            let answer = answer.to_str().unwrap().strip_prefix(NAME).unwrap();
            let answer = answer.replace("; server_no_context_takeover; client_no_context_takeover", "~");
            format!("{} {answer}", short(agreement))
        });
        assert_eq!(accepted.unwrap_or_default(), wanted, "{offer}");
    }
}

#[test]
fn what_is_declined() {
    for offer in [
        "",
        "permessage-bzip2",
        "permessage-deflate; x",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=010",
        "permessage-deflate; client_max_window_bits=+10",
        "permessage-deflate; client_max_window_bits=",
        "permessage-deflate; client_max_window_bits=\"10",
        "permessage-deflate; client_max_window_bits=\"1 0\"",
        "permessage-deflate; client_max_window_bits=10 11",
        "permessage-deflate; ",
        "permessage-deflate permessage-deflate",
        "permessage-deflate\n\"",
    ] {
        assert_eq!(accept(&headers(offer), &Deflate::default()), None, "{offer}");
    }
}

#[test]
fn offers_to_upstreams() {
    let no = "server_no_context_takeover; client_no_context_takeover";
    for (settings, wanted) in [
        (settings(false, 15), format!("permessage-deflate; {no}; client_max_window_bits")),
        (settings(true, 15), "permessage-deflate; client_max_window_bits".into()),
        (
            settings(true, 12),
            "permessage-deflate; client_max_window_bits=12; server_max_window_bits=12, \
             permessage-deflate; client_max_window_bits=12"
                .into(),
        ),
    ] {
        assert_eq!(offer(&settings), wanted);
    }
}

#[test]
fn answers_of_upstreams() {
    let (none, small, keep) = (settings(false, 15), settings(false, 10), settings(true, 12));
    let wrong = |answer: &str, settings| agreed(&headers(answer), &settings).unwrap_err();
    let right = |answer: &str, settings| agreed(&headers(answer), &settings).unwrap().map(short);
    assert_eq!(right("", none), None);
    for (answer, settings, wanted) in [
        ("permessage-deflate; server_no_context_takeover", none, "15 15"),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", none, "15 15"),
        ("permessage-deflate; server_no_context_takeover; server_max_window_bits=8", none, "15 9"),
        ("permessage-deflate; server_no_context_takeover; client_max_window_bits=9", none, "9 15"),
        ("permessage-deflate; server_no_context_takeover", small, "10 15"),
        ("permessage-deflate; server_no_context_takeover; server_max_window_bits=10", small, "10 10"),
        ("permessage-deflate", keep, "12+ 15+"),
        ("permessage-deflate; client_no_context_takeover; server_max_window_bits=11", keep, "12 11+"),
        ("permessage-deflate; server_no_context_takeover; client_max_window_bits=11", keep, "11+ 15"),
    ] {
        assert_eq!(right(answer, settings).as_deref(), Some(wanted), "{answer}");
    }
    for (answer, settings, why) in [
        ("permessage-deflate", none, "context takeover"),
        ("x-webkit-deflate-frame", keep, "not offered"),
        ("permessage-deflate, permessage-deflate", keep, "not offered"),
        ("permessage-deflate\npermessage-deflate", keep, "not offered"),
        ("permessage-deflate, mux", keep, "not offered"),
        ("permessage-deflate; mux", keep, "do not exist"),
        ("permessage-deflate; client_max_window_bits", keep, "without a value"),
        ("permessage-deflate; client_max_window_bits=13", keep, "a window that was not offered"),
        ("permessage-deflate; client_max_window_bits=8", keep, "256 bytes"),
        ("permessage-deflate; server_max_window_bits=7", keep, "do not exist"),
        ("permessage-deflate; server_max_window_bits=x", keep, "do not exist"),
        ("permessage-deflate; =", keep, "malformed"),
    ] {
        assert!(wrong(answer, settings).contains(why), "{answer}: {}", wrong(answer, settings));
    }
}

/// What weir offers as a client it accepts as a server, and both understand the answer alike.
#[test]
fn weir_agrees_with_weir() {
    for (client, server) in [(15, 15), (10, 15), (15, 10), (9, 12)] {
        for (client_takeover, server_takeover) in [(false, false), (true, false), (false, true), (true, true)]
        {
            let client = settings(client_takeover, client);
            let request = HeaderMap::from_iter([(SEC_WEBSOCKET_EXTENSIONS, offer(&client))]);
            let (agreement, answer) = accept(&request, &settings(server_takeover, server)).unwrap();
            let response = HeaderMap::from_iter([(SEC_WEBSOCKET_EXTENSIONS, answer)]);
            let there = agreed(&response, &client).unwrap().unwrap();
            assert_eq!(
                (there.client_takeover, there.client_window_bits),
                (agreement.client_takeover, agreement.client_window_bits)
            );
            assert_eq!(there.server_takeover, agreement.server_takeover);
            assert!(there.server_window_bits >= agreement.server_window_bits);
        }
    }
}
