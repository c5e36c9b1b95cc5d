//! Definitions, sequences and comments of keepalived.conf. Each case was also read by keepalived 2.2.7.

use crate::{Files, config, imported, refused, shown, source};

/// Imports a virtual server with these lines after `head`; returns its servers.
#[track_caller]
fn servers(head: &str, lines: &str) -> String {
    let text = format!("{head}\nvirtual_server 192.0.2.1 80 {{\nprotocol TCP\nlvs_method DR\n{lines}\n}}\n");
    let text = if head.is_empty() { text.trim_start().to_owned() } else { text };
    let import = import_all(&text);
    shown(&config(&import).services).replace("TCP 192.0.2.1:80 wlc: ", "")
}

#[track_caller]
fn import_all(text: &str) -> directrix::import::Import {
    let import = imported("k", text, &Files::default());
    assert!(import.notices.is_empty(), "{text}: {:?}", import.notices);
    import
}

/// Servers of `~SEQ(N, 1, 2) $RS` in each definition below.
const BOTH: &str = "10.0.1.1*1 10.0.1.2*1";

#[test]
fn comment_with_backslash_continues_a_definition() {
    for lines in [
        " real_server 10.0.1.$N 80 { \\\n ! weight 5 \\\n }",
        " real_server 10.0.1.$N 80 { \\\n # weight 5 \\\n }",
        " real_server 10.0.1.$N 80 { \\\n # weight 5 \\  \n }",
        " # the servers \\\n real_server 10.0.1.$N 80 { \\\n }",
        " real_server 10.0.1.$N 80 { # a server \\\n weight 1 \\ # its weight\n }",
        " real_server 10.0.1.$N 80 { \\\n \\\n }",
    ] {
        for first in ["", "# what they share "] {
            let head = format!("$RS= {first}\\\n{lines}\n");
            assert_eq!(servers(&head, "~SEQ(N, 1, 2) $RS"), BOTH, "{head}");
            assert_eq!(servers(&format!("@main {head}"), "~SEQ(N, 1, 2) $RS"), BOTH, "{head}");
        }
    }
}

#[test]
fn comment_without_backslash_ends_a_definition() {
    let head = "$RS= \\\n real_server 10.0.1.$N 80 { \\\n # weight 5\n }\n";
    let text = format!("{head}virtual_server 192.0.2.1 80 {{\n~SEQ(N, 1, 2) $RS\n}}\n");
    assert_eq!(refused(&text, &Files::default()), "f:4: \"}\" closes nothing; remove it");
}

#[test]
fn backslash_in_a_comment_outside_definitions_is_ignored() {
    assert_eq!(servers("", "real_server 10.0.1.1 80 {\nweight 30 # x \\\n}"), "10.0.1.1*30");
    assert_eq!(servers("$W=7 \n", "@main real_server 10.0.1.1 80 { # x \\\nweight $W\n}"), "10.0.1.1*7");
}

#[test]
fn sequences_accept_parameters_as_values() {
    let one = "real_server 10.0.1.$N 80 { }";
    let three = "10.0.1.2*1 10.0.1.3*1 10.0.1.4*1";
    for (head, sequence, expected) in [
        ("$A=2\n$B=4\n", "~SEQ(N, $A, $B)", three),
        ("$A=2\n$B=4\n", "~SEQ(N, ${A}, 1, ${B})", three),
        ("$A=1\n$B=${A}\n", "~SEQ(N, ${A}1, ${B}2)", "10.0.1.11*1 10.0.1.12*1"),
        ("$A=2\n$N=9\n", "~SEQ(N, $A)", "10.0.1.1*1 10.0.1.2*1"),
        ("$A=7\n$B=9\n", "~LST(N, $A, ${B})", "10.0.1.7*1 10.0.1.9*1"),
        ("$A=7\n", "~LST({N, W}, {$A, 70}, {8, ${A}})", "10.0.1.7*1 10.0.1.8*1"),
        ("$A=0x10\n$B=0x11\n", "~SEQx(N, $A, $B)", "10.0.1.10*1 10.0.1.11*1"),
    ] {
        assert_eq!(servers(head, &format!("{sequence} {one}")), expected, "{head}{sequence}");
    }
}

