//! The socket: made, asked, left behind, taken.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;

use http::Method;
use tokio::sync::mpsc::Sender;

use super::*;
use crate::reload::{self, Ask, Order};
use crate::run::Plan;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event loop")
}

/// Where orders go that nobody carries out.
fn nobody() -> Sender<Order> {
    reload::orders().0
}

#[test]
fn orders_are_carried_out_and_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("weir.sock");
    runtime().block_on(async {
        let (sender, mut orders) = reload::orders();
        let board = Board::new(&Plan::default(), 1, None);
        let _admin = Admin::start(&socket, 0o600, board, sender).expect("it starts");
        for (path, expected, outcome) in [
            ("/reload", Ask::Reload, Outcome::Published),
            ("/reload?dry_run=true", Ask::DryRun, Outcome::Possible),
            ("/rollback", Ask::Rollback { to: None }, Outcome::Published),
            ("/rollback?to=7", Ask::Rollback { to: Some(7) }, Outcome::Refused),
        ] {
            let work = async {
                let order = orders.recv().await.expect("an order");
                let Order::Change { ask, answer } = order else { panic!("{order:?}") };
                assert_eq!(ask, expected);
                answer.send(Change::new("a test", outcome, 3)).expect("somebody waits");
            };
            let (answer, ()) = tokio::join!(ask(&socket, Method::POST, path), work);
            let change: Change = serde_json::from_slice(&answer.expect("an answer")).expect("a change");
            assert_eq!((change.outcome, change.generation), (outcome, 3), "{path}");
        }
        for outcome in [Ok(7), Err(vec!["it crashed".to_owned()])] {
            let work = async {
                let Some(Order::Upgrade { answer }) = orders.recv().await else { panic!("an order") };
                answer.send(Upgrade::new("a test", outcome.clone())).expect("somebody waits");
            };
            let (answer, ()) = tokio::join!(ask(&socket, Method::POST, "/upgrade"), work);
            let upgrade: Upgrade = serde_json::from_slice(&answer.expect("an answer")).expect("an upgrade");
            let (pid, problems) = (outcome.as_ref().ok().copied(), outcome.err().unwrap_or_default());
            assert_eq!((upgrade.pid, upgrade.problems), (pid, problems));
        }
        for (method, path, status) in [
            (Method::GET, "/upgrade", "405"),
            (Method::GET, "/reload", "405"),
            (Method::POST, "/status", "405"),
            (Method::POST, "/reload?dry_run=perhaps", "400"),
            (Method::POST, "/reload?to=1", "400"),
            (Method::POST, "/rollback?to=x", "400"),
        ] {
            let wrong = ask(&socket, method, path).await.expect_err("it is wrong");
            assert!(wrong.to_string().contains(status), "{path}: {wrong}");
        }
        drop(orders);
        let stopping = ask(&socket, Method::POST, "/reload").await.expect_err("nobody carries it out");
        assert!(stopping.to_string().contains("503"), "{stopping}");
    });
}

