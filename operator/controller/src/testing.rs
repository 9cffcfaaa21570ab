//! An API server in process: enough of its behaviour to run the whole operator against it.
//!
//! It stores objects by path, counts generations, serves lists and watches by label, merges server-side applies, keeps
//! managedFields by whole top-level field, and fails on demand.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use kube::{Client, client::Body};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
};

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A request that was served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    pub method: Method,
    pub path: String,
    pub query: String,
}

/// Answers matching requests with an error status instead.
#[derive(Clone, Debug)]
struct Fault {
    method: Option<Method>,
    path: String,
    code: u16,
    times: usize,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Value>,
    log: Vec<(u64, String, Value)>,
    version: u64,
    served: Vec<Served>,
    faults: Vec<Fault>,
    silent: bool,
}

/// The server; clones share its state.
#[derive(Clone, Debug)]
pub struct ApiServer {
    state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<usize>>,
}

impl Default for ApiServer {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            changed: Arc::new(watch::channel(0).0),
        }
    }
}

impl ApiServer {
    /// A client of this server.
    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.serve(request).await) }
        });
        Client::new(service, "default")
    }

    /// Stores an object as if a user had created it.
    pub fn put(&self, path: &str, mut object: Value) {
        let mut state = self.lock();
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.entry("uid").or_insert_with(|| json!(format!("uid-of-{path}")));
        metadata.entry("generation").or_insert_with(|| json!(1));
        metadata.entry("name").or_insert_with(|| json!(path.rsplit('/').next()));
        self.store(&mut state, path, object);
    }

    /// Changes a stored object as field manager `manager`, which then owns the named top-level field.
    pub fn edit(&self, path: &str, manager: &str, owned: &Value, change: impl FnOnce(&mut Value)) {
        let mut state = self.lock();
        let mut object = state.objects[path].clone();
        change(&mut object);
        let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
        object["metadata"]["generation"] = json!(generation + 1);
        if !owned.is_null() {
            let entry = json!({"manager": manager, "operation": "Update", "fieldsV1": owned});
            object["metadata"]["managedFields"].as_array_mut().unwrap().push(entry);
        }
        self.store(&mut state, path, object);
    }

    /// Sets a stored object's status, as its controller would.
    pub fn set_status(&self, path: &str, status: Value) {
        let mut state = self.lock();
        let mut object = state.objects[path].clone();
        object["status"] = status;
        self.store(&mut state, path, object);
    }

    /// Deletes an object. Watches hear of it, unless they are silenced.
    pub fn delete(&self, path: &str) {
        let mut state = self.lock();
        let object = state.objects.remove(path).unwrap();
        state.version += 1;
        self.tell(&mut state, "DELETED", object);
    }

    /// Whether watches hear of changes from now on.
    pub fn silence(&self, silent: bool) {
        self.lock().silent = silent;
    }

    /// A stored object.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.lock().objects.get(path).cloned()
    }

    /// All stored objects.
    pub fn objects(&self) -> Vec<Value> {
        self.lock().objects.values().cloned().collect()
    }

    /// Fails requests whose path contains `path`, as many times.
    pub fn fail(&self, method: Method, path: &str, code: u16, times: usize) {
        let fault = Fault {
            method: Some(method),
            path: path.to_owned(),
            code,
            times,
        };
        self.lock().faults.push(fault);
    }

    /// Fails every request from now on.
    pub fn fail_everything(&self, code: u16) {
        let fault = Fault {
            method: None,
            path: String::new(),
            code,
            times: usize::MAX,
        };
        self.lock().faults.push(fault);
    }

    /// Writes that were served so far, in order.
    pub fn writes(&self) -> Vec<Served> {
        let served = self.lock().served.clone();
        served
            .into_iter()
            .filter(|served| served.method != Method::GET)
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn store(&self, state: &mut State, path: &str, mut object: Value) {
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        let known = state.objects.insert(path.to_owned(), object.clone()).is_some();
        self.tell(state, if known { "MODIFIED" } else { "ADDED" }, object);
    }

    fn tell(&self, state: &mut State, type_: &str, mut object: Value) {
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        if !state.silent {
            state.log.push((state.version, type_.to_owned(), object));
            self.changed.send_replace(state.log.len());
        }
    }

    async fn serve(&self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let body = body.collect_bytes().await.unwrap();
        let served = Served {
            method: parts.method.clone(),
            path: path.clone(),
            query: query.clone(),
        };
        if let Some(code) = self.fault(served) {
            return failure(code, "injected");
        }
        // The kind is there while the document that says so is. Without it, the real API server answers in plain text.
        if path.starts_with(CILIUM) && self.get(CILIUM).is_none() {
            let mut response = Response::new(Full::from("404 page not found").boxed_unsync());
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        }
        if query.contains("watch=true") {
            return self.watch(&path, &query);
        }
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let (resource, subresource) = match path.strip_suffix("/status") {
            Some(resource) => (resource.to_owned(), true),
            None => (path, false),
        };
        match parts.method {
            Method::GET => self.read(&resource, &query),
            Method::POST => self.create(&resource, body),
            Method::PATCH => self.apply(&resource, &query, &body, subresource),
            Method::PUT => self.replace(&resource, body),
            Method::DELETE => {
                let known = self.get(&resource).is_some();
                if known {
                    self.delete(&resource);
                }
                if known {
                    ok(&json!({"kind": "Status", "status": "Success"}))
                } else {
                    failure(404, "not found")
                }
            }
            _ => failure(405, "method not allowed"),
        }
    }

    fn fault(&self, served: Served) -> Option<u16> {
        let mut state = self.lock();
        let fault = state.faults.iter_mut().find(|fault| {
            let method = fault.method.as_ref().is_none_or(|method| *method == served.method);
            fault.times > 0 && method && served.path.contains(&fault.path)
        });
        let code = fault.map(|fault| {
            fault.times -= 1;
            fault.code
        });
        state.served.push(served);
        code
    }

    fn read(&self, path: &str, query: &str) -> Answer {
        if let Some(object) = self.get(path) {
            return ok(&object);
        }
        if !is_collection(path) {
            return failure(404, "not found");
        }
        let state = self.lock();
        let items: Vec<_> = state
            .objects
            .iter()
            .filter(|(key, object)| is_in(path, key) && selected(query, object))
            .map(|(_, object)| object.clone())
            .collect();
        ok(&json!({
            "kind": "List", "apiVersion": "v1",
            "metadata": {"resourceVersion": state.version.to_string()},
            "items": items,
        }))
    }

    fn create(&self, collection: &str, object: Value) -> Answer {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let path = format!("{collection}/{name}");
        if self.get(&path).is_some() {
            return failure(409, "exists");
        }
        self.put(&path, object);
        ok(&self.get(&path).unwrap())
    }

    fn apply(&self, path: &str, query: &str, body: &Value, status: bool) -> Answer {
        let mut state = self.lock();
        let stored = state.objects.get(path).cloned();
        let wanted_uid = &body["metadata"]["uid"];
        if !wanted_uid.is_null() && stored.as_ref().map(|stored| &stored["metadata"]["uid"]) != Some(wanted_uid) {
            return failure(409, "uid mismatch");
        }
        let mut next = stored
            .clone()
            .unwrap_or_else(|| json!({"metadata": {"uid": format!("uid-{}", state.version)}}));
        if status {
            next["status"] = body["status"].clone();
        } else {
            merge(&mut next, body);
            if stored.is_none() && path.contains("/services/") {
                next["spec"]["clusterIP"] = json!(format!("10.96.0.{}", state.version % 250 + 1));
            }
            let fields = body
                .as_object()
                .unwrap()
                .keys()
                .filter(|key| !matches!(key.as_str(), "apiVersion" | "kind"));
            let fields: Map<_, _> = fields.map(|key| (format!("f:{key}"), json!({}))).collect();
            let manager = query
                .split('&')
                .find_map(|pair| pair.strip_prefix("fieldManager="))
                .unwrap_or("unnamed");
            let own = json!({"manager": manager, "operation": "Apply", "fieldsV1": fields});
            let entries = next["metadata"]["managedFields"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let others = entries.into_iter().filter(|entry| entry["manager"] != manager);
            next["metadata"]["managedFields"] = others.chain([own]).collect();
        }
        if Some(&next) != stored.as_ref() {
            let generation = next["metadata"]["generation"].as_i64().unwrap_or(0) + i64::from(!status);
            next["metadata"]["generation"] = json!(generation);
            self.store(&mut state, path, next);
        }
        ok(&state.objects[path])
    }

    fn replace(&self, path: &str, mut object: Value) -> Answer {
        let mut state = self.lock();
        let Some(stored) = state.objects.get(path).cloned() else {
            return failure(404, "not found");
        };
        let version = &object["metadata"]["resourceVersion"];
        if !version.is_null() && *version != stored["metadata"]["resourceVersion"] {
            return failure(409, "modified");
        }
        if let Some(entries) = object["metadata"]["managedFields"].as_array_mut() {
            entries.retain(|entry| entry["manager"] == "sallyport");
        }
        if !stored["status"].is_null() {
            object["status"] = stored["status"].clone();
        }
        self.store(&mut state, path, object);
        ok(&state.objects[path])
    }

    fn watch(&self, path: &str, query: &str) -> Answer {
        let since = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("resourceVersion="))
            .unwrap_or("0");
        let since: u64 = since.parse().unwrap();
        let start = self.lock().log.iter().position(|(version, ..)| *version > since);
        let start = start.unwrap_or_else(|| self.lock().log.len());
        let seed = (
            self.clone(),
            self.changed.subscribe(),
            start,
            path.to_owned(),
            query.to_owned(),
        );
        let events = futures::stream::unfold(seed, |(server, mut changed, mut at, path, query)| async move {
            loop {
                let next = server.lock().log.get(at).cloned();
                let Some((_, type_, object)) = next else {
                    changed.wait_for(|length| *length > at).await.ok()?;
                    continue;
                };
                at += 1;
                if is_in(&path, &path_of(&path, &object)) && kind_fits(&path, &object) && selected(&query, &object) {
                    let line = format!("{}\n", json!({"type": type_, "object": object}));
                    let frame = Ok::<_, Infallible>(Frame::data(Bytes::from(line)));
                    return Some((frame, (server, changed, at, path, query)));
                }
            }
        });
        Response::new(StreamBody::new(events).boxed_unsync())
    }
}

