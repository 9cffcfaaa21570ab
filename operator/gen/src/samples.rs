//! Samples: endpoints that users start from. They are text, for the sake of the comments; the tests read each of them by
//! the API types and render it.

use crate::files::File;

/// Every sample.
pub fn all() -> Vec<File> {
    let samples = [
        ("config/samples/minimal.yaml", MINIMAL),
        ("config/samples/everything.yaml", EVERYTHING),
        ("config/samples/credentials.yaml", CREDENTIALS),
        ("config/samples/python.yaml", PYTHON),
        ("config/samples/stateless.yaml", STATELESS),
        ("config/samples/hosts.yaml", HOSTS),
        ("config/samples/injected.yaml", INJECTED),
        ("config/samples/api-keys.yaml", API_KEYS),
        ("config/samples/oauth.yaml", OAUTH),
        ("config/samples/stdio.yaml", STDIO),
    ];
    samples
        .into_iter()
        .map(|(path, text)| File {
            path,
            text: text.trim_start().to_owned(),
        })
        .collect()
}

const MINIMAL: &str = "
# The least that an endpoint needs. Nobody may call it and it may reach nothing: add access and egress.
apiVersion: sallyport.dev/v1alpha1
kind: McpEndpoint
metadata:
  name: minimal
  namespace: team-a
spec:
  server:
    image: registry.example/mcp/server@sha256:1111111111111111111111111111111111111111111111111111111111111111
    transport:
      http:
        port: 3001
";

const EVERYTHING: &str = "
# Most of what an endpoint can say.
apiVersion: sallyport.dev/v1alpha1
kind: McpEndpoint
metadata:
  name: everything
  namespace: team-a
spec:
  server:
    image: registry.example/mcp/everything@sha256:2222222222222222222222222222222222222222222222222222222222222222
    command: [node, /app/index.js, streamableHttp]
    transport:
      http:
        port: 3001
        path: /mcp
    # The root file system is read-only besides these.
    writable:
      presets: [Tmp, NodeCache]
      paths:
        - path: /data
          sizeLimit: 64Mi
    resources:
      cpu: 250m
      memory: 256Mi
      ephemeralStorage: 128Mi
    env:
      - name: LOG_LEVEL
        value: info
  # A file per key of the Secret, under /var/run/secrets/sallyport/upstream/
  credentials:
    - name: upstream
      from:
        sealedSecret:
          name: upstream-token
  # Pods of every namespace with this label may call.
  access:
    from:
      - namespace:
          matchLabels:
            team: agents
  egress:
    allow:
      - cidr: 203.0.113.10/32
        ports: [443]
      - service:
          namespace: data
          selector:
            app: postgres
          # Ports that the pods listen on, not the Service's.
          ports: [5432]
  audit:
    arguments: Digest
  replicas: 1
";

const HOSTS: &str = "
# A server that calls hosts of the Internet by name. It gets no resolver: its HTTP client has to heed HTTPS_PROXY, which
# leads it to an egress gateway of its own that checks the name, the addresses behind it and the TLS server name.
apiVersion: sallyport.dev/v1alpha1
kind: McpEndpoint
metadata:
  name: github
  namespace: team-a
spec:
  server:
    image: registry.example/mcp/github@sha256:6666666666666666666666666666666666666666666666666666666666666666
    transport:
      http:
        port: 3001
  access:
    from:
      - namespace:
          matchLabels:
            team: agents
  egress:
    allow:
      # Port 443, unless ports say otherwise.
      - host: api.github.com
      # Every name below, not githubusercontent.com itself.
      - host: \"*.githubusercontent.com\"
    # Audit would let every public host through and record which: kubectl mcpe egress suggest reads the records.
    mode: Enforce
";

const INJECTED: &str = "
# A server that uses a token which it never holds: the egress gateway ends TLS for this one host, adds the token to every
# request, and speaks TLS with the host. The gateway leads the server there whether it heeds HTTPS_PROXY or not.
apiVersion: sallyport.dev/v1alpha1
kind: McpEndpoint
metadata:
  name: issues
  namespace: team-a
