//! A name server whose answers are scripted.

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::UdpSocket;

/// What a name has.
#[derive(Clone)]
pub struct Answer(RData);

pub fn a(ip: &str) -> Answer {
    Answer(RData::A(A(ip.parse().unwrap())))
}

pub fn aaaa(ip: &str) -> Answer {
    Answer(RData::AAAA(AAAA(ip.parse().unwrap())))
}

pub fn cname(name: &str) -> Answer {
    Answer(RData::CNAME(CNAME(fqdn(name))))
}

fn fqdn(name: &str) -> Name {
    Name::from_ascii(format!("{name}.")).unwrap()
}

/// Answers with TTL 0. A name with several scripts goes through them, one for each pair of queries (A and AAAA), and
/// stays at the last.
#[derive(Clone)]
pub struct Dns {
    address: SocketAddr,
    scripts: Arc<Mutex<BTreeMap<Name, Vec<Vec<Answer>>>>>,
    queries: Arc<Mutex<BTreeMap<Name, usize>>>,
    swallows_aaaa: Arc<AtomicBool>,
}

impl Dns {
    pub async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let dns = Self {
            address: socket.local_addr().unwrap(),
            scripts: Arc::default(),
            queries: Arc::default(),
            swallows_aaaa: Arc::default(),
        };
        let server = dns.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let (count, peer) = socket.recv_from(&mut buffer).await.unwrap();
                if let Some(answer) = server.answer(&buffer[..count]) {
                    socket.send_to(&answer, peer).await.unwrap();
                }
            }
        });
        dns
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn set(&self, name: &str, answers: impl IntoIterator<Item = Answer>) {
        self.script(name, [answers.into_iter().collect()]);
    }

    pub fn script(&self, name: &str, answers: impl IntoIterator<Item = Vec<Answer>>) {
        self.scripts
            .lock()
            .unwrap()
            .insert(fqdn(name), answers.into_iter().collect());
    }

    /// Leaves AAAA queries without an answer from now on.
    pub fn swallow_aaaa(&self) {
        self.swallows_aaaa.store(true, Ordering::Relaxed);
    }

    /// Queries for `name` so far.
    pub fn queries(&self, name: &str) -> usize {
        self.queries
            .lock()
            .unwrap()
            .get(&fqdn(name))
            .copied()
            .unwrap_or_default()
    }

    /// `None` for a name whose script is empty: no answer at all.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let query = Message::from_vec(query).unwrap();
        let question = query.queries.first().unwrap().clone();
        if question.query_type() == RecordType::AAAA && self.swallows_aaaa.load(Ordering::Relaxed) {
            return None;
        }
        let mut answer = Message::response(query.metadata.id, OpCode::Query);
        answer.add_query(question.clone());
        answer.metadata.recursion_available = true;
        let mut name = question.name().clone();
        for _ in 0..10 {
            let count = {
                let mut queries = self.queries.lock().unwrap();
                let count = queries.entry(name.clone()).or_default();
                *count += 1;
                *count
            };
            let scripts = self.scripts.lock().unwrap();
            let Some(script) = scripts.get(&name) else {
                answer.metadata.response_code = ResponseCode::NXDomain;
                break;
            };
            let step = script.get((count - 1) / 2).or(script.last())?;
            let mut next = None;
            for Answer(data) in step {
                let fits = match data {
                    RData::CNAME(CNAME(target)) => {
                        next = Some(target.clone());
                        true
                    }
                    RData::A(_) => question.query_type() == RecordType::A,
                    _ => question.query_type() == RecordType::AAAA,
                };
                if fits {
                    answer.add_answer(Record::from_rdata(name.clone(), 0, data.clone()));
                }
            }
            match next {
                Some(target) => name = target,
                None => break,
            }
        }
        Some(answer.to_vec().unwrap())
    }
}
