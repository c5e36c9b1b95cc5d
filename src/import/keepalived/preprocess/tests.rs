//! Comments, includes and parameters.

use super::*;
use crate::import::environment::ThisHost;

/// Formats "number text" for each line.
fn shown(text: &str) -> String {
    let lines = read("k", text, "main", &ThisHost, &mut Notices::default()).unwrap();
    let lines: Vec<_> = lines.iter().map(|line| format!("{} {}", line.location.line, line.text)).collect();
    lines.join("|")
}

#[test]
fn comments_are_removed() {
    for (text, expected) in [
        ("a # b\n! c\n\n  d!e", "1 a|4 d"),
        ("a \"b # c\" # d", "1 a \"b # c\""),
        (r"a \# b \! c \x", r"1 a # b ! c \x"),
        ("a\r\nb\t\r\n", "1 a|2 b"),
    ] {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn conditions_select_by_id() {
    for (text, expected) in [
        ("@main a", "1 a"),
        ("@other a\nb", "2 b"),
        ("@^main a", ""),
        ("@^other   a", "1 a"),
        ("@main", ""),
        ("$C=@main\n$C a", "2 a"),
    ] {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn parameters_are_substituted() {
    for (text, expected) in [
        ("$A=1\nx $A\n$A=2\nx ${A}y", "2 x 1|4 x 2y"),
        ("$A=${B}0\n$B=1\nx $A", "3 x 10"),
        ("$A= \\\n one $B \\\n two\n$B=b\nx\n$A\ny", "5 x|6 one b|6 two|7 y"),
        ("$A= \\\n one \\\n\n two\n$A", "4 two|5 one"),
        ("$I= \\\n $J=1 \\\n x $J\n$I", "4 x 1"),
        ("${_PWD}/a ${_INSTANCE} ${NONE}", "1 /a main ${NONE}"),
        ("$A= \\\n one \\", ""),
    ] {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn endless_lines_are_refused() {
    let fault = |text: &str| read("k", text, "", &ThisHost, &mut Notices::default()).unwrap_err().to_string();
    assert_eq!(fault("$A=x ${A} $A\n$A"), "k:2: a parameter contains itself; write a value without it");
    assert_eq!(fault("$A= \\\na \\\n$A\n$A"), "k:4: a parameter contains itself; write a value without it");
    assert_eq!(fault(&"x".repeat(5000)), "k:1: the line is longer than 4096 bytes; break it");
}
