//! Where records go in tests.

use super::until;
use serde_json::Value;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex};

/// Takes every record.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The records without their places in the chain, and without the chain's beginning and end. Of a stream, its end.
    pub fn records(&self) -> Vec<Value> {
        let records = self.text();
        let records = records.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let is_end = |record: &Value| record["kind"] == "audit" && record["event"] != "stream_open";
        let mut records: Vec<_> = records.filter(is_end).collect();
        for record in &mut records {
            record.as_object_mut().unwrap().remove("chain").unwrap();
        }
        records
    }

    /// Waits until there are `count` records.
    pub async fn wait(&self, count: usize) -> Vec<Value> {
        until(&format!("{count} records"), async || self.records().len() >= count).await;
        self.records()
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

/// What a [`Gate`] does with a write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    /// As a pipe that nobody reads.
    Blocked,
    /// As a full disk; takes the first few bytes of every write, so that lines tear.
    Failing,
}

/// A sink that can be blocked and broken.
#[derive(Clone)]
pub struct Gate {
    door: Arc<(Mutex<Door>, Condvar)>,
    pub lines: Lines,
    taken: usize,
}

impl Gate {
    pub fn open() -> Self {
        Self {
            door: Arc::new((Mutex::new(Door::Open), Condvar::new())),
            lines: Lines::default(),
            taken: 0,
        }
    }

    pub fn block(&self) {
        self.set(Door::Blocked);
    }

    pub fn fail(&self) {
        self.set(Door::Failing);
    }

    pub fn heal(&self) {
        self.set(Door::Open);
    }

    fn set(&self, door: Door) {
        *self.door.0.lock().unwrap() = door;
        self.door.1.notify_all();
    }
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let door = self.door.0.lock().unwrap();
        let door = *self.door.1.wait_while(door, |door| *door == Door::Blocked).unwrap();
        if door == Door::Failing {
            self.taken += 1;
            return match self.taken % 2 {
                1 => self.lines.write(&bytes[..bytes.len().min(7)]),
                _ => Err(ErrorKind::StorageFull.into()),
            };
        }
        self.lines.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
