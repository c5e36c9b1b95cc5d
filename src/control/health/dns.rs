//! DNS part of a probe: a query, and the response code of its answer.

use super::error::{outcome_of, outcome_of_answer};
use crate::health::{LocalError, ProbeFailure, ProbeOutcome};
use crate::model::{DnsCheck, DnsQueryType, DnsRcode};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, TYPE, header_buffer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UdpSocket;

/// Length of a header (RFC 1035 section 4.1.1), in bytes.
const HEADER: usize = 12;
/// Part of a datagram that is read: more than the header and the longest question.
const DATAGRAM: usize = 512;

/// Sends the query in a datagram of a connected socket, and judges its answer. Other datagrams are passed over.
///
/// # Errors
/// The outcome of the probe.
pub(super) async fn over_udp(check: &DnsCheck, socket: &UdpSocket) -> Result<(), ProbeOutcome> {
    let query = query(check)?;
    socket.send(&query).await.map_err(|error| outcome_of(&error))?;
    let mut buffer = [0; DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(|error| outcome_of_answer(&error))?;
        if let Some(rcode) = rcode(&query, &buffer[..length]) {
            return judge(check, rcode);
        }
    }
}

/// Sends the query on a connected stream, and judges its answer (RFC 7766 section 8: a length of two octets before each).
///
/// # Errors
/// The outcome of the probe.
pub(super) async fn over_tcp<S>(check: &DnsCheck, mut stream: S) -> Result<(), ProbeOutcome>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let query = query(check)?;
    let length = (query.len() as u16).to_be_bytes(); // a query has at most 271 bytes
    let exchange = async {
        stream.write_all(&[&length[..], &query].concat()).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; length.into()];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    };
    let answer: Vec<u8> = exchange.await.map_err(|error: std::io::Error| outcome_of(&error))?;
    match rcode(&query, &answer) {
        Some(rcode) => judge(check, rcode),
        None => Err(ProbeOutcome::Failed(ProbeFailure::Malformed("no DNS answer to the query".into()))),
    }
}

/// A query with a random number, recursion desired.
fn query(check: &DnsCheck) -> Result<Vec<u8>, ProbeOutcome> {
    let bad =
        |_| ProbeOutcome::Unknown(LocalError::Setup("the name of the query is none: correct the key name"));
    let id = getrandom::u32().map_err(|_| ProbeOutcome::Unknown(LocalError::NoResources))? as u16;
    let name = match check.name.trim_end_matches('.') {
        "" => Name::new_with_labels(&[]),
        name => Name::new(name).map_err(bad)?,
    };
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(
        name,
        QTYPE::TYPE(record(check.query)),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    packet.build_bytes_vec().map_err(bad)
}

fn record(query: DnsQueryType) -> TYPE {
    match query {
        DnsQueryType::A => TYPE::A,
        DnsQueryType::NS => TYPE::NS,
        DnsQueryType::CNAME => TYPE::CNAME,
        DnsQueryType::SOA => TYPE::SOA,
        DnsQueryType::PTR => TYPE::PTR,
        DnsQueryType::MX => TYPE::MX,
        DnsQueryType::TXT => TYPE::TXT,
        DnsQueryType::AAAA => TYPE::AAAA,
        DnsQueryType::SRV => TYPE::SRV,
    }
}

/// The response code of `answer` if it is the answer to `query`: its number, and its question or none.
fn rcode(query: &[u8], answer: &[u8]) -> Option<DnsRcode> {
    let is_response = header_buffer::has_flags(answer, PacketFlag::RESPONSE).ok()?;
    let is_ours = header_buffer::id(answer).ok()? == header_buffer::id(query).ok()?;
    let (asked, repeated) = (&query[HEADER..], answer.get(HEADER..)?);
    let repeats = match header_buffer::questions(answer).ok()? {
        0 => true,
        _ => repeated.get(..asked.len()).is_some_and(|repeated| repeated.eq_ignore_ascii_case(asked)),
    };
    (is_response && is_ours && repeats).then(|| DnsRcode(answer[3] & 0xf))
}

fn judge(check: &DnsCheck, rcode: DnsRcode) -> Result<(), ProbeOutcome> {
    if check.rcode.contains(&rcode) {
        return Ok(());
    }
    let what = format!("the DNS answer is {rcode}, not {}", check.rcodes());
    Err(ProbeOutcome::Failed(ProbeFailure::Answer(what)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DnsTransport;

    fn check(name: &str) -> DnsCheck {
        let rcode = vec![DnsRcode::NO_ERROR, DnsRcode(3)];
        DnsCheck { name: name.into(), query: DnsQueryType::AAAA, rcode, transport: DnsTransport::Udp }
    }

    /// The answer with this code to a query.
    fn answer(query: &[u8], code: u8) -> Vec<u8> {
        let mut answer = query.to_vec();
        (answer[2], answer[3]) = (answer[2] | 0x80, code);
        answer
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    /// The outcome with a server that sends these answers to the query.
    fn udp(answers: impl FnOnce(&[u8]) -> Vec<Vec<u8>>) -> Result<(), ProbeOutcome> {
        run(async {
            let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.connect(server.local_addr().unwrap()).await.unwrap();
            let reply = async {
                let mut buffer = [0; 512];
                let (length, from) = server.recv_from(&mut buffer).await.unwrap();
                for answer in answers(&buffer[..length]) {
                    server.send_to(&answer, from).await.unwrap();
                }
            };
            let check = check("www.example.org.");
            let (outcome, ()) = tokio::join!(over_udp(&check, &socket), reply);
            outcome
        })
    }

    #[test]
    fn a_query_is_as_rfc_1035_has_it() {
        let bytes = query(&check("a.example.")).unwrap();
        assert_eq!(bytes[2..], *b"\x01\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x1c\0\x01");
        assert_eq!(query(&check(".")).unwrap()[12..], *b"\0\0\x1c\0\x01");
    }

    #[test]
    fn only_the_answer_to_the_query_is_judged() {
        assert_eq!(udp(|query| vec![answer(query, 0)]), Ok(()));
        assert_eq!(udp(|query| vec![answer(query, 3)]), Ok(()));
        let refused = udp(|query| {
            let (mut other_id, mut other_name) = (answer(query, 0), answer(query, 0));
            other_id[0] ^= 1;
            other_name[14] ^= 1;
            let echo = query.to_vec();
            let mut without_question = answer(query, 5)[..12].to_vec();
            without_question[5] = 0;
            vec![b"garbage".to_vec(), Vec::new(), other_id, other_name, echo, without_question]
        });
        let what = "the DNS answer is REFUSED, not NOERROR,NXDOMAIN".to_owned();
        assert_eq!(refused, Err(ProbeOutcome::Failed(ProbeFailure::Answer(what))));
    }

    #[test]
    fn an_answer_over_tcp_has_its_length_before_it() {
        let outcome = |cut: usize| {
            run(async {
                let (ours, mut theirs) = tokio::io::duplex(4096);
                let reply = async {
                    let length = theirs.read_u16().await.unwrap();
                    let mut query = vec![0; length.into()];
                    theirs.read_exact(&mut query).await.unwrap();
                    let answer = answer(&query, 0);
                    theirs.write_u16(length).await.unwrap();
                    theirs.write_all(&answer[..answer.len() - cut]).await.unwrap();
                    drop(theirs);
                };
                let check = check("example.org");
                let (outcome, ()) = tokio::join!(over_tcp(&check, ours), reply);
                outcome
            })
        };
        assert_eq!(outcome(0), Ok(()));
        assert_eq!(outcome(1), Err(ProbeOutcome::Failed(ProbeFailure::Closed)));
    }
}
