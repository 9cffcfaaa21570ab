use super::*;
use crate::keys::{HashError, mint};
use pretty_assertions::assert_eq;
use sallyport_policy::Principal;
use serde_json::{Value, json};

const NOW: Now = Now(1_800_000_000);

/// `hunter2`, at the lowest cost, made by another implementation.
const BCRYPT: &str = "$2b$04$KV.EdTywMkDiqzfPMQ1Ncu1hhLpNxGkLKE8V7YyKH2PpHIvTwyn82";
const ARGON2ID: &str = "$argon2id$v=19$m=64,t=1,p=2$6a1JYwzuAkj26qsePGuxQw$J4w564uWuo+Q+2LoAgCsCYtb0yXqVSK+FNUZVF9Zsvs";

fn mac() -> hmac::Key {
    hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).unwrap()
}

/// A ring over `keys`, and the directory that holds its file.
fn ring(keys: &Value) -> (KeyRing, Directory) {
    let directory = Directory::new();
    directory.write(&json!({ "keys": keys }));
    let ring = KeyRing::start(directory.file()).unwrap();
    (ring, directory)
}

struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let name = format!("sallyport-keys-{}", mint("x").unwrap().key.expose().split_off_secret());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("keys.json")
    }

    fn write(&self, content: &Value) {
        let fresh = self.0.join(".fresh");
        std::fs::write(&fresh, content.to_string()).unwrap();
        std::fs::rename(fresh, self.file()).unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

trait SplitOffSecret {
    fn split_off_secret(&self) -> &str;
}

impl SplitOffSecret for str {
    fn split_off_secret(&self) -> &str {
        split(self).unwrap().1
    }
}

async fn call(ring: &KeyRing, key: &str) -> Result<Principal, Reason> {
    ring.authenticate(&Secret::new(key), NOW, &()).await
}

fn sha256(secret: &str) -> String {
    KeyHash::sha256(secret).into()
}

#[tokio::test]
async fn a_minted_key_is_known_by_its_id_and_its_secret_alone() {
    let minted = mint("ci-1").unwrap();
    let key = minted.key.expose();
    let mut entry = serde_json::to_value(&minted.entry).unwrap();
    entry["subject"] = json!("alice");
    entry["client"] = json!("pipeline");
    entry["roles"] = json!(["dev"]);
    entry["scopes"] = json!(["read"]);
    assert!(!entry.to_string().contains(key.split_off_secret()));
    let other = json!({"id": "ci-2", "hash": sha256("other"), "client": "robot"});
    let (ring, _directory) = ring(&json!([entry, other]));

    let principal = call(&ring, key).await.unwrap();
    assert_eq!(principal.kind, PrincipalKind::ApiKey);
    assert_eq!(principal.subject.as_deref(), Some("alice"));
    assert_eq!(principal.client.as_deref(), Some("pipeline"));
    assert!(principal.roles.contains("dev") && principal.scopes.contains("read"));
    assert_eq!(principal.credential.as_deref(), Some("ci-1"));
    assert!(call(&ring, "mcpe_ci-2_other").await.unwrap().is_client_alone());

    let secret = key.split_off_secret();
    for wrong in [
        format!("mcpe_ci-2_{secret}"),
        format!("mcpe_CI-1_{secret}"),
        format!("mcpe_ci-1_{secret}x"),
        format!("mcpe_ci-1_{}", &secret[1..]),
        format!("mcpe_ci-1_{}", secret.to_ascii_lowercase()),
        format!("MCPE_ci-1_{secret}"),
        "mcpe_ci-1_".to_owned(),
        "mcpe__other".to_owned(),
        "mcpe_ci-1".to_owned(),
        "mcpe_../ci-1_x".to_owned(),
        format!("mcpe_ci-2_{}", "x".repeat(300)),
        // The hash itself, as whoever read the key file would try.
        format!("mcpe_ci-2_{}", sha256("other")),
        format!("mcpe_ci-2_{}", sha256("other").trim_start_matches("sha256:")),
    ] {
        assert_eq!(call(&ring, &wrong).await, Err(Reason::UnknownKey), "{wrong}");
    }
}

#[tokio::test]
async fn time_bounds_hold_and_only_who_has_the_secret_learns_of_them() {
    let key = |id: &str, field: &str, time: &str| json!({"id": id, "hash": sha256("s"), "subject": "a", field: time});
    let (ring, _directory) = ring(&json!([
        key("over", "expires", "2027-01-15T08:00:00Z"),
        key("last", "expires", "2027-01-15T08:00:01Z"),
        key("first", "notBefore", "2027-01-15T08:00:00Z"),
        key("early", "notBefore", "2027-01-15T08:00:01Z"),
    ]));
    assert_eq!(call(&ring, "mcpe_over_s").await, Err(Reason::Expired));
    assert_eq!(call(&ring, "mcpe_over_x").await, Err(Reason::UnknownKey));
    assert_eq!(call(&ring, "mcpe_last_s").await.unwrap().expires, Some(NOW.0 + 1));
    assert!(call(&ring, "mcpe_first_s").await.is_ok());
    assert_eq!(call(&ring, "mcpe_early_s").await, Err(Reason::NotYetValid));
}

#[tokio::test]
async fn imported_hashes_are_verified_once_and_remembered_for_that_secret_only() {
    let (ring, _directory) = ring(&json!([
        {"id": "b", "hash": BCRYPT, "subject": "bob"},
        {"id": "a", "hash": ARGON2ID, "subject": "ann"},
    ]));
    for (id, subject) in [("b", "bob"), ("a", "ann")] {
        let right = format!("mcpe_{id}_hunter2");
        assert_eq!(
            call(&ring, &format!("mcpe_{id}_hunter3")).await,
            Err(Reason::UnknownKey)
        );
        assert_eq!(call(&ring, &right).await.unwrap().subject.as_deref(), Some(subject));
        // With no turn to be had, only what is remembered passes.
        let turn = ring.slow.clone().acquire_owned().await.unwrap();
        assert!(call(&ring, &right).await.is_ok());
        tokio::time::pause();
        assert_eq!(
            call(&ring, &format!("mcpe_{id}_hunter3")).await,
            Err(Reason::Unavailable)
        );
        tokio::time::resume();
        drop(turn);
    }
}

#[tokio::test]
async fn a_flood_of_wrong_secrets_waits_in_a_bounded_queue() {
    let (ring, _directory) = ring(&json!([{"id": "b", "hash": BCRYPT, "subject": "bob"}]));
    let ring = Arc::new(ring);
    let turn = ring.slow.clone().acquire_owned().await.unwrap();
    let flood: Vec<_> = (0..SLOW_QUEUE)
        .map(|number| {
            let ring = ring.clone();
            tokio::spawn(async move { call(&ring, &format!("mcpe_unknown{number}_x")).await })
        })
        .collect();
    let full = async {
        while ring.slow_queue.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(4), full)
        .await
        .expect("unknown ids wait too");
    assert_eq!(call(&ring, "mcpe_b_one-more").await, Err(Reason::Unavailable));
    drop(turn);
    for waiting in flood {
        assert_eq!(waiting.await.unwrap(), Err(Reason::UnknownKey));
    }
    assert!(call(&ring, "mcpe_b_hunter2").await.is_ok());
}

/// So many slow hashes may be begun.
struct Few(std::sync::atomic::AtomicU32);

impl Attempts for Few {
    fn begin(&self, work: Work) -> Result<(), crate::TooManyFailures> {
        assert_eq!(work, Work::SlowHash);
        let taken = self.0.try_update(
            std::sync::atomic::Ordering::SeqCst,
            std::sync::atomic::Ordering::SeqCst,
            |left| left.checked_sub(1),
        );
        taken.map(drop).map_err(|_| crate::TooManyFailures(7))
    }

    fn take_back(&self, _: Work) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_sender_whose_secrets_were_wrong_gets_no_more_hashes_and_what_needs_none_goes_on() {
    let (ring, _directory) = ring(&json!([
        {"id": "b", "hash": BCRYPT, "subject": "bob"},
        {"id": "s", "hash": sha256("quick"), "subject": "sue"},
    ]));
    let few = Few(2.into());
    let call = async |key: &str| ring.authenticate(&Secret::new(key), NOW, &few).await;
    for _ in 0..5 {
        // The right secret costs nothing, hashed or remembered.
        assert!(call("mcpe_b_hunter2").await.is_ok());
        assert_eq!(few.0.load(std::sync::atomic::Ordering::SeqCst), 2);
    }
    for wrong in ["mcpe_b_x", "mcpe_b_y"] {
        assert_eq!(call(wrong).await, Err(Reason::UnknownKey));
    }
    let turn = ring.slow.clone().acquire_owned().await.unwrap();
    // With no turn to be had, a hash would end as unavailable: none is begun.
    assert_eq!(call("mcpe_b_z").await, Err(Reason::TooManyFailures(7)));
    drop(turn);
    assert!(call("mcpe_b_hunter2").await.is_ok(), "it is remembered");
    assert!(call("mcpe_s_quick").await.is_ok());
    assert_eq!(call("mcpe_s_slow").await, Err(Reason::UnknownKey));
}

#[tokio::test]
async fn a_hash_that_had_to_wait_too_long_is_no_failure() {
    let (ring, _directory) = ring(&json!([{"id": "b", "hash": BCRYPT, "subject": "bob"}]));
    let few = Few(1.into());
    let turn = ring.slow.clone().acquire_owned().await.unwrap();
    tokio::time::pause();
    for _ in 0..3 {
        let waited = ring.authenticate(&Secret::new("mcpe_b_hunter2"), NOW, &few).await;
        assert_eq!(waited, Err(Reason::Unavailable));
    }
    drop(turn);
}

#[tokio::test]
async fn an_unknown_id_costs_what_a_wrong_secret_costs_and_the_decoy_s_secret_does_not_open() {
    let (ring, _directory) = ring(&json!([{"id": "b", "hash": BCRYPT, "subject": "bob"}]));
    // The only key is the decoy of every unknown id.
    assert_eq!(call(&ring, "mcpe_nobody_hunter2").await, Err(Reason::UnknownKey));
    let turn = ring.slow.clone().acquire_owned().await.unwrap();
    tokio::time::pause();
    // It must wait for its turn as a wrong secret does: it is hashed.
    assert_eq!(call(&ring, "mcpe_nobody_x").await, Err(Reason::Unavailable));
    drop(turn);
}

#[test]
fn unknown_ids_have_decoys_all_over_the_file_and_each_always_the_same() {
    let entry = |id: usize| json!({"id": id.to_string(), "hash": sha256("s"), "subject": "a"});
    let file = json!({"keys": (0..8).map(entry).collect::<Vec<_>>()}).to_string();
    let keys = Keys::new(KeyFile::parse(file.as_bytes()).unwrap(), &HashMap::new());
    let mac = mac();
    let decoy = |id: usize| keys.decoy(&mac, &format!("u{id}")).unwrap().entry.id.clone();
    let seen: std::collections::BTreeSet<String> = (0..200).map(decoy).collect();
    assert_eq!(seen.len(), 8);
    assert!((0..200).all(|id| decoy(id) == decoy(id)));
    assert!(Keys::default().decoy(&mac, "u").is_none());
}

#[tokio::test]
async fn a_changed_key_file_holds_at_once_and_a_broken_one_keeps_the_old_and_shows() {
    let (ring, directory) = ring(&json!([{"id": "b", "hash": BCRYPT, "subject": "bob"}]));
    assert!(call(&ring, "mcpe_b_hunter2").await.is_ok());
    directory.write(&json!({"keys": [
        {"id": "b", "hash": BCRYPT, "subject": "bert"},
        {"id": "n", "hash": sha256("s"), "subject": "new"},
    ]}));
    while call(&ring, "mcpe_n_s").await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // What was verified once needs no turn, though the entry changed around the hash.
    let turn = ring.slow.clone().acquire_owned().await.unwrap();
    assert_eq!(
        call(&ring, "mcpe_b_hunter2").await.unwrap().subject.as_deref(),
        Some("bert")
    );
    drop(turn);

    directory.write(&json!({"keys": [{"id": "n", "hash": "hunter2", "subject": "new"}]}));
    while ring.problem().is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!ring.problem().unwrap().contains("hunter2"), "{:?}", ring.problem());
    assert!(call(&ring, "mcpe_n_s").await.is_ok());

    directory.write(&json!({"keys": []}));
    while call(&ring, "mcpe_n_s").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(call(&ring, "mcpe_b_hunter2").await, Err(Reason::UnknownKey));
    assert_eq!(ring.problem(), None);
}

#[tokio::test]
async fn without_a_key_file_nobody_is_known_and_it_shows() {
    let ring = KeyRing::start("/nowhere/keys.json".into()).unwrap();
    assert!(ring.problem().unwrap().contains("/nowhere/keys.json"));
    assert_eq!(call(&ring, "mcpe_a_b").await, Err(Reason::UnknownKey));
}

#[test]
fn key_files_that_leave_something_open_are_refused() {
    let good = json!({"id": "a", "hash": sha256("s"), "subject": "x"});
    let with = |name: &str, value: Value| {
        let mut entry = good.clone();
        entry[name] = value;
        json!({ "keys": [entry] }).to_string()
    };
    assert!(KeyFile::parse(with("client", json!("c")).as_bytes()).is_ok());
    let twice = json!({ "keys": [good, good] }).to_string();
    let nobody = json!({"keys": [{"id": "a", "hash": sha256("s")}]}).to_string();
    let named_twice = format!(
        "{{\"keys\": [{{\"id\": \"a\", \"id\": \"b\", \"hash\": {:?}, \"subject\": \"x\"}}]}}",
        sha256("s")
    );
    for text in [
        with("id", json!("")),
        with("id", json!("a_b")),
        with("id", json!("../a")),
        with("id", json!("a".repeat(65))),
        with("subject", json!("")),
        with("expires", json!("tomorrow")),
        with("expires", json!(1)),
        with("expiry", json!("2027-01-01T00:00:00Z")),
        with("secret", json!("s")),
        twice,
        nobody,
        named_twice,
        "[]".to_owned(),
        "{}".to_owned(),
        String::new(),
    ] {
        assert!(KeyFile::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_secret_in_a_wrong_place_does_not_show_in_the_complaint() {
    let key = |change: Value| {
        let mut key = json!({"id": "a", "hash": sha256("s"), "subject": "x"});
        key.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        json!({ "keys": [key] }).to_string()
    };
    for text in [
        key(json!({"roles": "hunter2"})),
        key(json!({"hash": "hunter2"})),
        key(json!({"hash": ["hunter2"]})),
        key(json!({"secret": "hunter2"})),
        json!({"keys": "hunter2"}).to_string(),
        json!("hunter2").to_string(),
        "hunter2".to_owned(),
    ] {
        let complaint = KeyFile::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(!complaint.contains("hunter2"), "{complaint}");
        assert!(complaint.contains("line 1"), "{complaint}");
    }
}

#[test]
fn hashes_that_are_weak_or_too_expensive_or_none_are_refused() {
    let read = |text: &str| KeyHash::try_from(text.to_owned());
    for text in [BCRYPT, ARGON2ID, &sha256("s")] {
        assert_eq!(String::from(read(text).unwrap()), text);
    }
    for text in [
        "hunter2",
        "",
        "sha256:",
        "sha256:zz",
        &sha256("s")[..70],
        "md5:00000000000000000000000000000000",
        "$1$salt$hash",
        "$2x$04$abcdefghijklmnopqrstuuu",
        "$2b$04$short",
        &ARGON2ID.replace("argon2id", "argon2i"),
        &ARGON2ID.replace("v=19", "v=16"),
        "$argon2id$v=19$m=8,t=1,p=1",
    ] {
        assert_eq!(read(text), Err(HashError::Form), "{text}");
    }
    for text in [
        BCRYPT.replacen("$04$", "$13$", 1),
        ARGON2ID.replacen("m=64", "m=1048576", 1),
        ARGON2ID.replacen("t=1", "t=1000", 1),
    ] {
        assert_eq!(read(&text), Err(HashError::Cost), "{text}");
    }
}

#[test]
fn a_bcrypt_hash_does_not_open_to_a_longer_secret_with_the_same_beginning() {
    // 71 bytes and the zero byte that ends them are all that bcrypt looks at.
    let (fits, long) = ("x".repeat(71), "x".repeat(72));
    let hash = |secret: &str| KeyHash::try_from(bcrypt::hash(secret, 4).unwrap()).unwrap();
    assert!(hash(&fits).verify(&Secret::new(fits)));
    assert!(!hash(&long).verify(&Secret::new(format!("{long}y"))));
    // Other verifiers take it.
    assert!(bcrypt::verify(format!("{long}y"), &String::from(hash(&long))).unwrap());
}

#[test]
fn minted_secrets_have_256_bits_and_never_show() {
    let (one, two) = (mint("a").unwrap(), mint("a").unwrap());
    let secret = one.key.expose().split_off_secret();
    assert_eq!(secret.len(), 43);
    assert!(secret.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_ne!(one.key.expose(), two.key.expose());
    assert!(!format!("{one:?}").contains(secret));
    assert!(mint("a_b").is_err() && mint("").is_err());
}