spec:
  server:
    image: registry.example/mcp/issues@sha256:7777777777777777777777777777777777777777777777777777777777777777
    transport:
      http:
        port: 3001
  credentials:
    - name: github
      from:
        sealedSecret:
          name: github-token
  access:
    from:
      - namespace:
          matchLabels:
            team: agents
  egress:
    allow:
      - host: api.github.com
        # For servers that ignore HTTPS_PROXY: /etc/hosts leads the name to the gateway. One name, no wildcard.
        transparent: true
        inject:
          credential: github
          # Key of the Secret.
          key: token
          # Both are what they would be anyway.
          header: Authorization
          prefix: \"Bearer \"
";

const CREDENTIALS: &str = "
# A server that needs two tokens: one sealed in Git, one that somebody else puts into a Secret.
apiVersion: sallyport.dev/v1alpha1
kind: McpEndpoint
metadata:
  name: tickets
  namespace: team-a
spec:
  server:
    image: registry.example/mcp/tickets@sha256:3333333333333333333333333333333333333333333333333333333333333333
    transport:
      http:
        port: 8000
    env:
      # Servers get the path of a file, never a secret itself.
      - name: TICKETS_TOKEN_FILE
        value: /var/run/secrets/sallyport/tickets/token
  credentials:
    - name: tickets
      from:
        sealedSecret:
          name: tickets-token
    - name: directory
      from:
        secret:
          name: directory-token
  access:
    from:
      # One entry with both parts: these pods of these namespaces.
      - namespace:
          matchLabels:
            kubernetes.io/metadata.name: agents
        pods:
          matchLabels:
            app: support-agent
  egress:
    allow:
      - cidr: 198.51.100.0/24
        except: [198.51.100.128/25]
        ports: [443]
";

const PYTHON: &str = "
# A Python server that compiles byte code and caches models at start.
apiVersion: sallyport.dev/v1alpha1
kind: McpEndpoint
metadata:
  name: analysis
  namespace: team-b
