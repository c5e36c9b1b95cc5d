//! Directors of other versions than the client's.

use crate::fake_director::{directrix, run};
use crate::{answers, impostor};
use directrix::control::api;
use directrix::control::client::Blocking;

/// A command, its exit status, the response of a newer director (status, body), and the message to the user.
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
        r#"{"error":"reloading is requested by PUT"}"#,
        "it does not understand the request: reloading is requested by PUT; ",
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
fn other_version_of_the_director_is_reported_in_one_line() {
    for (words, ended, status, body, what) in CASES {
        let (_place, socket) = impostor(newer(status, body));
        let (status, _, message) = run(&mut directrix(&socket, words));
        let start = if words.starts_with("ipvsadm") { "" } else { "directrix: " };
        let (socket, ours) = (socket.display(), api::SERVER);
        let start = format!("{start}the director at {socket} is directrix/9.8.7, this is {ours}, and {what}");
        let remedy = "; use the binary that it was started from, or restart it if it has been upgraded\n";
        assert!(message.starts_with(&start), "{words}: {message}\nand not: {start}");
        assert!(message.ends_with(remedy) && message.lines().count() == 1, "{words}: {message}");
        assert_eq!(status, *ended, "{words}");
    }
}

#[test]
fn unknown_configuration_keys_are_reported_in_one_line() {
    let text = "[director]\ninterface = \"eth0\"\ncolour = 1\nhue = 2\n";
    let (_place, socket) = impostor(newer("200 OK", text));
    let message = Blocking::new(&socket).unwrap().config().unwrap_err().to_string();
    let what =
        "its answer is not understood: the running configuration:3: \"colour\" is not a key of [director]; ";
    assert!(message.contains(what) && message.lines().count() == 1, "{message}");
}

#[test]
fn what_a_newer_director_adds_is_passed_over() {
    let (_place, socket) = impostor(newer("200 OK", r#"{"tcp":900,"tcp_fin":120,"udp":300,"sctp":60}"#));
    assert_eq!(Blocking::new(&socket).unwrap().timeouts().unwrap(), answers().timeouts);
}