#[test]
fn sequence_in_a_definition_is_expanded_at_each_use() {
    let uses = "$A=2\n$B=3\n$S\n$A=7\n$B=8\n$S";
    let expected = "10.0.1.2*1 10.0.1.3*1 10.0.1.7*1 10.0.1.8*1";
    for definition in [
        "$S=~SEQ(N, $A, $B) real_server 10.0.1.$N 80 { }",
        "$S= \\\n # twice \\\n ~SEQ(N, $A, $B) real_server 10.0.1.$N 80 { }\n",
        "$S= \\\n ~SEQ(N, $A, $B) $RS\n$RS=real_server 10.0.1.$N 80 { }",
    ] {
        assert_eq!(servers(definition, uses), expected, "{definition}");
    }
    let nested = "~SEQ(N, 1, 2) ~SEQ(M, $N, 3) real_server 10.0.${N}.$M 80 { }";
    assert_eq!(servers("", nested), "10.0.1.1*1 10.0.1.2*1 10.0.1.3*1 10.0.2.2*1 10.0.2.3*1");
}

#[test]
fn invalid_sequence_is_refused() {
    let what = "write ~SEQ(NAME, FIRST, STEP, LAST) or ~LST(NAME, VALUE, ...)";
    let long = "x".repeat(3000);
    for (text, expected) in [
        ("~SEQ(N, $A) x".to_owned(), format!("f:1: \"~SEQ(N, $A) x\" is not a sequence; {what}")),
        ("$A=x\n~SEQ(N, $A) x".to_owned(), format!("f:2: \"~SEQ(N, $A) x\" is not a sequence; {what}")),
        (
            "$A= \\\n1 \\\n2\n~SEQ(N, $A) x".to_owned(),
            format!("f:4: \"~SEQ(N, $A) x\" is not a sequence; {what}"),
        ),
        ("$A=$A\n~SEQ(N, $A) x".to_owned(), format!("f:2: \"~SEQ(N, $A) x\" is not a sequence; {what}")),
        (format!("~SEQ({long}"), format!("f:1: \"~SEQ({}…\" is not a sequence; {what}", &long[..115])),
    ] {
        assert_eq!(refused(&text, &Files::default()), expected, "{text}");
    }
}

#[test]
fn parameters_conditions_and_sequences_combine() {
    let text = "$NET=10.0.0\n@main $W=5\n@^main $W=9\n@other virtual_server 192.0.2.99 80 {\n\
                $RS= \\\nreal_server ${NET}.${N} { \\\nweight $W \\\n}\n\
                virtual_server ${VIP}.1 80 {\n$N=1\n$RS\n~SEQ(N, 2, 3) $RS\n~LST({N, W}, {7, 70}, {8, 80}) $RS\n\
                protocol TCP\nlvs_method DR\n}\n";
    let text = format!("$VIP=192.0.2\n{text}");
    let import = imported("k", &text, &Files::default());
    assert_eq!(
        shown(&config(&import).services),
        "TCP 192.0.2.1:80 wlc: 10.0.0.1*5 10.0.0.2*5 10.0.0.3*5 10.0.0.7*70 10.0.0.8*80"
    );
    let other = directrix::import::ImportSource { config_id: Some("backup"), ..source("k", &text) };
    let import = directrix::import::import(&other, &Files::default()).unwrap();
    assert!(shown(&config(&import).services).contains("10.0.0.1*9"));
    assert_eq!(
        refused("$A=$A\n$A\n", &Files::default()),
        "k:2: a parameter contains itself; write a value without it".replace('k', "f")
    );
    let bomb = "~SEQ(A, 1, 60000) ~SEQ(B, 1, 60000) @nowhere x\n";
    assert_eq!(
        refused(bomb, &Files::default()),
        "f:1: includes and parameters make more than a million lines of it; import a part at a time"
    );
}
