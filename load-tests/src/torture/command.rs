//! What the recorder keeps: each command that was sent, and what was answered.

use serde_json::Value;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The shop's services.
    Service,
    /// An administrator.
    Admin,
    /// A till of the shop `s1`.
    Pos,
}

/// What a command is about, as the checker needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// Issues a card.
    Card,
    /// Points by hand; the key is the reason, so that the statement names the command.
    Adjust {
        /// Plus or minus.
        points: i64,
    },
    /// A till scans a pay code, which its recorder asks for first. Writes nothing.
    Scan,
    /// A cart is held.
    Hold {
        /// By a pay code's scan: another hold with the same code takes its place.
        scanned: bool,
    },
    /// A hold is captured for an order.
    Capture {
        /// Which.
        hold: String,
        /// For which.
        order: String,
    },
    /// A hold is released.
    Release {
        /// Which.
        hold: String,
    },
    /// An order of two pieces is placed.
    Placed {
        /// Which.
        order: String,
    },
    /// It is completed.
    Completed {
        /// Which.
        order: String,
        /// What it earns, points.
        earns: i64,
    },
    /// One of its two pieces comes back.
    Returned {
        /// Which.
        order: String,
        /// What is clawed back, points.
        takes: i64,
    },
    /// Something of the set-up, which no column is about.
    Other,
}

impl About {
    /// Whether it is an order event: told apart by `event_id`, and a repeat is answered `duplicate`.
    pub const fn is_event(&self) -> bool {
        matches!(self, Self::Placed { .. } | Self::Completed { .. } | Self::Returned { .. })
    }
}

/// A command.
#[derive(Debug, Clone)]
pub struct Command {
    /// Who sends it.
    pub role: Role,
    /// `POST` or `PUT`.
    pub method: &'static str,
    /// The route.
    pub path: String,
    /// The Idempotency-Key; of an order event also the `event_id`.
    pub key: String,
    /// The body.
    pub body: Value,
    /// Whose.
    pub customer: String,
    /// What it is about.
    pub about: About,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Whether it says that it was given before.
    pub replayed: bool,
    /// The body.
    pub body: Value,
}

impl Answer {
    /// Whether it says what became of the command: else it is to be repeated.
    pub const fn is_final(&self) -> bool {
        !matches!(self.status, 408 | 429 | 500..)
    }

    /// The body without what differs from answer to answer.
    pub fn plain(&self) -> Value {
        let mut body = self.body.clone();
        if let Some(map) = body.as_object_mut() {
            map.remove("request_id");
        }
        body
    }

    /// The outcome of an order event.
    pub fn outcome(&self) -> &str {
        self.body.pointer("/results/0/outcome").and_then(Value::as_str).unwrap_or_default()
    }
}

/// A command that was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// What.
    pub command: Command,
    /// How often it was sent until it was answered.
    pub tries: u32,
    /// Whether the first try came back without any answer: nobody could know whether it took effect.
    pub doubted: bool,
    /// Answers 500: something broke inside.
    pub broke: u32,
    /// Answers 503: not now, or not here.
    pub unready: u32,
    /// When it was first sent and when it was answered, milliseconds from the recorder's start.
    pub at: (u64, u64),
    /// What was answered at last, if anything was.
    pub answer: Option<Answer>,
}

impl Sent {
    /// The answer, where the command took effect.
    pub fn done(&self) -> Option<&Answer> {
        self.answer.as_ref().filter(|answer| answer.status < 300)
    }

    /// For people: what it was.
    pub fn name(&self) -> String {
        let Command { method, path, key, .. } = &self.command;
        format!("{method} {path} (key {key})")
    }
}
