//! Several replicas: one confirmation, one run.

use super::home::{Answer, Nonce};
use super::peer::{self, Act, Request};
use super::testing::*;
use super::*;
use crate::seal::testing::{KeyFile, owner};
use crate::seal::{Purpose, Session};
use bytes::Bytes;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn pay() -> Value {
    call("pay", &json!({"amount": 100, "to": "alice"}))
}

async fn confirmed(replica: &Replica) -> Bytes {
    let (decision, _) = replica.call(owner(1), &body(&pay()), FORMS).await;
    body(&retry(&pay(), &asked(decision), &yes()))
}

#[tokio::test]
async fn a_confirmation_that_one_replica_asked_for_runs_once_on_any_and_never_again_on_any() {
    let keys = KeyFile::new(&[1]);
    let (a, b, c) = (
        Replica::shared(&keys).await,
        Replica::shared(&keys).await,
        Replica::shared(&keys).await,
    );
    for (first, others) in [(&a, [&b, &c]), (&b, [&a, &c])] {
        let retry = confirmed(&a).await;
        assert!(passes(&first.call(owner(1), &retry, FORMS).await.0));
        for replica in [first, others[0], others[1]] {
            let again = asked(replica.call(owner(1), &retry, FORMS).await.0);
            assert_eq!(again.because, Some(Refusal::AlreadyUsed));
        }
    }
}

