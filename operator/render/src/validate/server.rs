//! The server container: image, transport, writable directories, resources, environment.

use super::{ValidateError, secret_name, unique};
use crate::{
    Amounts,
    containers::CREDENTIALS_PATH,
    endpoint::{Server, ServerTransport, Stdio},
    syntax,
    writable::{self, WritableDir},
};
use sallyport_api::{
    quantity::Amount,
    v1alpha1::{
        self as api, Credential, Resources, SIDECAR_ADMIN_PORT, SIDECAR_PEER_PORT, SIDECAR_PORT, SIGNER_PORT,
        StdioTransport, Writable, WritablePath, WritablePreset,
    },
};
use std::collections::BTreeSet;

/// Directories that an image or the kubelet fills; an empty one over them would break the server or hide a mount.
const SYSTEM_PATHS: &[&str] = &[
    "/proc",
    "/sys",
    "/dev",
    "/etc",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/usr",
    "/boot",
    "/root",
    "/run",
    "/var/run",
    "/var/lib",
    "/var/cache/sallyport",
    "/sallyport",
    "/tmp",
];

/// Variables that steer egress or load code into the server.
const RESERVED_ENV: &[&str] = &[
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "NODE_USE_ENV_PROXY",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "LD_AUDIT",
];

const RESERVED_ENV_PREFIXES: &[&str] = &["SALLYPORT_", "KUBERNETES_"];

/// Words that, as the last word of a variable's name or followed by '_', make its value look like a secret.
const SECRET_WORDS: &[&str] = &[
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "APIKEY",
    "API_KEY",
    "PRIVATEKEY",
    "PRIVATE_KEY",
    "ACCESSKEY",
    "ACCESS_KEY",
    "CREDENTIAL",
    "CREDENTIALS",
];

/// Variables that steer how a program runs, beside those that are reserved: a file of a credential must not decide that.
const STEERING_ENV: &[&str] = &["PATH", "HOME", "TMPDIR", "NODE_OPTIONS", "PYTHONPATH"];

pub(super) fn server(server: &api::Server, credentials: &[Credential]) -> Result<Server, ValidateError> {
    if !syntax::is_pinned_image(&server.image) {
        return Err(ValidateError::Image {
            image: server.image.clone(),
        });
    }
    if server.command.first().is_some_and(String::is_empty) {
        return Err(ValidateError::Command);
    }
    let (transport, path) = transport(server, credentials)?;
    Ok(Server {
        image: server.image.clone(),
        image_pull_secrets: server
            .image_pull_secrets
            .iter()
            .map(|name| secret_name(name))
            .collect::<Result<_, _>>()?,
        command: server.command.clone(),
        args: server.args.clone(),
        transport,
        path,
        writable: writable(&server.writable)?,
        amounts: amounts(&server.resources)?,
        env: env(server)?,
    })
}

fn transport(server: &api::Server, credentials: &[Credential]) -> Result<(ServerTransport, String), ValidateError> {
    let (transport, path) = match (&server.transport.http, &server.transport.stdio) {
        (Some(http), None) => {
            if http.port < 1024
                || [SIDECAR_PORT, SIDECAR_PEER_PORT, SIDECAR_ADMIN_PORT, SIGNER_PORT].contains(&http.port)
            {
                return Err(ValidateError::Port { port: http.port });
            }
            (ServerTransport::Http { port: http.port }, &http.path)
        }
        (None, Some(stdio)) => {
            if server.command.is_empty() {
                return Err(ValidateError::StdioCommand);
            }
            let environment = environment(stdio, server, credentials)?;
            let sessions = stdio.sessions;
            (ServerTransport::Stdio(Stdio { sessions, environment }), &stdio.path)
        }
        _ => return Err(ValidateError::Transport),
    };
    if !syntax::is_url_path(path) {
        return Err(ValidateError::Path { path: path.clone() });
    }
    Ok((transport, path.clone()))
}

/// Variables that the bridge sets, each with the file of a credential that holds its value.
fn environment(
    stdio: &StdioTransport,
    server: &api::Server,
    credentials: &[Credential],
) -> Result<Vec<(String, String)>, ValidateError> {
    let mut seen: BTreeSet<_> = server.env.iter().map(|variable| variable.name.as_str()).collect();
    let variables = stdio.environment_from.iter().map(|variable| {
        let name = &variable.name;
        unique("server.transport.stdio.environmentFrom[].name", name, &mut seen)?;
        if !syntax::is_env_name(name) {
            return Err(ValidateError::EnvName { name: name.clone() });
        }
        if is_reserved(name) || STEERING_ENV.contains(&name.to_ascii_uppercase().as_str()) {
            return Err(ValidateError::EnvironmentReserved { name: name.clone() });
        }
        if !credentials
            .iter()
            .any(|credential| credential.name == variable.credential)
        {
            return Err(ValidateError::EnvironmentCredential {
                variable: name.clone(),
                credential: variable.credential.clone(),
            });
        }
        if !syntax::is_data_key(&variable.key) {
            return Err(ValidateError::DataKey {
                field: "server.transport.stdio.environmentFrom[].key".to_owned(),
                key: variable.key.clone(),
            });
        }
        let file = format!("{CREDENTIALS_PATH}/{}/{}", variable.credential, variable.key);
        Ok((name.clone(), file))
    });
    variables.collect()
}

