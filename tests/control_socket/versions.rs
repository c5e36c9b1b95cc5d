//! Directors of other versions than the client's.

use crate::fake_director::{directrix, run};
use crate::{answers, impostor};
use directrix::control::api;
use directrix::control::client::Blocking;

/// A command, its exit status, what a newer director answers (status, body), and what is said to the user.
type Case = (&'static str, i32, &'static str, &'static str, &'static str);

const CASES: &[Case] = &[
    ("drops", 1, "404 Not Found", r#"{"error":"there is no /v1/drops"}"#, "it has no /v1/drops"),
    ("ipvsadm -Ln", 255, "404 Not Found", "", "it has no /v1/services"),
    ("workers", 1, "200 OK", "{}", "its answer is not understood: invalid type: map, expected a sequence"),
    ("ipvsadm -Ln", 255, "200 OK", r#"{"size":1}"#, "its answer is not understood: missing field `capacity`"),
    (
        "ipvsadm -Lnc",
        255,
        "200 OK",
        "{\"flow\":1}\n",
        "its answer is not understood: missing field `expires`",
    ),
    ("reload", 1, "200 OK", "{}", "its answer is not understood: invalid type: map, expected a sequence"),
    (
        "reload",
        1,
        "405 Method Not Allowed",
        r#"{"error":"reloading is asked for by PUT"}"#,
        "it does not understand the request: reloading is asked for by PUT; ",
    ),
    (
        "ipvsadm -C",
        255,
        "422 Unprocessable Entity",
        r#"{"error":"[0]: unknown variant `clear`, expected `flush`"}"#,
        "it does not understand the request: [0]: unknown variant `clear`, expected `flush`; ",
    ),
    (
        "plan tools/directrix.example.toml",
        1,
        "200 OK",
        r#"{"differences":[]}"#,
        "its answer is not understood: missing field `changes`",
    ),
    (
        "plan tools/directrix.example.toml",
        1,
        "404 Not Found",
        r#"{"error":"there is no /v1/plan"}"#,
        "it has no /v1/plan",
    ),
];

fn newer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nserver: directrix/9.8.7\r\ncontent-length: {length}\r\n\r\n{body}")
}

#[test]
fn a_director_of_another_version_is_told_in_one_line() {
    for (words, ended, status, body, what) in CASES {
        let (_place, socket) = impostor(newer(status, body));
        let (status, _, said) = run(&mut directrix(&socket, words));
        let start = if words.starts_with("ipvsadm") { "" } else { "directrix: " };
        let (socket, ours) = (socket.display(), api::SERVER);
        let start = format!("{start}the director at {socket} is directrix/9.8.7, this is {ours}, and {what}");
        let remedy = "; use the binary that it was started from, or restart it if it has been upgraded\n";
        assert!(said.starts_with(&start), "{words}: {said}\nand not: {start}");
        assert!(said.ends_with(remedy) && said.lines().count() == 1, "{words}: {said}");
        assert_eq!(status, *ended, "{words}");
    }
}

#[test]
fn a_configuration_with_unknown_keys_is_told_in_one_line() {
    let text = "[director]\ninterface = \"eth0\"\ncolour = 1\nhue = 2\n";
    let (_place, socket) = impostor(newer("200 OK", text));
    let said = Blocking::new(&socket).unwrap().config().unwrap_err().to_string();
    let what =
        "its answer is not understood: the running configuration:3: \"colour\" is not a key of [director]; ";
    assert!(said.contains(what) && said.lines().count() == 1, "{said}");
}

#[test]
fn what_a_newer_director_adds_is_passed_over() {
    let (_place, socket) = impostor(newer("200 OK", r#"{"tcp":900,"tcp_fin":120,"udp":300,"sctp":60}"#));
    assert_eq!(Blocking::new(&socket).unwrap().timeouts().unwrap(), answers().timeouts);
}
