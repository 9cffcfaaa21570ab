//! Where events go in tests.

use super::until;
use serde_json::Value;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex};

/// Takes every event.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The events without their places in the chain, and without the chain's beginning and end.
    pub fn events(&self) -> Vec<Value> {
        let events = self.text();
        let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut events: Vec<_> = events.filter(|event| event["kind"] == "egress").collect();
        for event in &mut events {
            event.as_object_mut().unwrap().remove("chain").unwrap();
        }
        events
    }

    /// Waits until there are `count` events.
    pub async fn wait(&self, count: usize) -> Vec<Value> {
        until(&format!("{count} events"), async || self.events().len() >= count).await;
        self.events()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A sink that can be blocked, as a pipe that nobody reads.
#[derive(Clone, Default)]
pub struct Gate {
    blocked: Arc<(Mutex<bool>, Condvar)>,
    pub lines: Lines,
}

impl Gate {
    pub fn block(&self, blocked: bool) {
        *self.blocked.0.lock().unwrap() = blocked;
        self.blocked.1.notify_all();
    }
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let blocked = self.blocked.0.lock().unwrap();
        drop(self.blocked.1.wait_while(blocked, |blocked| *blocked).unwrap());
        self.lines.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