#[tokio::test]
async fn without_its_home_each_replica_would_run_it_once() {
    // The negative control of the test above: what the memory of one replica alone is worth.
    let keys = KeyFile::new(&[1]);
    let (a, b) = (Replica::shared(&keys).await, Replica::shared(&keys).await);
    let ticket = |replica: &Replica| replica.confirmations.home().deadline(Duration::from_mins(5));
    let nonce = Nonce([7; 16]);
    assert_eq!(a.confirmations.home().spend(owner(1), nonce, ticket(&a)), Ok(()));
    assert_eq!(b.confirmations.home().spend(owner(1), nonce, ticket(&b)), Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_replays_at_once_on_two_replicas_one_runs() {
    let keys = KeyFile::new(&[1]);
    let (a, b) = (Replica::shared(&keys).await, Replica::shared(&keys).await);
    let (a, b) = (std::sync::Arc::new(a), std::sync::Arc::new(b));
    let retry = confirmed(&a).await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..40 {
        let (replica, retry) = (if number % 2 == 0 { a.clone() } else { b.clone() }, retry.clone());
        calls.spawn(async move { passes(&replica.call(owner(1), &retry, FORMS).await.0) });
    }
    let ran = calls.join_all().await.into_iter().filter(|ran| *ran).count();
    assert_eq!(ran, 1);
}

#[tokio::test]
async fn bindings_hold_on_another_replica() {
    let keys = KeyFile::new(&[1]);
    let (a, b) = (Replica::shared(&keys).await, Replica::shared(&keys).await);
    let retry = confirmed(&a).await;
    assert_eq!(
        b.receive(owner(2), &retry).unwrap_err().reason(),
        "foreign_request_state"
    );
    let changed = String::from_utf8(retry.to_vec()).unwrap().replace("100", "1000");
    assert_eq!(
        denied(&b.call(owner(1), &changed.into(), FORMS).await.0),
        Refusal::OtherCall
    );
    assert!(passes(&b.call(owner(1), &retry, FORMS).await.0));
}

#[tokio::test]
async fn a_no_given_to_another_replica_is_final_too() {
    let keys = KeyFile::new(&[1]);
    let (a, b) = (Replica::shared(&keys).await, Replica::shared(&keys).await);
    let question = asked(a.call(owner(1), &body(&pay()), FORMS).await.0);
    let no = body(&retry(&pay(), &question, &json!({"action": "decline"})));
    assert_eq!(denied(&b.call(owner(1), &no, FORMS).await.0), Refusal::Declined);
    let yes = body(&retry(&pay(), &question, &yes()));
    assert_eq!(
        asked(a.call(owner(1), &yes, FORMS).await.0).because,
        Some(Refusal::AlreadyUsed)
    );
}

#[tokio::test]
async fn when_its_home_is_gone_the_person_is_asked_anew() {
    let keys = KeyFile::new(&[1]);
    let (a, b) = (Replica::shared(&keys).await, Replica::shared(&keys).await);
    let retry = confirmed(&a).await;
    a.stop().await;
    let again = asked(b.call(owner(1), &retry, FORMS).await.0);
    assert_eq!(again.because, Some(Refusal::HomeUnreachable));
    let answered = body(&super::testing::retry(&pay(), &again, &yes()));
    assert!(passes(&b.call(owner(1), &answered, FORMS).await.0));
}

#[tokio::test]
async fn a_replica_that_started_anew_honours_nothing_of_its_earlier_life() {
    let keys = KeyFile::new(&[1]);
    let (a, b) = (Replica::shared(&keys).await, Replica::shared(&keys).await);
    let retry = confirmed(&a).await;
    assert!(passes(&a.call(owner(1), &retry, FORMS).await.0));
    let address = a.stop().await;
    let a = Replica::listening(&keys, TcpListener::bind(address).await.unwrap());
    for replica in [&a, &b] {
        let again = asked(replica.call(owner(1), &retry, FORMS).await.0);
        assert_eq!(again.because, Some(Refusal::HomeUnreachable));
    }
}

#[tokio::test]
async fn replicas_without_shared_keys_accept_nothing_of_each_other() {
    let (a, b) = (Replica::alone(), Replica::alone());
    let retry = confirmed(&a).await;
    assert_eq!(
        b.receive(owner(1), &retry).unwrap_err().reason(),
        "foreign_request_state"
    );
    assert!(passes(&a.call(owner(1), &retry, FORMS).await.0));
}

#[tokio::test]
async fn a_replica_without_a_port_is_the_only_one_that_honours_its_questions() {
    let keys = KeyFile::new(&[1]);
    let b = Replica::shared(&keys).await;
    let seal = std::sync::Arc::new(crate::seal::Seal::new("uid", Some(keys.path())).unwrap());
    let a = Confirmations::new(seal, &endpoint(), None).unwrap();
    let mut received = a.receive(owner(1), &body(&pay()), false, now()).unwrap();
    let decision = a.gate(&mut received, &b.policy, "pay", FORMS).await;
    let retry = body(&retry(&pay(), &asked(decision), &yes()));
    assert_eq!(
        asked(b.call(owner(1), &retry, FORMS).await.0).because,
        Some(Refusal::HomeUnreachable)
    );
    let mut received = a.receive(owner(1), &retry, false, now()).unwrap();
    assert!(passes(&a.gate(&mut received, &b.policy, "pay", FORMS).await));
}

#[tokio::test]
async fn keys_are_rotated_while_confirmations_are_open() {
    let keys = KeyFile::new(&[1]);
    let (a, b) = (Replica::shared(&keys).await, Replica::shared(&keys).await);
    let retry = confirmed(&a).await;
    // Both know the new key; a seals with it already, b not yet.
    keys.write(&[1, 2]);
    b.seal.reload().unwrap();
    keys.write(&[2, 1]);
    a.seal.reload().unwrap();
    assert!(passes(&b.call(owner(1), &retry, FORMS).await.0));
    assert_eq!(
        asked(a.call(owner(1), &retry, FORMS).await.0).because,
        Some(Refusal::AlreadyUsed)
    );
}

#[tokio::test]
async fn an_answer_that_reaches_another_replica_finds_its_question() {
    let keys = KeyFile::new(&[1]);
    let (a, b) = (Replica::shared(&keys).await, Replica::shared(&keys).await);
    let session = Session::begin(&a.seal, None, true).unwrap();
    // The session is known to both by what the client presents.
    let presented = session.wrap(&a.seal, owner(1)).unwrap();
    let at_b = Session::open(&b.seal, owner(1), &presented).unwrap();
    assert_eq!(at_b, session);

    let client = Client::Legacy {
        session: Some(&session),
        streams: true,
    };
    let (decision, _) = a.call(owner(1), &body(&pay()), client).await;
    let Decision::Elicit(mut elicitation) = decision else {
        panic!()
    };
    let event = std::str::from_utf8(elicitation.event()).unwrap();
    let request: Value = serde_json::from_str(event.split_once("data: ").unwrap().1).unwrap();
    let (id, result) = (request["id"].to_string(), yes().to_string());
    let foreign = b.confirmations.answer(owner(2), Some(&at_b), &id, Some(&result)).await;
    assert_eq!(foreign, Answered::Refused(Refusal::Foreign));
    assert_eq!(
        b.confirmations.answer(owner(1), Some(&at_b), &id, Some(&result)).await,
        Answered::Taken
    );
    assert_eq!(elicitation.answered().await, Ok(()));
    let again = b.confirmations.answer(owner(1), Some(&at_b), &id, Some(&result)).await;
    assert_eq!(again, Answered::Refused(Refusal::Expired));

    a.stop().await;
    let gone = b.confirmations.answer(owner(1), Some(&at_b), &id, Some(&result)).await;
    assert_eq!(gone, Answered::Refused(Refusal::HomeUnreachable));
}

/// Something else at the address of a home.
async fn stranger(answer: impl AsyncFn(TcpStream)) -> (std::net::SocketAddr, impl Future<Output = ()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, async move {
        loop {
            answer(listener.accept().await.unwrap().0).await;
        }
    })
}

fn spend(replica: &Replica) -> Request {
    Request {
        instance: replica.confirmations.home().instance(),
        owner: owner(1),
        nonce: Nonce([9; 16]),
        act: Act::Spend(replica.confirmations.home().deadline(Duration::from_mins(5))),
    }
}

#[tokio::test]
async fn who_has_no_key_can_neither_answer_nor_ask() {
    let keys = KeyFile::new(&[1]);
    let replica = Replica::shared(&keys).await;
    let other_keys = KeyFile::new(&[3]);
    let impostor = Replica::shared(&other_keys).await;

    let answered = peer::ask(&replica.seal, impostor.address.unwrap(), &spend(&replica)).await;
    assert!(answered.is_err(), "{answered:?}");
    let asked = peer::ask(&impostor.seal, replica.address.unwrap(), &spend(&replica)).await;
    assert!(asked.is_err(), "{asked:?}");
    // That did not use it up.
    assert_eq!(
        peer::ask(&replica.seal, replica.address.unwrap(), &spend(&replica))
            .await
            .unwrap(),
        Ok(())
    );
}

#[tokio::test]
async fn an_old_answer_is_worth_nothing_and_a_repeated_question_runs_nothing() {
    let keys = KeyFile::new(&[1]);
    let replica = Replica::shared(&keys).await;
    let home = replica.address.unwrap();
    let recorded = std::sync::Mutex::new((Vec::new(), Vec::new()));
    let (address, relay) = stranger(async |mut stream: TcpStream| {
        let mut upstream = TcpStream::connect(home).await.unwrap();
        let question = frame(&mut stream).await;
        upstream.write_all(&question).await.unwrap();
        let answer = frame(&mut upstream).await;
        stream.write_all(&answer).await.unwrap();
        *recorded.lock().unwrap() = (question, answer);
    })
    .await;
    let request = spend(&replica);
    let answered = tokio::select! {
        answered = peer::ask(&replica.seal, address, &request) => answered.unwrap(),
        () = relay => unreachable!(),
    };
    assert_eq!(answered, Ok(()));
    let (question, answer) = recorded.into_inner().unwrap();

    // The question again, as it was.
    let mut stream = TcpStream::connect(home).await.unwrap();
    stream.write_all(&question).await.unwrap();
    let again = frame(&mut stream).await;
    let again = replica
        .seal
        .open(
            Purpose::PeerAnswer,
            crate::seal::Owner::REPLICAS,
            std::str::from_utf8(&again[2..]).unwrap(),
        )
        .unwrap();
    assert_eq!(again.last(), Some(&2), "used up already");

    // The answer again, to another question.
    let (address, player) = stranger(async |mut stream: TcpStream| {
        frame(&mut stream).await;
        stream.write_all(&answer).await.unwrap();
    })
    .await;
    let answered = tokio::select! {
        answered = peer::ask(&replica.seal, address, &request) => answered,
        () = player => unreachable!(),
    };
    assert!(answered.is_err(), "{answered:?}");
}

async fn frame(stream: &mut TcpStream) -> Vec<u8> {
    let length = stream.read_u16().await.unwrap();
    let mut frame = length.to_be_bytes().to_vec();
    frame.resize(2 + usize::from(length), 0);
    stream.read_exact(&mut frame[2..]).await.unwrap();
    frame
}

#[tokio::test]
async fn a_home_that_says_nothing_costs_two_seconds_and_runs_nothing() {
    let keys = KeyFile::new(&[1]);
    let replica = Replica::shared(&keys).await;
    let (address, silent) = stranger(async |stream: TcpStream| {
        tokio::time::sleep(Duration::from_mins(1)).await;
        drop(stream);
    })
    .await;
    let request = spend(&replica);
    let answered = tokio::select! {
        answered = peer::ask(&replica.seal, address, &request) => answered,
        () = silent => unreachable!(),
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("it waits"),
    };
    assert!(matches!(answered, Err(PeerError::TimedOut(_))));
}

#[tokio::test]
async fn garbage_slow_and_idle_connections_do_not_stop_a_replica() {
    let keys = KeyFile::new(&[1]);
    let replica = Replica::shared(&keys).await;
    let address = replica.address.unwrap();
    for garbage in [
        &b"\xff\xffGET / HTTP/1.1\r\n\r\n"[..],
        b"\x00\x04AAAA",
        b"\x00\x00",
        b"\x04\x00",
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        // Nothing is said to who is no replica: the connection ends.
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(answer, b"");
    }
    let mut idle = Vec::new();
    for _ in 0..31 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    assert_eq!(
        peer::ask(&replica.seal, address, &spend(&replica)).await.unwrap(),
        Ok(())
    );
}

#[tokio::test]
async fn a_replica_hands_on_answers_of_the_right_owner_to_the_right_life_only() {
    let keys = KeyFile::new(&[1]);
    let replica = Replica::shared(&keys).await;
    let home = replica.confirmations.home();
    let mut waiter = home.wait(owner(1), Nonce([9; 16])).unwrap();
    let mut request = spend(&replica);
    request.act = Act::Deliver(Answer::Accepted);
    let ask = async |request: Request| {
        peer::ask(&replica.seal, replica.address.unwrap(), &request)
            .await
            .unwrap()
    };
    let mut foreign = request;
    foreign.owner = owner(2);
    assert_eq!(ask(foreign).await, Err(Refusal::Expired));
    let mut earlier = request;
    earlier.instance.0[0] ^= 1;
    assert_eq!(ask(earlier).await, Err(Refusal::HomeUnreachable));
    assert_eq!(ask(request).await, Ok(()));
    assert_eq!(waiter.answered(Duration::from_secs(1)).await, Ok(Answer::Accepted));
}
