//! Task ids, wherever they stand in messages: those of the tasks extension (modern) and of MCP 2025-11-25 (legacy).
//!
//! Ids that the client gave to tasks of its own (legacy: the server asks the client for long-running work) are left alone:
//! those in requests of the server, in responses of the client and in its `notifications/tasks/status`.

use super::envelope::{Foreign, Owner, Purpose, Seal, SealError};
use super::json::{Edits, JsonError, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";
const RELATED_TASK_IDS: &str = "io.modelcontextprotocol/relatedTaskIds";

/// A task by both of its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// What the server calls it.
    pub server_id: String,
    /// What the client presented.
    pub presented: String,
}

/// Why a task id is not passed on.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// Not a message that can be read.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Of another principal, another endpoint, or never issued.
    #[error("there is no such task")]
    Foreign(#[from] Foreign),
    /// Too long.
    #[error("the server's task id cannot be passed on: {0}")]
    Seal(#[from] SealError),
}

/// Replaces the ids in a request or notification of the client by the server's own. Says which tasks it speaks of, the one
/// that it is sent to first.
///
/// # Errors
///
/// When one of them is not a task of this owner.
pub fn open(
    seal: &Seal,
    owner: Owner,
    method: &str,
    root: &Value<'_>,
    edits: &mut Edits,
) -> Result<Vec<Task>, TaskError> {
    let mut ids = Vec::new();
    let Some(params) = root.get("params")? else {
        return Ok(Vec::new());
    };
    if method.starts_with("tasks/") {
        ids.extend(params.get("taskId")?);
    }
    if let Some(listed) = params.at(&["notifications", "taskIds"])? {
        ids.extend(listed.elements());
    }
    if let Some(meta) = params.get("_meta")? {
        ids.extend(meta.at(&[RELATED_TASK, "taskId"])?);
        let related = meta.get(RELATED_TASK_IDS)?;
        ids.extend(related.iter().flat_map(Value::elements));
    }
    let mut tasks = Vec::new();
    for id in ids {
        let presented = id.string()?.ok_or(JsonError::Unexpected("a task id"))?;
        let server_id = String::from_utf8(seal.open(Purpose::Task, owner, &presented)?).map_err(|_| Foreign)?;
        edits.replace_string(&id, &server_id)?;
        tasks.push(Task {
            server_id,
            presented: presented.into_owned(),
        });
    }
    Ok(tasks)
}

/// Replaces the id of a task that a client's response speaks of, if it is one of the server's.
///
/// # Errors
///
/// When the response cannot be read.
pub fn open_related(seal: &Seal, owner: Owner, root: &Value<'_>, edits: &mut Edits) -> Result<(), JsonError> {
    let Some(id) = root.at(&["result", "_meta", RELATED_TASK, "taskId"])? else {
        return Ok(());
    };
    let Some(presented) = id.string()? else { return Ok(()) };
    if let Ok(server_id) = seal.open(Purpose::Task, owner, &presented) {
        edits.replace_string(&id, &String::from_utf8_lossy(&server_id))?;
    }
    Ok(())
}

/// Replaces the ids in a message of the server by envelopes for `owner`. `method` is that of the request that it answers;
/// `known` are the tasks that the request spoke of, which keep the names that the client used.
///
/// # Errors
///
/// When an id is too long for an envelope.
pub fn wrap(
    seal: &Seal,
    owner: Owner,
    method: Option<&str>,
    known: &[Task],
    root: &Value<'_>,
    edits: &mut Edits,
) -> Result<(), TaskError> {
    let mut ids = Vec::new();
    if let Some(result) = root.get("result")? {
        let is_task = result
            .get("resultType")?
            .map(|kind| kind.string())
            .transpose()?
            .flatten()
            .is_some_and(|kind| kind == "task");
        if is_task || method.is_some_and(|method| method.starts_with("tasks/") && method != "tasks/result") {
            ids.extend(result.get("taskId")?);
        }
        ids.extend(result.at(&["task", "taskId"])?);
        if method == Some("tasks/list") {
            for task in result.get("tasks")?.iter().flat_map(Value::elements) {
                ids.extend(task.get("taskId")?);
            }
        }
        ids.extend(result.at(&["_meta", RELATED_TASK, "taskId"])?);
    }
    if let (Some(method), Some(params)) = (root.get("method")?, root.get("params")?) {
        if method
            .string()?
            .is_some_and(|method| method.starts_with("notifications/tasks"))
        {
            ids.extend(params.get("taskId")?);
        }
        if let Some(listed) = params.at(&["notifications", "taskIds"])? {
            ids.extend(listed.elements());
        }
        ids.extend(params.at(&["_meta", RELATED_TASK, "taskId"])?);
    }
    for id in ids {
        // What is no string is no id, and nothing that a client could present.
        let Some(server_id) = id.string()? else { continue };
        let wrapped = match known.iter().find(|task| task.server_id == server_id) {
            Some(task) => task.presented.clone(),
            None => seal.seal_repeatably(Purpose::Task, owner, server_id.as_bytes())?,
        };
        edits.replace_string(&id, &wrapped)?;
    }
    Ok(())
}

/// The `Mcp-Name` of a request for the task `id` (MCP 2026-07-28, streamable HTTP): as it is where a header can carry it,
/// else as `=?base64?...?=`.
pub fn mcp_name(id: &str) -> Option<HeaderValue> {
    let plain = id.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
        && id.trim() == id
        && !id.is_empty()
        && !(id.starts_with("=?base64?") && id.ends_with("?="));
    let value = if plain {
        id.to_owned()
    } else {
        format!("=?base64?{}?=", STANDARD.encode(id))
    };
    HeaderValue::from_str(&value).ok()
}