/// Lists the kinds of Cilium's API group, if a test puts it there.
pub const CILIUM: &str = "/apis/cilium.io/v2";

const COLLECTIONS: &[(&str, &str)] = &[
    ("mcpendpoints", "McpEndpoint"),
    ("mcpendpointclasses", "McpEndpointClass"),
    ("networkpolicies", "NetworkPolicy"),
    ("ciliumnetworkpolicies", "CiliumNetworkPolicy"),
    ("serviceaccounts", "ServiceAccount"),
    ("configmaps", "ConfigMap"),
    ("services", "Service"),
    ("resourcequotas", "ResourceQuota"),
    ("poddisruptionbudgets", "PodDisruptionBudget"),
    ("deployments", "Deployment"),
    ("pods", "Pod"),
    ("sealedsecrets", "SealedSecret"),
    ("nodes", "Node"),
    ("endpointslices", "EndpointSlice"),
];

fn is_collection(path: &str) -> bool {
    COLLECTIONS
        .iter()
        .any(|(plural, _)| path.ends_with(&format!("/{plural}")))
}

fn kind_fits(collection: &str, object: &Value) -> bool {
    COLLECTIONS
        .iter()
        .any(|(plural, kind)| collection.ends_with(&format!("/{plural}")) && object["kind"] == *kind)
}

