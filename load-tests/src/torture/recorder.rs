//! The recorder: clients side by side on a thread of their own, each with one command under way. A command that is not
//! answered, or not for good (503), is sent again with the same key until it is, across whatever happens to the server,
//! and at another server where there is one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use adal_domain::time::Timestamp;
use serde_json::{Value, json};
use tokio::task::LocalSet;

use super::{
    command::{About, Command, Role, Sent},
    deployment::Deployment,
    line::Line,
    shopper::{self, Shopper},
};
use crate::{
    Done,
    clock::{Stopwatch, wall},
};

/// How long one try may take: a server that is stopped is then asked again.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a command is repeated: longer than any fault lasts.
const GIVE_UP: Duration = Duration::from_secs(180);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// What a thread says of itself.
type Told<T> = Result<T, String>;

/// What a client and the controlling thread tell each other.
#[derive(Debug, Clone)]
pub struct Pulse {
    /// Since when the load runs.
    pub watch: Stopwatch,
    answered: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Pulse {
    /// A command was answered.
    pub fn beat(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it is time to end.
    pub fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Load that is under way.
#[derive(Debug)]
pub struct Load {
    pulse: Pulse,
    thread: JoinHandle<Told<Vec<Sent>>>,
}

impl Load {
    /// Starts so many clients. `seed` decides what each does; `name` makes their keys this load's own.
    pub fn start(deployment: &Deployment, name: &str, seed: u64, clients: usize) -> Self {
        // Two hours ago: no clock that leaps an hour makes it the future.
        let at = Timestamp(wall().0 - 2 * 3600 * Timestamp::SECOND).to_string();
        let name = name.to_owned();
        Self::of(deployment, clients, move |client, line, pulse| {
            let seed = seed.wrapping_mul(1_000).wrapping_add(client as u64);
            shop(line, Shopper::new(format!("{name}-{client}"), seed, at.clone()), pulse)
        })
    }

    /// Starts clients that do something of their own.
    pub fn of<F>(
        deployment: &Deployment,
        clients: usize,
        client: impl Fn(usize, Line, Pulse) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Vec<Sent>> + 'static,
    {
        let pulse = Pulse { watch: Stopwatch::start(), answered: Arc::default(), stop: Arc::default() };
        let (target, keys, beat) = (Arc::clone(&deployment.target), deployment.keys.clone(), pulse.clone());
        let thread = std::thread::spawn(move || {
            local(async {
                let start = |number| {
                    let line = Line::new(Arc::clone(&target), keys.clone(), number, PATIENCE);
                    tokio::task::spawn_local(client(number, line, beat.clone()))
                };
                let tasks: Vec<_> = (0..clients).map(start).collect();
                let mut history = Vec::new();
                for task in tasks {
                    history.extend(task.await.map_err(|error| error.to_string())?);
                }
                Ok(history)
            })
        });
        Self { pulse, thread }
    }

    /// Whether all clients have ended by themselves.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// The same, waiting so long for it.
    pub fn is_finished_within(&self, patience: Duration) -> bool {
        let watch = Stopwatch::start();
        while !self.is_finished() && watch.elapsed() < patience {
            std::thread::sleep(PAUSE);
        }
        self.is_finished()
    }

    /// Waits until so many more commands are answered.
    ///
    /// # Errors
    /// Where nothing goes on for longer than any fault lasts, or the clients have ended.
    pub fn wait_for(&self, more: u64) -> Done {
        let until = self.pulse.answered.load(Ordering::Relaxed) + more;
        let watch = Stopwatch::start();
        while self.pulse.answered.load(Ordering::Relaxed) < until {
            if self.thread.is_finished() || watch.elapsed() > GIVE_UP {
                return Err("the load makes no progress".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Ends: every client has its last command answered first. Needs a server that runs.
    ///
    /// # Errors
    /// Where a client failed.
    pub fn stop(self) -> Done<Vec<Sent>> {
        self.pulse.stop.store(true, Ordering::Relaxed);
        Ok(self.thread.join().map_err(|_| "the load's thread panicked")??)
    }
}

/// Runs something on this thread alone.
fn local<T>(future: impl Future<Output = Told<T>>) -> Told<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    LocalSet::new().block_on(&runtime.map_err(|error| error.to_string())?, future)
}

async fn shop(mut line: Line, mut shopper: Shopper, pulse: Pulse) -> Vec<Sent> {
    let mut history = Vec::new();
    while !pulse.is_over() {
        let mut command = shopper.command();
        if command.about == About::Scan {
            let Some(code) = pay_code(&mut line, &command.customer, pulse.watch).await else { continue };
            command.body = json!({"code": code});
        }
        let sent = settle(&mut line, command, pulse.watch).await;
        shopper.learn(&sent);
        history.push(sent);
        pulse.beat();
    }
    history
}

/// The text of a fresh pay code.
async fn pay_code(line: &mut Line, customer: &str, watch: Stopwatch) -> Option<Value> {
    let began = watch.elapsed();
    let path = format!("/v1/customers/{customer}/card/qr?intent=pay");
    while watch.elapsed() - began < GIVE_UP {
        match line.get(Role::Service, &path).await {
            Some(answer) if answer.is_final() => return answer.body.get("text").cloned(),
            _ => {
                line.turn_on();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    None
}

/// Sends a command until it is answered for good.
pub async fn settle(line: &mut Line, command: Command, watch: Stopwatch) -> Sent {
    let millis = |at: Duration| u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
    let began = watch.elapsed();
    let at = (millis(began), 0);
    let mut sent = Sent { command, tries: 0, doubted: false, broke: 0, unready: 0, at, answer: None };
    line.turn_home();
    while sent.answer.is_none() && watch.elapsed() - began < GIVE_UP {
        if !line.is_up() {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        sent.tries += 1;
        match line.send(&sent.command).await {
            Some(answer) if answer.is_final() => sent.answer = Some(answer),
            Some(answer) => {
                sent.broke += u32::from(answer.status == 500);
                sent.unready += u32::from(answer.status == 503);
            }
            None => sent.doubted |= sent.tries == 1,
        }
        if sent.answer.is_none() {
            line.turn_on();
            tokio::time::sleep(PAUSE).await;
        }
    }
    sent.at.1 = millis(watch.elapsed());
    sent
}

/// Sends commands one after the other, each until it is answered.
///
/// # Errors
/// Where one is not.
pub fn send_all(deployment: &Deployment, commands: Vec<Command>) -> Done<Vec<Sent>> {
    let mut line = line(deployment);
    let sent = local(async {
        let (watch, mut history) = (Stopwatch::start(), Vec::new());
        for command in commands {
            history.push(settle(&mut line, command, watch).await);
        }
        Ok(history)
    })?;
    match sent.iter().find(|one| one.answer.is_none()) {
        Some(one) => Err(format!("never answered: {}", one.name()).into()),
        None => Ok(sent),
    }
}

/// Cards and offers, as every load needs them.
///
/// # Errors
/// Where one of them is refused.
pub fn prepare(deployment: &Deployment, name: &str) -> Done<Vec<Sent>> {
    let sent = send_all(deployment, shopper::first(name))?;
    match sent.iter().find(|one| one.done().is_none()) {
        Some(one) => Err(format!("refused: {}: {:?}", one.name(), one.answer).into()),
        None => Ok(sent),
    }
}

fn line(deployment: &Deployment) -> Line {
    Line::new(Arc::clone(&deployment.target), deployment.keys.clone(), 0, Duration::from_secs(30))
}

/// Runs a conversation of one client, whose errors are texts.
///
/// # Errors
/// What it says.
pub fn converse<T>(deployment: &Deployment, talk: impl AsyncFnOnce(&mut Line) -> Told<T>) -> Done<T> {
    let mut line = line(deployment);
    Ok(local(talk(&mut line))?)
}
