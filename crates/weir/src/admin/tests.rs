//! The socket: made, asked, left behind, taken.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::run::Plan;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event loop")
}

#[test]
fn what_hangs_on_the_board_is_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("a/b/weir.sock");
    runtime().block_on(async {
        let plan = Plan { source: Source::Path("weir.toml".into()), ..Plan::default() };
        let board = Board::new(&plan, 3);
        let admin = Admin::start(&socket, 0o640, board.clone()).expect("it starts");
        assert_eq!(fs::metadata(&socket).expect("a file").permissions().mode() & 0o777, 0o640);
        board.refused("x.lua changed", &["x.lua:1: no".to_owned()]);
        let told: Status =
            serde_json::from_slice(&ask(&socket, "/status").await.expect("an answer")).expect("a status");
        assert_eq!(told, board.status());
        assert_eq!((told.workers, told.generation, told.config.as_str()), (3, 1, "weir.toml"));
        assert_eq!(
            told.last_change.map(|change| (change.published, change.problems.len())),
            Some((false, 1))
        );
        board.published("SIGHUP", 2, &plan);
        let told = board.status();
        assert_eq!((told.generation, told.last_change.map(|change| change.published)), (2, Some(true)));
        let wrong = ask(&socket, "/other").await.expect_err("there is nothing");
        assert!(wrong.to_string().contains("404"), "{wrong}");
        drop(admin);
        assert!(!socket.exists());
        let gone = ask(&socket, "/status").await.expect_err("nobody is there");
        assert!(matches!(gone, Unanswered::Connect(error) if error.kind() == ErrorKind::NotFound));
    });
}

#[test]
fn a_socket_that_was_left_behind_is_taken_and_one_in_use_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("weir.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("it can be bound"));
    runtime().block_on(async {
        let board = Board::new(&Plan::default(), 1);
        let _admin = Admin::start(&socket, 0o600, board.clone()).expect("it takes its place");
        let second = Admin::start(&socket, 0o600, board).expect_err("one answers there");
        assert_eq!(second.kind(), ErrorKind::AddrInUse);
        ask(&socket, "/status").await.expect("the first one still answers");
    });
    fs::write(&socket, "a file").expect("it can be written");
    runtime().block_on(async {
        Admin::start(&socket, 0o600, Board::new(&Plan::default(), 1)).expect_err("this is no socket");
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
    assert!(of(&one).as_os_str().len() < 100, "{:?}", of(&one));
}
