//! One call by the official Rust SDK: both eras. Takes and prints what the programs in `programs/` do.

use clap::{Parser, ValueEnum};
use rmcp::model::{
    CallToolRequestParams, ClientCapabilities, ClientConfig, ContentBlock, ElicitRequestParams, ElicitResult,
    ElicitationAction, Implementation, ProtocolVersion,
};
use rmcp::service::{ClientInitializeError, ClientLifecycleMode, ClientServiceExt, RequestContext, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::{StreamableHttpClientTransportConfig, StreamableHttpError};
use rmcp::{ClientHandler, ErrorData, RoleClient};
use sallyport_clients::{Failure, Report};
use serde_json::{Map, Value};
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Parser)]
struct Args {
    url: String,
    #[arg(long)]
    tool: String,
    #[arg(long = "args", default_value = "{}")]
    arguments: String,
    #[arg(long)]
    key: Option<String>,
    #[arg(long, default_value = "legacy")]
    era: String,
    #[arg(long)]
    answer: Option<Answer>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Answer {
    Accept,
    Decline,
}

/// The client's side of the conversation.
#[derive(Clone)]
struct User {
    answer: Option<Answer>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ClientHandler for User {
    fn get_info(&self) -> ClientConfig {
        let capabilities = match self.answer {
            Some(_) => ClientCapabilities::builder().enable_elicitation().build(),
            None => ClientCapabilities::default(),
        };
        ClientConfig::new(capabilities, Implementation::new("rmcp", "1.0.0"))
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let ElicitRequestParams::FormElicitationParams {
            message,
            requested_schema,
            ..
        } = request
        else {
            return Ok(ElicitResult::new(ElicitationAction::Cancel));
        };
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        let Some(Answer::Accept) = self.answer else {
            return Ok(ElicitResult::new(ElicitationAction::Decline));
        };
        let schema = serde_json::to_value(requested_schema).unwrap_or_default();
        let fields = schema["properties"].as_object().cloned().unwrap_or_default();
        let ticked: Map<String, Value> = fields
            .into_iter()
            .map(|(name, field)| {
                let value = if field["type"] == "boolean" {
                    true.into()
                } else {
                    "text".into()
                };
                (name, value)
            })
            .collect();
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(ticked.into()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let user = User {
        answer: args.answer,
        asked: Arc::default(),
    };
    let mut report = Report::default();
    if let Err(error) = call(&args, user.clone(), &mut report).await {
        report.error = Some(describe(error.as_ref()));
    }
    report
        .asked
        .clone_from(&user.asked.lock().unwrap_or_else(PoisonError::into_inner));
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

async fn call(args: &Args, user: User, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let mut config = StreamableHttpClientTransportConfig::with_uri(args.url.as_str());
    if let Some(key) = &args.key {
        config = config.auth_header(key);
    }
    let lifecycle = if args.era == "modern" {
        ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::LATEST],
            legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
        }
    } else {
        ClientLifecycleMode::Initialize
    };
    let transport = StreamableHttpClientTransport::from_config(config);
    let client = user.serve_with_lifecycle(transport, lifecycle).await?;
    report.protocol = client.peer_info().map(|server| server.protocol_version.to_string());
    report.tools = client
        .list_all_tools()
        .await?
        .into_iter()
        .map(|tool| tool.name.to_string())
        .collect();
    let mut request = CallToolRequestParams::new(args.tool.clone());
    request.arguments = serde_json::from_str(&args.arguments)?;
    let result = client.call_tool(request).await?;
    report.is_error = result.is_error == Some(true);
    report.text = result
        .content
        .first()
        .and_then(ContentBlock::as_text)
        .map(|text| text.text.clone());
    Ok(())
}

/// The variant, and what it holds of HTTP and of JSON-RPC. What the transport raised is inside of an error of its caller.
fn describe(error: &(dyn Error + 'static)) -> Failure {
    let mut failure = Failure {
        class: "Other".into(),
        message: error.to_string(),
        ..Failure::default()
    };
    let mut rpc = |data: &ErrorData| {
        failure.class = "McpError".into();
        failure.code = Some(data.code.0.into());
        failure.message = data.message.to_string();
    };
    match (
        error.downcast_ref::<ServiceError>(),
        error.downcast_ref::<ClientInitializeError>(),
    ) {
        (Some(ServiceError::McpError(data)), _) | (_, Some(ClientInitializeError::JsonRpcError(data))) => rpc(data),
        (Some(ServiceError::TransportSend(sent)), _)
        | (_, Some(ClientInitializeError::TransportError { error: sent, .. })) => {
            failure.message = sent.to_string();
            let inner = sent.error.downcast_ref::<StreamableHttpError<reqwest::Error>>();
            match inner {
                Some(StreamableHttpError::InsufficientScope(challenge)) => {
                    failure.class = "InsufficientScope".into();
                    failure.scope.clone_from(&challenge.required_scope);
                    failure.message.clone_from(&challenge.www_authenticate_header);
                }
                Some(StreamableHttpError::AuthRequired(challenge)) => {
                    failure.class = "AuthRequired".into();
                    failure.message.clone_from(&challenge.www_authenticate_header);
                }
                Some(StreamableHttpError::HttpStatus(status)) => {
                    failure.class = "HttpStatus".into();
                    failure.status = Some(status.status);
                }
                Some(StreamableHttpError::UnexpectedServerResponse(_)) => {
                    failure.class = "UnexpectedServerResponse".into();
                }
                _ => failure.class = "TransportSend".into(),
            }
        }
        _ => {}
    }
    failure
}