spec:
  server:
    image: registry.example/mcp/analysis@sha256:4444444444444444444444444444444444444444444444444444444444444444
    args: [--port, \"8000\"]
    transport:
      http:
        port: 8000
    writable:
      presets: [Tmp, PythonCache]
    resources:
      cpu: 1
      memory: 1Gi
  access:
    from:
      - pods:
          matchLabels:
            app: notebook
";

const STATELESS: &str = "
# A server that keeps no sessions can run in several pods.
apiVersion: sallyport.dev/v1alpha1
kind: McpEndpoint
metadata:
  name: lookup
  namespace: team-b
spec:
  server:
    image: registry.example/mcp/lookup@sha256:5555555555555555555555555555555555555555555555555555555555555555
    transport:
      http:
        port: 3001
  access:
    from:
      - namespace:
          matchLabels:
            team: agents
  # Bounded by its limits alone: the operator keeps no quota for this namespace unless another endpoint asks for one.
  isolation:
    quota: None
  replicas: 3
";

const API_KEYS: &str = "
# Callers prove who they are by API keys; each role may call its own tools.
apiVersion: sallyport.dev/v1alpha1
kind: McpEndpoint
metadata:
  name: search
  namespace: team-a
spec:
  server:
    image: registry.example/mcp/search@sha256:7777777777777777777777777777777777777777777777777777777777777777
    transport:
      http:
        port: 3001
  access:
    from:
      - namespace:
          matchLabels:
            team: agents
  authentication:
    # The Secret holds hashes of the keys under the key keys.json. The audit sidecar alone reads it.
    apiKeys:
      from:
        sealedSecret:
          name: search-keys
  # As soon as there is a rule, what no rule allows is denied and not shown.
  authorization:
    rules:
      - name: readers
        from:
          - roles: [reader, admin]
        tools: [search, read_*]
      - name: admins
        from:
          - roles: [admin]
        tools: [\"*\"]
  tools:
    # Tools that no entry names are Destructive; calls of those are confirmed by a person.
    sideEffects:
      - tools: [search, read_*]
        sideEffect: ReadOnly
      - tools: [index_*]
        sideEffect: Write
    arguments:
      - tools: [\"*\"]
        bounds:
          maxStringLength: 1024
  limits:
    rates:
      perPrincipal:
        requests: 120
        seconds: 60
        burst: 20
";

const OAUTH: &str = "
# An OAuth 2.1 resource server in two pods, reached from outside at https://mcp.example.com/mcp.
apiVersion: sallyport.dev/v1alpha1
kind: McpEndpoint
metadata:
  name: files
  namespace: team-a
spec:
  server:
    image: registry.example/mcp/files@sha256:8888888888888888888888888888888888888888888888888888888888888888
    transport:
      http:
        port: 3001
  access:
    from:
      - namespace:
          matchLabels:
            kubernetes.io/metadata.name: ingress
    externalUrl: https://mcp.example.com/mcp
  authentication:
    oauth:
      # Tokens have to be issued for this URL.
      resource: https://mcp.example.com/mcp
      scopesSupported: [files:read, files:write]
      issuers:
        # Reached through the endpoint's egress gateway; its host is allowed there without an entry of egress.
        - issuer: https://login.example.com/
          jwks:
            url: https://login.example.com/.well-known/jwks.json
  # tls.crt and tls.key.
  tls:
    from:
      sealedSecret:
        name: files-tls
  authorization:
    rules:
      - name: read
        tools: [read_*, list_*]
        requires:
          scopes: [files:read]
      - name: write
        tools: [write_*]
        requires:
          scopes: [files:write]
          # A stolen token alone is not enough: the user signed in by a second factor within the last 5 minutes.
          stepUp:
            acr: [mfa]
            maxAgeSeconds: 300
          arguments:
            values:
              - at: /path
                path:
                  roots: [/data]
    scopeImplications:
      files:write: [files:read]
  # Both pods open what either sealed: one key a line, 32 bytes in base64.
  sealing:
    from:
      sealedSecret:
        name: files-sealing
  replicas: 2
";

const STDIO: &str = "
# A server that speaks over standard input and output, and reads its token from its environment alone.
apiVersion: sallyport.dev/v1alpha1
kind: McpEndpoint
metadata:
  name: github-stdio
  namespace: team-a
spec:
  server:
    image: registry.example/mcp/github@sha256:9999999999999999999999999999999999999999999999999999999999999999
    # Needed: the bridge runs it.
    command: [/server/github-mcp-server, stdio]
    transport:
      stdio:
        # Each MCP session has a process of its own.
        sessions: PerSession
        environmentFrom:
          - name: GITHUB_PERSONAL_ACCESS_TOKEN
            credential: github
            key: token
  credentials:
    - name: github
      from:
        sealedSecret:
          name: github-token
  access:
    from:
      - namespace:
          matchLabels:
            team: agents
  egress:
    allow:
      - host: api.github.com
";

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_api::McpEndpoint;
    use sallyport_render::{Amounts, ClusterNetworks, Facts, Settings, validate};

    #[test]
    fn every_sample_is_an_endpoint_that_renders() {
        let settings = Settings {
            sidecar_image: format!("registry.example/sidecar@sha256:{}", "0".repeat(64)),
            egress_image: format!("registry.example/egress@sha256:{}", "0".repeat(64)),
            sidecar_amounts: Amounts::SIDECAR,
            priority_class: "sallyport-endpoint".into(),
            cluster_domain: "cluster.local".into(),
            operator_namespace: "sallyport-system".into(),
            cluster_networks: ClusterNetworks::default(),
            operator_pod_labels: [("app".to_owned(), "sallyport".to_owned())].into(),
        };
        for file in all() {
            let mut endpoint: McpEndpoint = serde_saphyr::from_str(&file.text).unwrap();
            endpoint.metadata.uid = Some("0".into());
            validate(&endpoint, &settings, &Facts::default()).unwrap();
        }
    }
}
