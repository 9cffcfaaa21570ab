//! Whose the sidecar's port is while the sidecar is away: the two programs as the pod runs them, and a server that wants it.

use crate::support::{CALL, Server, client, json_answer, policy, post, program, until};
use http_body_util::BodyExt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket};
use tokio::process::{Child, Command};

const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"by":"the server behind the sidecar"}}"#;

/// How long the impostor tries.
const SIEGE: Duration = Duration::from_millis(700);

/// A pod: its policy file and the directory that the two programs share.
struct Pod {
    directory: PathBuf,
    port: u16,
}

impl Pod {
    async fn of(server: &Server, name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("sallyport-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let mut policy = policy(server.port);
        (policy.listen.port, policy.listen.admin_port) = (free().await, free().await);
        std::fs::write(directory.join("policy.json"), policy.to_text().unwrap()).unwrap();
        Self {
            directory,
            port: policy.listen.port,
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("ports.sock")
    }

    fn run(&self, arguments: &[&str], socket: Option<(&str, &Path)>) -> Child {
        let mut command = program();
        command
            .args(arguments)
            .arg("--policy")
            .arg(self.directory.join("policy.json"));
        if let Some((flag, path)) = socket {
            command.arg(flag).arg(path);
        }
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        quiet.kill_on_drop(true).spawn().unwrap()
    }

    /// A holder that has its ports, from whomever.
    async fn holder(&self) -> Child {
        let _ = std::fs::remove_file(self.socket());
        let holder = self.run(&["hold"], Some(("--socket", &self.socket())));
        until("the holder can be asked", async || self.socket().exists()).await;
        holder
    }

    fn sidecar(&self) -> Child {
        self.run(&["run"], Some(("--ports", &self.socket())))
    }

    /// A call is answered, by whomever: the body of the answer.
    async fn call(&self) -> String {
        let at = SocketAddr::from(([127, 0, 0, 1], self.port));
        let answered = async {
            let response = client().request(post(at, CALL)).await.unwrap();
            response.into_body().collect().await.unwrap().to_bytes()
        };
        let body = tokio::time::timeout(Duration::from_secs(10), answered).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    /// Whether the server gets the port, trying all ways in a loop.
    async fn is_taken_by_an_impostor(&self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < SIEGE {
            if impostor(self.port).is_some() {
                return true;
            }
            tokio::task::yield_now().await;
        }
        false
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// What a server does that wants the port: every address, sharing what can be shared.
fn impostor(port: u16) -> Option<TcpListener> {
    let addresses: [SocketAddr; 4] = [
        ([127, 0, 0, 1], port).into(),
        ([0, 0, 0, 0], port).into(),
        ([0, 0, 0, 0, 0, 0, 0, 1], port).into(),
        ([0, 0, 0, 0, 0, 0, 0, 0], port).into(),
    ];
    addresses.into_iter().find_map(|address| {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        };
        let socket = socket.ok()?;
        socket.set_reuseaddr(true).ok()?;
        socket.bind(address).ok()?;
        socket.listen(8).ok()
    })
}

async fn free() -> u16 {
    let bound = TcpListener::bind("127.0.0.1:0").await.unwrap();
    bound.local_addr().unwrap().port()
}

async fn fixture() -> Server {
    Server::start(async |_| json_answer(RESULT)).await
}

async fn terminate(child: &mut Child) {
    let id = child.id().unwrap().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .await
            .unwrap()
            .success()
    );
    child.wait().await.unwrap();
}

#[tokio::test]
async fn a_held_port_is_nobody_elses_however_the_sidecar_ends_and_callers_meanwhile_wait_for_it() {
    let server = fixture().await;
    let pod = Pod::of(&server, "held").await;
    let _holder = pod.holder().await;
    for in_order in [false, true, false] {
        let mut sidecar = pod.sidecar();
        assert_eq!(pod.call().await, RESULT);
        if in_order {
            terminate(&mut sidecar).await;
        } else {
            sidecar.kill().await.unwrap();
        }
        assert!(!pod.is_taken_by_an_impostor().await, "ended in order: {in_order}");
    }
    let (answer, _sidecar) = tokio::join!(pod.call(), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        pod.sidecar()
    });
    assert_eq!(answer, RESULT);
}

#[tokio::test]
async fn a_port_whose_holder_ends_is_the_sidecars_and_the_next_holder_gets_it_back() {
    let server = fixture().await;
    let pod = Pod::of(&server, "given-back").await;
    let mut holder = pod.holder().await;
    let mut sidecar = pod.sidecar();
    for _ in 0..2 {
        assert_eq!(pod.call().await, RESULT);
        holder.kill().await.unwrap();
        assert!(!pod.is_taken_by_an_impostor().await, "the sidecar alone");
        assert_eq!(pod.call().await, RESULT, "the sidecar serves on");
        holder = pod.holder().await;
        // Long enough for the sidecar to find it.
        tokio::time::sleep(Duration::from_secs(1)).await;
        sidecar.kill().await.unwrap();
        assert!(!pod.is_taken_by_an_impostor().await, "the next holder alone");
        sidecar = pod.sidecar();
    }
    assert_eq!(pod.call().await, RESULT);
}

#[tokio::test]
async fn a_port_that_nobody_holds_is_taken_as_soon_as_the_sidecar_is_killed_and_the_sidecar_is_kept_out() {
    let server = fixture().await;
    let pod = Pod::of(&server, "free").await;
    let mut sidecar = pod.run(&["run"], None);
    until("it answers", async || {
        client()
            .request(post(([127, 0, 0, 1], pod.port).into(), CALL))
            .await
            .is_ok()
    })
    .await;
    sidecar.kill().await.unwrap();
    let impostor = impostor(pod.port);
    assert!(impostor.is_some());
    let ended = pod.run(&["run"], None).wait().await.unwrap();
    assert_eq!(ended.code(), Some(5));
}

#[tokio::test]
async fn a_holder_whose_port_somebody_else_has_says_so_after_it_waited_for_a_sidecar() {
    let server = fixture().await;
    let pod = Pod::of(&server, "foreign").await;
    let _foreign = impostor(pod.port).unwrap();
    let begun = Instant::now();
    let ended = pod
        .run(&["hold"], Some(("--socket", &pod.socket())))
        .wait()
        .await
        .unwrap();
    assert_eq!(ended.code(), Some(5));
    assert!(begun.elapsed() > Duration::from_secs(4), "{:?}", begun.elapsed());
}
