//! One client's connection: opened when it is needed, given up when anything is wrong with it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{
    command::{Answer, Command},
    deployment::{Keys, Target},
};
use crate::{Done, http};

/// See the module.
#[derive(Debug)]
pub struct Line {
    target: Arc<Target>,
    keys: Keys,
    client: usize,
    patience: Duration,
    /// How often it was sent on to another process.
    turn: usize,
    stream: Option<(SocketAddr, TcpStream)>,
    out: Vec<u8>,
    got: Vec<u8>,
}

impl Line {
    /// A client with this number, which waits so long for an answer.
    pub fn new(target: Arc<Target>, keys: Keys, client: usize, patience: Duration) -> Self {
        Self { target, keys, client, patience, turn: 0, stream: None, out: Vec::new(), got: Vec::new() }
    }

    /// Whether there is a process to ask.
    pub fn is_up(&self) -> bool {
        self.target.of(self.client, self.turn).is_some()
    }

    /// Asks its own process next, where that is there.
    pub fn turn_home(&mut self) {
        self.turn = 0;
    }

    /// Asks another process next, where there is one.
    pub fn turn_on(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// Sends a command. `None`: no answer came, and nobody knows whether it took effect.
    pub async fn send(&mut self, command: &Command) -> Option<Answer> {
        let headers = format!("Idempotency-Key: {}\r\n", command.key);
        self.out.clear();
        let key = self.keys.of(command.role);
        http::write(&mut self.out, command.method, &command.path, key, &headers, &command.body.to_string());
        self.ask().await
    }

    /// Reads.
    pub async fn get(&mut self, role: super::command::Role, path: &str) -> Option<Answer> {
        self.out.clear();
        http::write(&mut self.out, "GET", path, self.keys.of(role), "Accept: application/json\r\n", "");
        self.ask().await
    }

    async fn ask(&mut self) -> Option<Answer> {
        let answer = tokio::time::timeout(self.patience, self.converse()).await;
        let answer = answer.ok().and_then(Result::ok);
        if answer.is_none() {
            // An answer may still come on it, and would be taken for the next one's.
            self.stream = None;
        }
        answer
    }

    async fn converse(&mut self) -> Done<Answer> {
        let address = self.target.of(self.client, self.turn).ok_or("nobody listens")?;
        let mut stream = match self.stream.take() {
            Some((at, stream)) if at == address => stream,
            _ => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        stream.write_all(&self.out).await?;
        let (status, begins) = http::receive(&mut stream, &mut self.got).await?;
        let (head, body) = self.got.split_at_checked(begins).ok_or("no head")?;
        let head = std::str::from_utf8(head)?.to_ascii_lowercase();
        self.stream = Some((address, stream));
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(body)? };
        Ok(Answer { status, replayed: head.contains("\r\nidempotent-replay: true\r\n"), body })
    }
}
