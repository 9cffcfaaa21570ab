//! Single requests of the modern era, from a client pod: for what no client lets its users see or choose.

use crate::{Context, Failure, Result, caller::Caller};
use serde::Deserialize;
use serde_json::{Map, Value, json};

const PROGRAM: &str = include_str!("../fixtures/ask.mjs");
const VERSION: &str = "2026-07-28";

/// A call of a tool, by a client that can ask its user.
#[derive(Clone, Debug)]
pub struct Ask {
    url: String,
    message: Value,
    headers: Map<String, Value>,
    more: Map<String, Value>,
}

/// What came back.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// Status of HTTP; none if there was no answer.
    pub status: Option<u16>,
    /// Header fields, their names in lower case.
    pub headers: Map<String, Value>,
    /// The body as it came.
    pub body: String,
    /// Why there was no answer.
    pub failed: String,
}

impl Ask {
    /// A call of `tool` at `url`.
    pub fn new(url: &str, tool: &str, arguments: &Value) -> Self {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": tool,
            "arguments": arguments,
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": VERSION,
                "io.modelcontextprotocol/clientCapabilities": { "elicitation": { "form": {} } },
                "io.modelcontextprotocol/clientInfo": { "name": "sallyport-e2e", "version": "1" },
            },
        } });
        let ask = Self {
            url: url.to_owned(),
            message,
            headers: Map::new(),
            more: Map::new(),
        };
        ask.header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", VERSION)
            .header("mcp-method", "tools/call")
            .header("mcp-name", tool)
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), json!(value));
        self
    }

    /// Showing a key or a token.
    #[must_use]
    pub fn bearing(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Connecting to `address`, whatever the URL says.
    #[must_use]
    pub fn at(self, address: &str, port: u16) -> Self {
        self.with("address", address).with("port", port)
    }

    /// Trusting this authority (PEM) alone.
    #[must_use]
    pub fn trusting(self, authority: &str) -> Self {
        self.with("ca", authority)
    }

    /// Showing this certificate, of which this is the key (PEM).
    #[must_use]
    pub fn certified(self, certificate: &str, key: &str) -> Self {
        self.with("cert", certificate).with("key", key)
    }

    /// The call again, with everything ticked that `asked` wants to be.
    ///
    /// # Errors
    ///
    /// When nothing is asked.
    pub fn confirmed(mut self, asked: &Asked) -> Result<Self> {
        let result = asked.message()?["result"].clone();
        let questions = result["inputRequests"].as_object();
        let questions = questions.context(format!("nothing is asked: {asked:?}"))?;
        let answers: Map<String, Value> = questions
            .iter()
            .map(|(key, question)| {
                let fields = question["params"]["requestedSchema"]["properties"].as_object();
                let ticked: Map<String, Value> = fields
                    .into_iter()
                    .flat_map(Map::keys)
                    .map(|name| (name.clone(), json!(true)))
                    .collect();
                (key.clone(), json!({ "action": "accept", "content": ticked }))
            })
            .collect();
        self.message["params"]["requestState"] = result["requestState"].clone();
        self.message["params"]["inputResponses"] = answers.into();
        Ok(self)
    }

    /// Sends it from the pod of `caller`.
    ///
    /// # Errors
    ///
    /// When the program does not run. A refusal is no error here.
    pub async fn from(&self, caller: &Caller) -> Result<Asked> {
        let mut told = self.more.clone();
        told.insert("url".to_owned(), json!(self.url));
        told.insert("headers".to_owned(), json!(self.headers));
        told.insert("body".to_owned(), json!(self.message.to_string()));
        let told = Value::from(told).to_string();
        let done = caller
            .exec(&["node", "--input-type=module", "-e", PROGRAM, &told])
            .await?;
        serde_json::from_str(&done.stdout).context(format!("read {done:?}"))
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }
}

impl Asked {
    /// The message that came, alone or as the last of an event stream.
    ///
    /// # Errors
    ///
    /// When none came.
    pub fn message(&self) -> Result<Value> {
        let data = self.body.lines().rev().find_map(|line| line.strip_prefix("data:"));
        serde_json::from_str(data.unwrap_or(&self.body)).context(format!("read the message of {self:?}"))
    }

    /// Text of the tool's result.
    ///
    /// # Errors
    ///
    /// When the tool did not run.
    pub fn text(&self) -> Result<String> {
        let message = self.message()?;
        let text = message["result"]["content"][0]["text"].as_str();
        text.map(str::to_owned)
            .ok_or_else(|| Failure::new(format!("the tool did not run: {self:?}")))
    }

    /// A header's value; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_ticked_and_its_state_goes_back() {
        let asked = Asked {
            body: "event: message\ndata: {\"result\":{\"requestState\":\"s\",\"inputRequests\":{\"q\":{\"params\":\
                   {\"requestedSchema\":{\"properties\":{\"run\":{}}}}}}}}\n\n"
                .to_owned(),
            ..Asked::default()
        };
        let ask = Ask::new("http://a/mcp", "t", &json!({})).confirmed(&asked).unwrap();
        assert_eq!(ask.message["params"]["requestState"], "s");
        let answers = json!({ "q": { "action": "accept", "content": { "run": true } } });
        assert_eq!(ask.message["params"]["inputResponses"], answers);
        assert!(asked.text().is_err());
    }
}
