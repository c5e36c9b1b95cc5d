//! The page that the built-in web server answers with: its name first, so that the client can
//! tell who answered and whether the answer is whole.

/// The page of the real server called `name`.
#[must_use]
pub fn page(name: &str) -> String {
    format!("{name}\n{}", TEXT.repeat(8))
}

const TEXT: &str = "This answer goes straight back to the client; the director saw only the question.\n";

/// Who wrote `body`, if it is that server's whole page.
#[must_use]
pub fn author(body: &str) -> Option<&str> {
    let name = body.lines().next()?;
    (page(name) == body).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_page_has_an_author() {
        let whole = page("rs1");
        assert_eq!(author(&whole), Some("rs1"));
        for wrong in [
            "",
            "rs1",
            "rs1\n",
            &whole[..whole.len() - 1],
            &format!("{whole}x"),
            &whole[1..].replace('s', ""),
        ] {
            assert_eq!(author(wrong), None, "{wrong}");
        }
    }
}
