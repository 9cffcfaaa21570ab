//! Every child deleted, and every security-relevant field edited by another field manager: restored.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, ResourceQuota, Service, ServiceAccount},
    events::v1::Event,
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Resource,
    api::{DeleteParams, DynamicObject, ListParams, PostParams},
    core::ApiResource,
};
use sallyport_e2e::{Context, Failure, Result, Scene, endpoint, objects::apply, wait::eventually_every};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Field manager of the edits.
const INTRUDER: &str = "intruder";
/// How long a repair may take on a busy machine. What it took is printed.
const REPAIR: Duration = Duration::from_mins(1);

/// One thing that is done to a child: where (a JSON pointer, `-` for one more list item) and what is written there, as
/// JSON; `null` removes.
struct Tamper(&'static str, &'static [(&'static str, &'static str)]);

const POLICY: &[Tamper] = &[
    Tamper(
        "podSelector selects nobody",
        &[("/spec/podSelector", r#"{"matchLabels": {"nobody": "here"}}"#)],
    ),
    Tamper(
        "podSelector has one more label",
        &[("/spec/podSelector/matchLabels/more", r#""yes""#)],
    ),
    Tamper("policyTypes without Egress", &[("/spec/policyTypes", r#"["Ingress"]"#)]),
    Tamper("ingress open to all", &[("/spec/ingress/-", "{}")]),
    Tamper("egress open to all", &[("/spec/egress/-", "{}")]),
    Tamper(
        "egress open to one more network",
        &[(
            "/spec/egress/-",
            r#"{"to": [{"ipBlock": {"cidr": "192.52.193.0/24"}}]}"#,
        )],
    ),
    Tamper(
        "without the endpoint's label",
        &[("/metadata/labels/sallyport.dev~1endpoint", "null")],
    ),
];

const FENCE: &[Tamper] = &[
    Tamper(
        "podSelector selects nobody",
        &[("/spec/podSelector", r#"{"matchLabels": {"nobody": "here"}}"#)],
    ),
    Tamper("policyTypes without Egress", &[("/spec/policyTypes", r#"["Ingress"]"#)]),
    Tamper("ingress open to all", &[("/spec/ingress/-", "{}")]),
    Tamper("egress open to all", &[("/spec/egress/-", "{}")]),
];

const QUOTA: &[Tamper] = &[
    Tamper("pods raised", &[("/spec/hard/pods", r#""100""#)]),
    Tamper("limits.cpu lifted", &[("/spec/hard/limits.cpu", "null")]),
    Tamper("memory raised", &[("/spec/hard/limits.memory", r#""1Ti""#)]),
];

const ACCOUNT: &[Tamper] = &[Tamper("token mounted", &[("/automountServiceAccountToken", "true")])];

const CONFIG: &[Tamper] = &[
    Tamper("policy file replaced", &[("/data/policy.json", r#""{}""#)]),
    Tamper("one more file", &[("/data/more", r#""yes""#)]),
];

const BUDGET: &[Tamper] = &[Tamper(
    "all pods may go at once",
    &[("/spec/maxUnavailable", r#""100%""#)],
)];

const SERVICE: &[Tamper] = &[
    Tamper("targetPort past the sidecar", &[("/spec/ports/0/targetPort", "3001")]),
    Tamper("selector of others", &[("/spec/selector", r#"{"app": "other"}"#)]),
    Tamper("selector with one more label", &[("/spec/selector/more", r#""yes""#)]),
    Tamper(
        "one more port",
        &[("/spec/ports/-", r#"{"name": "raw", "port": 3001, "protocol": "TCP"}"#)],
    ),
    Tamper("published on every node", &[("/spec/type", r#""NodePort""#)]),
];

const WORKLOAD: &[Tamper] = &[
    Tamper(
        "image replaced",
        &[(
            "/spec/template/spec/containers/0/image",
            r#""other.example/server@sha256:0000000000000000000000000000000000000000000000000000000000000000""#,
        )],
    ),
    Tamper(
        "command replaced",
        &[("/spec/template/spec/containers/0/command", r#"["/bin/true"]"#)],
    ),
    Tamper(
        "capability added",
        &[(
            "/spec/template/spec/containers/0/securityContext/capabilities/add",
            r#"["NET_RAW"]"#,
        )],
    ),
    Tamper(
        "privileged",
        &[
            ("/spec/template/spec/containers/0/securityContext/privileged", "true"),
            (
                "/spec/template/spec/containers/0/securityContext/allowPrivilegeEscalation",
                "true",
            ),
        ],
    ),
    Tamper(
        "writable root file system",
        &[(
            "/spec/template/spec/containers/0/securityContext/readOnlyRootFilesystem",
            "false",
        )],
    ),
    Tamper(
        "runs as root",
        &[
            ("/spec/template/spec/containers/0/securityContext/runAsNonRoot", "false"),
            ("/spec/template/spec/containers/0/securityContext/runAsUser", "0"),
        ],
    ),
    Tamper(
        "no seccomp",
        &[(
            "/spec/template/spec/containers/0/securityContext/seccompProfile",
            r#"{"type": "Unconfined"}"#,
        )],
    ),
    Tamper(
        "one more variable",
        &[(
            "/spec/template/spec/containers/0/env/-",
            r#"{"name": "LD_PRELOAD", "value": "/tmp/x.so"}"#,
        )],
    ),
    Tamper(
        "limit raised",
        &[("/spec/template/spec/containers/0/resources/limits/memory", r#""8Gi""#)],
    ),
    Tamper(
        "host network",
        &[
            ("/spec/template/spec/hostNetwork", "true"),
            ("/spec/template/spec/hostUsers", "true"),
        ],
    ),
    Tamper(
        "host processes",
        &[
            ("/spec/template/spec/hostPID", "true"),
            ("/spec/template/spec/hostUsers", "true"),
        ],
    ),
    Tamper(
        "one more container",
        &[(
            "/spec/template/spec/containers/-",
            r#"{"name": "extra", "image": "other.example/extra"}"#,
        )],
    ),
    Tamper(
        "service-account token mounted",
        &[("/spec/template/spec/automountServiceAccountToken", "true")],
    ),
    Tamper(
        "other service account",
        &[
            ("/spec/template/spec/serviceAccountName", r#""default""#),
            ("/spec/template/spec/serviceAccount", r#""default""#),
        ],
    ),
    Tamper(
        "host directory mounted",
        &[
            (
                "/spec/template/spec/volumes/-",
                r#"{"name": "host", "hostPath": {"path": "/"}}"#,
            ),
            (
                "/spec/template/spec/containers/0/volumeMounts/-",
                r#"{"name": "host", "mountPath": "/host"}"#,
            ),
        ],
    ),
    Tamper(
        "resolver of the cluster",
        &[("/spec/template/spec/dnsPolicy", r#""ClusterFirst""#)],
    ),
    Tamper(
        "other priority",
        &[("/spec/template/spec/priorityClassName", r#""system-cluster-critical""#)],
    ),
    Tamper("sidecar removed", &[("/spec/template/spec/initContainers", "[]")]),
    Tamper(
        "one more label on the pods",
        &[("/spec/template/metadata/labels/app", r#""other""#)],
    ),
    Tamper("more replicas", &[("/spec/replicas", "3")]),
];

const GATEWAY: &[Tamper] = &[
    Tamper(
        "image replaced",
        &[(
            "/spec/template/spec/containers/0/image",
            r#""other.example/gateway@sha256:0000000000000000000000000000000000000000000000000000000000000000""#,
        )],
    ),
    Tamper(
        "host network",
        &[
            ("/spec/template/spec/hostNetwork", "true"),
            ("/spec/template/spec/hostUsers", "true"),
        ],
    ),
];

#[tokio::test]
async fn every_child_that_is_deleted_or_tampered_with_is_restored() -> Result<()> {
    Scene::play_with_cpu(1000, "drift", async |scene| {
        let mut endpoint = endpoint::endpoint(&scene.cluster, "demo", "hostile")?;
        endpoint.spec.egress = serde_json::from_value(json!({ "allow": [{ "host": "api.example.com" }] }))?;
        apply(scene.client(), &scene.namespace, &endpoint).await?;
        endpoint::ready(scene.client(), &scene.namespace, "demo").await?;

        let mut repairs = Vec::new();
        repairs.extend(child::<NetworkPolicy>(scene, "demo", POLICY).await?);
        repairs.extend(child::<NetworkPolicy>(scene, "sallyport-fence", FENCE).await?);
        repairs.extend(child::<NetworkPolicy>(scene, "demo-egress", POLICY).await?);
        repairs.extend(child::<NetworkPolicy>(scene, "sallyport-fence-egress", FENCE).await?);
        repairs.extend(child::<Deployment>(scene, "demo-egress", GATEWAY).await?);
        repairs.extend(child::<ResourceQuota>(scene, "sallyport", QUOTA).await?);
        repairs.extend(child::<ServiceAccount>(scene, "demo", ACCOUNT).await?);
        repairs.extend(child::<ConfigMap>(scene, "demo", CONFIG).await?);
        repairs.extend(child::<PodDisruptionBudget>(scene, "demo", BUDGET).await?);
        repairs.extend(child::<Service>(scene, "demo", SERVICE).await?);
        repairs.extend(child::<Deployment>(scene, "demo", WORKLOAD).await?);

        for (what, took) in &repairs {
            println!("{:>6} ms | {what}", took.as_millis());
        }
        let mut times: Vec<_> = repairs.iter().map(|(_, took)| *took).collect();
        times.sort();
        println!(
            "{} repairs: median {} ms, slowest {} ms",
            times.len(),
            times[times.len() / 2].as_millis(),
            times.last().map_or(0, Duration::as_millis)
        );
        let events = Api::<Event>::namespaced(scene.client().clone(), &scene.namespace);
        let events = events.list(&ListParams::default()).await?;
        let notes = events.iter().filter_map(|event| event.note.as_deref());
        let named: Vec<_> = notes.filter(|note| note.contains(INTRUDER)).collect();
        println!("{}", named.join("\n"));
        assert!(!named.is_empty(), "no event names the field manager {INTRUDER}");
        endpoint::ready(scene.client(), &scene.namespace, "demo").await?;
        Ok(())
    })
    .await
}

/// Deletes the child and then tampers with it in each way; gives what was done and how long until it was as before.
async fn child<K: Resource<DynamicType = ()>>(
    scene: &Scene,
    name: &str,
    tampers: &[Tamper],
) -> Result<Vec<(String, Duration)>> {
    let resource = ApiResource::erase::<K>(&());
    let api = Api::<DynamicObject>::namespaced_with(scene.client().clone(), &scene.namespace, &resource);
    let title = format!("{} {name}", resource.kind);
    let before = body(&api, name).await.context(format!("look at {title}"))?;
    let mut repairs = vec![];

    let uid = api.get(name).await?.metadata.uid;
    let start = Instant::now();
    api.delete(name, &DeleteParams::background())
        .await
        .context(format!("delete {title}"))?;
    let what = format!("{title} deleted");
    let took = repaired(&api, name, &before, &what, start, async || {
        Ok(api.get(name).await?.metadata.uid != uid)
    })
    .await?;
    repairs.push((what, took));

    for Tamper(what, edits) in tampers {
        let what = format!("{title}: {what}");
        let start = loop {
            let mut object = serde_json::to_value(api.get(name).await?)?;
            for (pointer, value) in *edits {
                write(&mut object, pointer, serde_json::from_str(value)?);
            }
            let object: DynamicObject = serde_json::from_value(object)?;
            let parameters = PostParams {
                field_manager: Some(INTRUDER.to_owned()),
                ..PostParams::default()
            };
            let start = Instant::now();
            match api.replace(name, &parameters, &object).await {
                Ok(stored) => {
                    let stored = reduced(serde_json::to_value(stored)?);
                    assert_ne!(stored, before, "{what}: the edit was stored");
                    break start;
                }
                Err(kube::Error::Api(status)) if status.is_conflict() => {}
                Err(error) => return Err(error).context(what),
            }
        };
        let took = repaired(&api, name, &before, &what, start, async || Ok(true)).await?;
        repairs.push((what, took));
    }
    Ok(repairs)
}

/// Waits until the child is as `before`, and `also` holds; gives how long that took from `start` on.
async fn repaired(
    api: &Api<DynamicObject>,
    name: &str,
    before: &Value,
    what: &str,
    start: Instant,
    also: impl AsyncFn() -> Result<bool>,
) -> Result<Duration> {
    eventually_every(
        Duration::from_millis(10),
        &format!("{what}: restored"),
        REPAIR,
        async || {
            let now = body(api, name).await?;
            if also().await? && now == *before {
                Ok(start.elapsed())
            } else {
                Err(Failure::new(format!("is {now}, was {before}")))
            }
        },
    )
    .await
}

/// Writes `value` at `pointer`, making the objects and lists on the way.
fn write(object: &mut Value, pointer: &str, value: Value) {
    let mut keys = pointer.split('/').skip(1).map(|key| key.replace("~1", "/")).peekable();
    let mut place = object;
    while let Some(key) = keys.next() {
        let last = keys.peek().is_none();
        match place {
            Value::Array(items) if key == "-" => return items.push(value),
            Value::Null if key == "-" => return *place = json!([value]),
            Value::Object(fields) if last && value.is_null() => {
                fields.remove(&key);
                return;
            }
            Value::Array(items) => place = &mut items[key.parse::<usize>().unwrap_or_default()],
            other => place = &mut other[key.as_str()],
        }
    }
    *place = value;
}

async fn body(api: &Api<DynamicObject>, name: &str) -> Result<Value> {
    Ok(reduced(serde_json::to_value(api.get(name).await?)?))
}

/// What the operator answers for: everything but the status, and but what the API server or other controllers fill in.
fn reduced(mut object: Value) -> Value {
    let metadata = json!({
        "labels": object["metadata"]["labels"],
        "ownerReferences": object["metadata"]["ownerReferences"],
    });
    object["metadata"] = metadata;
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    if let Some(spec) = object["spec"].as_object_mut() {
        // A Service that is made anew gets another address.
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
    }
    object
}
