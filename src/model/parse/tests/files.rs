//! Files as a whole: broken TOML, the order of errors, files that cannot be read, any text.

use super::*;
use proptest::prelude::*;

#[test]
fn broken_toml_is_reported_by_line() {
    refused(
        "[director]\ninterface = eth0\n",
        &["2: not TOML: string values must be quoted; write the value in quotes, as in \"eth0\""],
    );
    refused("[director\ninterface = 5\n", &["1: not TOML: unclosed table; TOML expects `]` here"]);
    refused(
        &director("wait = \"busy\"\nwait = \"busy\""),
        &["4: not TOML: duplicate key; keep one of the two"],
    );
    refused(&director("[director]"), &["3: not TOML: duplicate key; keep one of the two"]);
    refused(&located("weight 2"), &["8: not TOML: key with no value; TOML expects `=` here"]);
    refused(&located("mac = \"02:00"), &["8: not TOML: invalid basic string; TOML expects `\"` here"]);
}

#[test]
fn an_error_at_the_end_of_the_file_is_on_its_last_line() {
    refused(
        "[director]\n\n\n\"\"\"\n",
        &[
            "4: not TOML: keys cannot be multi-line basic strings; TOML expects basic string, literal string here",
            "4: not TOML: key with no value; TOML expects `=` here",
            "4: not TOML: invalid multi-line basic string; TOML expects `\"` here",
        ],
    );
}

#[test]
fn other_errors_are_reported_beside_broken_lines() {
    refused(
        &located("weight = two\nmac = \"no\"\n[[service]]\nprotocol = udp\n"),
        &[
            "8: not TOML: invalid boolean; write true or false, or a text in quotes",
            "9: mac is \"no\", not a MAC address; write the server's own address, as in \"02:00:5e:10:00:01\"",
            "11: not TOML: string values must be quoted; write the value in quotes, as in \"eth0\"",
        ],
    );
}

#[test]
fn all_errors_come_in_file_order() {
    let text = concat!(
        "[[service]]\nprotocol = \"icmp\"\n[[service.server]]\nweight = 70000\naddress = \"x\"\n",
        "[director]\nwait = 1\nfoo = 1\ninterface = \"\"\n",
    );
    let lines: Vec<_> =
        errors(text).iter().map(|error| error.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(lines, ["1", "2", "4", "5", "7", "8", "9"]);
}

#[test]
fn more_servers_than_there_are_numbers_are_refused() {
    let rows: String = (0..65536u32)
        .map(|n| format!("{{address = \"10.{}.{}.{}\"}},\n", 1 + (n >> 16), (n >> 8) & 255, n & 255))
        .collect();
    let text =
        service(&format!("[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:80\"\nserver = [{rows}]"));
    refused(&text, &["1: the file has 65536 real servers; write at most 65535"]);
}

#[test]
fn more_matches_than_there_are_numbers_are_refused() {
    let rows = |count: u32, settings: &str| -> String {
        (0..count)
            .map(|n| {
                format!("{{protocol = \"tcp\", address = \"10.0.{}.{}:21\"{settings}}},\n", n >> 8, n & 255)
            })
            .collect()
    };
    let file = |rows: &str| format!("service = [\n{rows}]\n[director]\ninterface = \"eth0\"\n");
    let persistent = |count| file(&rows(count, ", persistence = {}"));
    let counted = "of a service too many: there are 65536 matches, with those of FTP's data connections";
    refused(
        &persistent(32_768),
        &[&format!("32769: address is {counted}; have at most 65535 in all services")],
    );
    assert!(parse(Path::new("d.toml"), &persistent(32_767)).is_ok());
    assert!(parse(Path::new("d.toml"), &file(&rows(32_768, ""))).is_ok());
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("directrix.toml");
    let load = || Config::load(&path).map_err(|errors| errors.to_string());
    let named = path.display();
    assert_eq!(load(), Err(format!("{named}: there is no such file; write one, or name another")));
    std::fs::write(&path, b"[director]\n# caf\xe9\n").unwrap();
    assert_eq!(load(), Err(format!("{named}:2: this is not UTF-8 text; save the file in UTF-8")));
    std::fs::write(&path, EXAMPLE).unwrap();
    assert_eq!(load().map(|config| config.services.len()), Ok(3));
    let error = Config::load(dir.path()).unwrap_err().to_string();
    assert!(error.ends_with(": this is not a regular file; name a regular file"), "{error}");
}

/// Pieces that make texts which get further than random letters would.
const PIECES: &[&str] = &[
    "[director]",
    "[[service]]",
    "[[service.server]]",
    "[director.timeouts]",
    "\n",
    "\n",
    "\n",
    " = ",
    "interface",
    "address",
    "protocol",
    "mac",
    "weight",
    "server",
    "service",
    "\"10.0.0.1:80\"",
    "\"tcp\"",
    "\"eth0\"",
    "7",
    "-",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"",
    "'",
    "#",
    ".",
    "\\",
    "\u{fe}",
    "\r",
    "1e9",
    "inf",
    "1979-05-27",
    "true",
];

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = check(&text);
    }

    #[test]
    fn no_arrangement_of_pieces_makes_it_panic(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)
    ) {
        if let Err(errors) = check(&pieces.concat()) {
            prop_assert!(!errors.0.is_empty());
            prop_assert!(errors.0.is_sorted_by_key(|error| error.line()));
        }
    }
}

#[test]
fn too_many_sets_of_ports_are_refused_by_the_line() {
    let groups = |count: usize| {
        let group =
            |n| format!("[[service]]\nmark = {n}\nmatch = [\n  \"tcp:192.0.2.{n}:80-{}\",\n]\n", 90 + n);
        format!("[director]\ninterface = \"eth0\"\n{}", (1..=count).map(group).collect::<String>())
    };
    assert!(parse(Path::new("d.toml"), &groups(64)).is_ok());
    let counted = "the port ranges of all services make 65 different sets of ports for a VIP and protocol";
    let line = 2 + 64 * 5 + 3;
    let error = parse(Path::new("d.toml"), &groups(65)).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "d.toml:{line}: match is of a service too many: {counted}; write the same ranges for several VIPs, or one range \
             instead of many: at most 64 different sets"
        )
    );
}