#[test]
fn what_hangs_on_the_board_is_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("a/b/weir.sock");
    runtime().block_on(async {
        let plan = Plan { source: Source::Path("weir.toml".into()), ..Plan::default() };
        let board = Board::new(&plan, 3, None);
        let admin = Admin::start(&socket, 0o640, board.clone(), nobody()).expect("it starts");
        assert_eq!(fs::metadata(&socket).expect("a file").permissions().mode() & 0o777, 0o640);
        let problems = vec!["x.lua:1: no".to_owned()];
        board.refused(&Change { problems, ..Change::new("x.lua changed", Outcome::Refused, 1) });
        let told: Status =
            serde_json::from_slice(&ask(&socket, Method::GET, "/status").await.expect("an answer"))
                .expect("a status");
        assert_eq!(told, board.status());
        assert_eq!((told.workers, told.generation, told.config.as_str()), (3, 1, "weir.toml"));
        let last = told.last_change.expect("it was refused");
        assert_eq!((last.outcome, last.problems.len()), (Outcome::Refused, 1));
        board.unchanged(&Change::new("x.lua changed", Outcome::Unchanged, 1));
        let last = board.status().last_change.expect("it is over");
        assert_eq!(last.outcome, Outcome::Unchanged);
        board.published(&Change::new("SIGHUP", Outcome::Published, 2), &plan, vec![1]);
        board.unchanged(&Change::new("SIGHUP", Outcome::Unchanged, 2));
        let told = board.status();
        let last = told.last_change.expect("it was published");
        assert_eq!((told.generation, told.kept, last.outcome), (2, vec![1], Outcome::Published));
        let wrong = ask(&socket, Method::GET, "/other").await.expect_err("there is nothing");
        assert!(wrong.to_string().contains("404"), "{wrong}");
        drop(admin);
        assert!(!socket.exists());
        let gone = ask(&socket, Method::GET, "/status").await.expect_err("nobody is there");
        assert!(matches!(gone, Unanswered::Connect(error) if error.kind() == ErrorKind::NotFound));
    });
}

#[test]
fn the_end_waits_for_who_asks_and_for_nobody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("weir.sock");
    runtime().block_on(async {
        let board = Board::new(&Plan::default(), 1, None);
        let (sender, mut orders) = reload::orders();
        let admin = Admin::start(&socket, 0o600, board, sender).expect("it starts");
        ask(&socket, Method::GET, "/status").await.expect("an answer");
        // The door is open again before this is polled.
        tokio::task::yield_now().await;
        let idle = tokio::time::timeout(std::time::Duration::from_secs(20), admin.answered()).await;
        idle.expect("nobody asks");
        let asks = tokio::spawn({
            let socket = socket.clone();
            async move { ask(&socket, Method::POST, "/reload").await.is_ok() }
        });
        let Some(Order::Change { answer, .. }) = orders.recv().await else { panic!("an order") };
        let mut answered = std::pin::pin!(admin.answered());
        let early = tokio::time::timeout(std::time::Duration::from_millis(20), &mut answered).await;
        early.expect_err("one waits for an answer");
        answer.send(Change::new("a test", Outcome::Unchanged, 1)).expect("somebody waits");
        answered.await;
        assert!(asks.await.expect("it ends"));
    });
}

#[test]
fn a_socket_that_was_left_behind_is_taken_and_one_in_use_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("weir.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("it can be bound"));
    runtime().block_on(async {
        let board = Board::new(&Plan::default(), 1, None);
        let _admin = Admin::start(&socket, 0o600, board.clone(), nobody()).expect("it takes its place");
        let second = Admin::start(&socket, 0o600, board, nobody()).expect_err("one answers there");
        assert_eq!(second.kind(), ErrorKind::AddrInUse);
        ask(&socket, Method::GET, "/status").await.expect("the first one still answers");
    });
    fs::write(&socket, "a file").expect("it can be written");
    runtime().block_on(async {
        Admin::start(&socket, 0o600, Board::new(&Plan::default(), 1, None), nobody())
            .expect_err("this is no socket");
        assert_eq!(fs::read(&socket).expect("it is still there"), b"a file");
    });
}

#[test]
fn each_configuration_has_a_socket_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (folder.path().join("a.toml"), folder.path().join("b.toml"));
    fs::write(&one, "").expect("it can be written");
    let of = |path: &Path| default_socket(&Source::Path(path.to_path_buf()));
    assert_ne!(of(&one), of(&two));
    assert_eq!(
        of(&one),
        of(&folder.path().join("../").join(folder.path().file_name().expect("a name")).join("a.toml"))
    );
    let link = folder.path().join("link.toml");
    std::os::unix::fs::symlink("a.toml", &link).expect("a link");
    assert_eq!(likely_sockets(&Source::Path(link.clone())), [of(&link), of(&one)]);
    assert_eq!(likely_sockets(&Source::Path(one.clone())), [of(&one)]);
    assert!(of(&one).as_os_str().len() < 100, "{:?}", of(&one));
}