/// Whether the object at `key` is listed under `collection`, which names one namespace or all.
fn is_in(collection: &str, key: &str) -> bool {
    let Some((prefix, plural)) = collection.rsplit_once('/') else {
        return false;
    };
    let namespaced = prefix.contains("/namespaces/");
    let parent = key.rsplit_once('/').map_or("", |(parent, _)| parent);
    if namespaced {
        parent == collection
    } else {
        parent.starts_with(prefix) && parent.ends_with(&format!("/{plural}"))
    }
}

/// Where an object of a watched collection is stored.
fn path_of(collection: &str, object: &Value) -> String {
    let (prefix, plural) = collection.rsplit_once('/').unwrap_or_default();
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => {
            let group = prefix.split_once("/namespaces/").map_or(prefix, |(group, _)| group);
            format!("{group}/namespaces/{namespace}/{plural}/{name}")
        }
        None => format!("{collection}/{name}"),
    }
}

fn selected(query: &str, object: &Value) -> bool {
    let Some(selector) = query.split('&').find_map(|pair| pair.strip_prefix("labelSelector=")) else {
        return true;
    };
    let selector = selector.replace("%2F", "/").replace("%3D", "=").replace("%2C", ",");
    selector.split(',').all(|term| match term.split_once('=') {
        Some((key, value)) => object["metadata"]["labels"][key] == value,
        None => !object["metadata"]["labels"][term].is_null(),
    })
}

/// Objects merge; lists of named items merge by name; everything else is replaced.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) if from.iter().any(|item| item["name"].is_string()) => {
            for item in from {
                match into.iter_mut().find(|known| known["name"] == item["name"]) {
                    Some(known) => merge(known, item),
                    None => into.push(item.clone()),
                }
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn ok(object: &Value) -> Answer {
    Response::new(Full::from(object.to_string()).boxed_unsync())
}

fn failure(code: u16, message: &str) -> Answer {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 if message == "exists" => "AlreadyExists",
        409 => "Conflict",
        _ => "InternalError",
    };
    let status = json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message});
    let mut response = ok(&status);
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

/// A sidecar's admin port that answers every request the same way.
pub async fn sidecar(status: &'static str, body: String) -> SocketAddr {
    answering(move |_| (status, body.clone())).await
}

/// A sidecar's admin port that answers by path.
pub async fn answering(answer: impl Fn(&str) -> (&'static str, String) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).await.unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let (status, body) = answer(request.split(' ').nth(1).unwrap_or_default());
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

/// Waits until `holds`, for thirty seconds at most.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen");
}
