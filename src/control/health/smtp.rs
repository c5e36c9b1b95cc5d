//! SMTP part of a probe: greeting, EHLO or HELO, QUIT (RFC 5321 section 3).

use super::error::outcome_of;
use crate::health::{ProbeFailure, ProbeOutcome};
use crate::model::SmtpCheck;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::time::{Instant, timeout_at};

/// Longest line of a reply that is read, in bytes. RFC 5321 section 4.5.3.1.5 allows 512.
const LINE_MAX: u64 = 4096;
/// Most lines of a reply.
const LINES_MAX: usize = 100;
/// Part of a reply that is shown, in characters.
const SHOWN_MAX: usize = 60;

/// Replies to EHLO of a server that may have HELO alone (RFC 5321 section 3.2).
const EHLO_UNKNOWN: [u16; 4] = [500, 501, 502, 504];

/// Talks to a mail server on a connected stream. The reply to QUIT is awaited, and may be any or none.
///
/// # Errors
/// The outcome of the probe.
pub(super) async fn talk<S>(check: &SmtpCheck, deadline: Instant, stream: S) -> Result<(), ProbeOutcome>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    let greeting = reply(&mut stream).await?;
    greeting.expect(220, "the greeting")?;
    let mut hello = command(&mut stream, &format!("EHLO {}", check.hello)).await?;
    if EHLO_UNKNOWN.contains(&hello.code) {
        hello = command(&mut stream, &format!("HELO {}", check.hello)).await?;
    }
    hello.expect(250, "the reply to EHLO")?;
    let _ = timeout_at(deadline, command(&mut stream, "QUIT")).await;
    Ok(())
}

/// A reply: the code of its last line, and the text of its first.
struct SmtpReply {
    code: u16,
    line: String,
}

impl SmtpReply {
    fn expect(&self, code: u16, what: &str) -> Result<(), ProbeOutcome> {
        if self.code == code {
            return Ok(());
        }
        let Self { line, .. } = self;
        Err(ProbeOutcome::Failed(ProbeFailure::Answer(format!("{what} is {line:?}, not {code}"))))
    }
}

async fn command<S: AsyncBufRead + AsyncWrite + Unpin>(
    stream: &mut S,
    line: &str,
) -> Result<SmtpReply, ProbeOutcome> {
    let sent = stream.write_all(format!("{line}\r\n").as_bytes()).await;
    sent.map_err(|error| outcome_of(&error))?;
    stream.flush().await.map_err(|error| outcome_of(&error))?;
    reply(stream).await
}

/// Reads the lines of a reply: "250-first", "250 last" (RFC 5321 section 4.2.1).
async fn reply<S: AsyncBufRead + Unpin>(stream: &mut S) -> Result<SmtpReply, ProbeOutcome> {
    let mut first = None;
    for _ in 0..LINES_MAX {
        let mut bytes = Vec::new();
        let read = (&mut *stream).take(LINE_MAX).read_until(b'\n', &mut bytes).await;
        read.map_err(|error| outcome_of(&error))?;
        if bytes.is_empty() {
            return Err(ProbeOutcome::Failed(ProbeFailure::Closed));
        }
        let line: String = String::from_utf8_lossy(&bytes).trim_end().chars().take(SHOWN_MAX).collect();
        let Some(code) = code(&bytes) else {
            let what = format!("no SMTP: the server sends {line:?}");
            return Err(ProbeOutcome::Failed(ProbeFailure::Malformed(what)));
        };
        let first = first.get_or_insert(line);
        if bytes.get(3) != Some(&b'-') {
            return Ok(SmtpReply { code, line: std::mem::take(first) });
        }
    }
    Err(ProbeOutcome::Failed(ProbeFailure::Malformed("no SMTP: a reply without end".into())))
}

/// The code of a whole line: three digits, then a space, a hyphen or the end.
fn code(line: &[u8]) -> Option<u16> {
    let (digits, rest) = line.split_at_checked(3)?;
    let is_code = digits.iter().all(u8::is_ascii_digit) && matches!(rest, [b' ' | b'-' | b'\r' | b'\n', ..]);
    let is_code = is_code && line.ends_with(b"\n");
    is_code.then(|| digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// The outcome with a server that sends each text after a line of the client, the first one at once; and these lines.
    fn talk_to(texts: &[&str]) -> (Result<(), ProbeOutcome>, Vec<String>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            let serve = async {
                let (mut theirs, mut lines) = (BufReader::new(theirs), Vec::new());
                for text in texts {
                    theirs.write_all(text.as_bytes()).await.unwrap();
                    let mut line = String::new();
                    let _ = theirs.read_line(&mut line).await;
                    lines.push(line.trim_end().to_owned());
                }
                lines
            };
            let check = SmtpCheck { hello: "director.example".into() };
            let deadline = Instant::now() + Duration::from_millis(300);
            let talk = async { timeout_at(deadline, talk(&check, deadline, ours)).await };
            let (outcome, lines) = tokio::join!(talk, serve);
            (outcome.unwrap_or(Err(ProbeOutcome::Failed(ProbeFailure::Stalled))), lines)
        })
    }

    #[test]
    fn a_server_that_greets_and_takes_ehlo_passes() {
        let (outcome, lines) =
            talk_to(&["220-mail.example\r\n220 ESMTP\r\n", "250-mail\r\n250 SIZE 5\r\n", "221 bye\r\n"]);
        assert_eq!(
            (outcome, lines),
            (Ok(()), vec!["EHLO director.example".into(), "QUIT".into(), String::new()])
        );
    }

    #[test]
    fn helo_follows_where_ehlo_is_unknown() {
        let (outcome, lines) = talk_to(&["220 old\r\n", "502 what\r\n", "250 old\r\n"]);
        assert_eq!(outcome, Ok(()), "the end of the connection after QUIT is no failure");
        assert_eq!(lines, ["EHLO director.example", "HELO director.example", "QUIT"]);
    }

    #[test]
    fn each_wrong_answer_is_named() {
        let failure = |texts: &[&str]| match talk_to(texts).0 {
            Err(ProbeOutcome::Failed(failure)) => failure.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(failure(&["554 no service\r\n"]), "the greeting is \"554 no service\", not 220");
        assert_eq!(
            failure(&["220 mail\r\n", "450 4.3.2 try later\r\n"]),
            "the reply to EHLO is \"450 4.3.2 try later\", not 250"
        );
        assert_eq!(
            failure(&["SSH-2.0-OpenSSH_9.2\r\n"]),
            "no SMTP: the server sends \"SSH-2.0-OpenSSH_9.2\""
        );
        assert_eq!(failure(&[]), ProbeFailure::Closed.to_string());
        assert!(failure(&["220-and so on\r\n".repeat(LINES_MAX).as_str()]).contains("without end"));
        assert!(failure(&["2".repeat(5_000).as_str()]).starts_with("no SMTP"));
    }

    #[test]
    fn a_server_without_an_answer_to_quit_passes_at_the_deadline() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(1 << 16);
            theirs.write_all(b"220 mail\r\n250 mail\r\n").await.unwrap();
            let check = SmtpCheck { hello: "director.example".into() };
            let deadline = Instant::now() + Duration::from_millis(50);
            assert_eq!(timeout_at(deadline, talk(&check, deadline, ours)).await, Ok(Ok(())));
            drop(theirs);
        });
    }
}
