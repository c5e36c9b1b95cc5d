//! Page of the built-in web server. It starts with the server's name, so that the client can identify the server and
//! detect a truncated answer.

/// Page of the real server called `name`.
#[must_use]
pub fn page(name: &str) -> String {
    format!("{name}\n{}", TEXT.repeat(8))
}

const TEXT: &str = "This answer goes straight back to the client; the director saw only the question.\n";

/// Name of the server whose complete page is `body`.
#[must_use]
pub fn server_of(body: &str) -> Option<&str> {
    let name = body.lines().next()?;
    (page(name) == body).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_complete_page_names_its_server() {
        let whole = page("rs1");
        assert_eq!(server_of(&whole), Some("rs1"));
        for wrong in [
            "",
            "rs1",
            "rs1\n",
            &whole[..whole.len() - 1],
            &format!("{whole}x"),
            &whole[1..].replace('s', ""),
        ] {
            assert_eq!(server_of(wrong), None, "{wrong}");
        }
    }
}