/// Presets in their own order, then the user's paths sorted: what comes from a set must not depend on its order.
fn writable(writable: &Writable) -> Result<Vec<WritableDir>, ValidateError> {
    let presets: BTreeSet<_> = writable.presets.iter().copied().collect();
    if presets.contains(&WritablePreset::NodeCache) && presets.contains(&WritablePreset::PythonCache) {
        return Err(ValidateError::Presets);
    }
    let mut paths: Vec<_> = writable.paths.iter().collect();
    paths.sort_by(|one, other| one.path.cmp(&other.path));
    let mut seen = BTreeSet::new();
    let own = paths.into_iter().enumerate().map(|(index, dir)| {
        unique("writable.paths[].path", &dir.path, &mut seen)?;
        own_dir(index, dir)
    });
    presets
        .into_iter()
        .map(|preset| Ok(writable::preset_dir(preset)))
        .chain(own)
        .collect()
}

fn own_dir(index: usize, dir: &WritablePath) -> Result<WritableDir, ValidateError> {
    let path = &dir.path;
    if !syntax::is_absolute_dir(path) {
        return Err(ValidateError::WritablePath { path: path.clone() });
    }
    let holds = |outer: &str, inner: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if SYSTEM_PATHS
        .iter()
        .any(|system| holds(system, path) || holds(path, system))
    {
        return Err(ValidateError::SystemPath { path: path.clone() });
    }
    let field = format!("writable.paths[{path}].sizeLimit");
    Ok(WritableDir {
        volume: format!("writable-{index}"),
        path: path.clone(),
        bytes: whole(in_range(&field, &dir.size_limit, "1", "64Gi")?),
    })
}

fn amounts(resources: &Resources) -> Result<Amounts, ValidateError> {
    let memory = in_range("resources.memory", &resources.memory, "16Mi", "512Gi")?;
    let disk = in_range(
        "resources.ephemeralStorage",
        &resources.ephemeral_storage,
        "16Mi",
        "64Gi",
    )?;
    Ok(Amounts {
        cpu_milli: in_range("resources.cpu", &resources.cpu, "10m", "64")?,
        memory_bytes: whole(memory),
        ephemeral_storage_bytes: whole(disk),
    })
}

/// `amount` in thousandths of its unit.
fn in_range(field: &str, amount: &Amount, least: &'static str, most: &'static str) -> Result<i64, ValidateError> {
    let milli = |amount: &Amount| {
        amount.milli().map_err(|source| ValidateError::Amount {
            field: field.to_owned(),
            source,
        })
    };
    let range = milli(&Amount::new(least))?..=milli(&Amount::new(most))?;
    let value = milli(amount)?;
    let fits = range.contains(&value).then(|| i64::try_from(value).ok()).flatten();
    fits.ok_or_else(|| ValidateError::AmountRange {
        field: field.to_owned(),
        amount: amount.as_str().to_owned(),
        least,
        most,
    })
}

/// Whole units, rounded up.
fn whole(milli: i64) -> i64 {
    (milli + 999) / 1000
}

/// Presets' variables first, without those that the user sets; then the user's, in their order.
fn env(server: &api::Server) -> Result<Vec<(String, String)>, ValidateError> {
    let mut seen = BTreeSet::new();
    for variable in &server.env {
        let name = &variable.name;
        unique("server.env[].name", name, &mut seen)?;
        if !syntax::is_env_name(name) {
            return Err(ValidateError::EnvName { name: name.clone() });
        }
        if is_reserved(name) {
            return Err(ValidateError::EnvReserved { name: name.clone() });
        }
        if looks_secret(name, &variable.value) {
            return Err(ValidateError::EnvSecret { name: name.clone() });
        }
    }
    let presets: BTreeSet<_> = server.writable.presets.iter().copied().collect();
    let preset_env = presets
        .into_iter()
        .flat_map(writable::preset_env)
        .filter(|(name, _)| !seen.contains(name))
        .map(|&(name, value)| (name.to_owned(), value.to_owned()));
    let own = server
        .env
        .iter()
        .map(|variable| (variable.name.clone(), variable.value.clone()));
    Ok(preset_env.chain(own).collect())
}

fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    RESERVED_ENV.contains(&name.as_str()) || RESERVED_ENV_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// A heuristic, as scanners have it: the name ends in, or holds before an '_', a word for a secret, and the value is
/// neither empty nor a path nor a number nor a truth value. `MAX_TOKENS` and `TOKEN_LIMIT: 4096` pass.
fn looks_secret(name: &str, value: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let names_secret = SECRET_WORDS
        .iter()
        .any(|word| name.ends_with(word) || name.contains(&format!("{word}_")));
    let harmless = value.is_empty()
        || value.starts_with('/')
        || matches!(value, "true" | "false")
        || value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && value.len() <= 10;
    names_secret && !harmless
}
