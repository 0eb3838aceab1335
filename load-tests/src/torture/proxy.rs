//! A TCP proxy on loopback that makes a bad network: it delays what passes, swallows answers, and cuts connections in the
//! middle of an answer, so that what was done looks as if it had timed out. It stands between Adal and its database, or
//! between a client and Adal; of the bytes it knows nothing.
//!
//! It has a thread of its own, and at most [`CONNECTIONS`] connections with two buffers of [`CHUNK`] bytes each. What
//! happens to a connection is drawn from the seed and the connection's number. Requests are never cut or swallowed, only
//! delayed: what looks lost was done.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Semaphore,
    task::LocalSet,
};

use crate::{Done, random::Random};

/// Connections at once; one more is closed.
pub const CONNECTIONS: usize = 512;
/// Bytes read at once.
pub const CHUNK: usize = 16 * 1024;

/// How bad it is: of a thousand pieces of an answer, as they arrive.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// So many are delayed (requests too) ...
    pub delayed: u64,
    /// ... by at most so many milliseconds.
    pub delay_ms: u64,
    /// After so many nothing comes on that connection any more, though it stays open.
    pub swallowed: u64,
    /// So many are cut: a part of it passes, and the connection is closed.
    pub cut: u64,
}

/// What it did.
#[derive(Debug, Default)]
pub struct Counts {
    /// Delays.
    pub delayed: AtomicU64,
    /// Connections on which answers were swallowed.
    pub swallowed: AtomicU64,
    /// Connections that were cut.
    pub cut: AtomicU64,
    /// Connections that were one too many.
    pub refused: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    weather: Weather,
    rough: AtomicBool,
    counts: Counts,
}

/// See the module. It ends when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<(tokio::sync::oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.stop.take() {
            // Either may have ended by itself.
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}

impl Proxy {
    /// A proxy before `upstream`, in calm weather at first.
    ///
    /// # Errors
    /// Where there is no port for it.
    pub fn start(upstream: SocketAddr, weather: Weather, seed: u64) -> Done<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Shared { upstream, weather, rough: AtomicBool::new(false), counts: Counts::default() };
        let (shared, (stop, stopped)) = (Arc::new(shared), tokio::sync::oneshot::channel());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let all = LocalSet::new();
            all.block_on(&runtime, async {
                tokio::select! {
                    () = accept(listener, theirs, seed) => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self { address, shared, stop: Some((stop, thread)) })
    }

    /// From now on the weather is bad (or calm).
    pub fn set_rough(&self, rough: bool) {
        self.shared.rough.store(rough, Ordering::Relaxed);
    }

    /// What it did so far.
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>, seed: u64) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let (places, mut number) = (Arc::new(Semaphore::new(CONNECTIONS)), 0_u64);
    while let Ok((client, _)) = listener.accept().await {
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            shared.counts.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        number += 1;
        let (shared, seed) = (Arc::clone(&shared), seed.wrapping_add(number));
        tokio::task::spawn_local(async move {
            // An error ends the connection, as it would without us.
            if let Ok(server) = TcpStream::connect(shared.upstream).await
                && client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_ok()
            {
                let ((from, to), (back_from, back_to)) = (client.into_split(), server.into_split());
                // Either end closes both: a half is nothing that HTTP or CQL know.
                tokio::select! {
                    () = pass(from, back_to, &shared, Random::new(seed), false) => {}
                    () = pass(back_from, to, &shared, Random::new(!seed), true) => {}
                }
            }
            drop(place);
        });
    }
}

/// Passes bytes on in one direction until it ends or is made to.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared, mut random: Random, answers: bool) {
    let (mut chunk, counts, weather) = (vec![0; CHUNK], &shared.counts, shared.weather);
    let mut swallowing = false;
    while let Ok(length) = from.read(&mut chunk).await {
        if length == 0 {
            return;
        }
        // Drawn always: calm weather does not change what comes after it.
        let (fate, wait, part) =
            (random.below(1000), random.below(weather.delay_ms.max(1)), random.below(length as u64));
        let rough = shared.rough.load(Ordering::Relaxed);
        let mut bytes = chunk.get(..length).unwrap_or_default();
        let cut = answers && rough && fate < weather.cut;
        if answers && rough && !cut && !swallowing && fate < weather.cut + weather.swallowed {
            swallowing = true;
            counts.swallowed.fetch_add(1, Ordering::Relaxed);
        }
        if swallowing {
            continue;
        }
        if rough && random.below(1000) < weather.delayed {
            counts.delayed.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        if cut {
            counts.cut.fetch_add(1, Ordering::Relaxed);
            bytes = bytes.get(..usize::try_from(part).unwrap_or_default()).unwrap_or_default();
        }
        if to.write_all(bytes).await.is_err() || cut {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    const ANSWER: [u8; 4000] = [7; 4000];

    /// A server that answers each line with [`ANSWER`], and counts the lines.
    fn upstream() -> (SocketAddr, Arc<AtomicU64>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, lines) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
        let count = Arc::clone(&lines);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, count) = (stream.unwrap(), Arc::clone(&count));
                std::thread::spawn(move || {
                    let mut line = [0; 5];
                    while stream.read_exact(&mut line).is_ok() {
                        count.fetch_add(1, Ordering::SeqCst);
                        if stream.write_all(&ANSWER).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        (address, lines)
    }

    fn asked(proxy: &Proxy) -> TcpStream {
        let mut stream = TcpStream::connect(proxy.address).unwrap();
        stream.write_all(b"line\n").unwrap();
        stream
    }

    fn wait_until(is: impl Fn() -> bool) {
        for _ in 0..3000 {
            if is() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("not within 30 s");
    }

    #[test]
    fn calm_weather_changes_nothing_and_delays_lose_nothing() {
        let (address, lines) = upstream();
        let weather = Weather { delayed: 1000, delay_ms: 5, ..Weather::default() };
        let proxy = Proxy::start(address, weather, 1).unwrap();
        for rough in [false, true] {
            proxy.set_rough(rough);
            let mut stream = asked(&proxy);
            let mut got = [0; ANSWER.len()];
            stream.read_exact(&mut got).unwrap();
            assert_eq!(got, ANSWER);
        }
        assert_eq!(lines.load(Ordering::SeqCst), 2);
        assert!(proxy.counts().delayed.load(Ordering::Relaxed) >= 2, "a request and an answer");
    }

    #[test]
    fn a_cut_answer_is_a_part_and_then_the_end_and_what_was_asked_was_done() {
        let (address, lines) = upstream();
        let proxy = Proxy::start(address, Weather { cut: 1000, ..Weather::default() }, 1).unwrap();
        proxy.set_rough(true);
        let mut got = Vec::new();
        // Bytes that nobody read may make the end a reset.
        let _ = asked(&proxy).read_to_end(&mut got);
        assert!(got.len() < ANSWER.len(), "{}", got.len());
        assert_eq!((lines.load(Ordering::SeqCst), proxy.counts().cut.load(Ordering::Relaxed)), (1, 1));
    }

    #[test]
    fn a_swallowed_answer_never_comes_though_what_was_asked_was_done() {
        let (address, lines) = upstream();
        let proxy = Proxy::start(address, Weather { swallowed: 1000, ..Weather::default() }, 1).unwrap();
        proxy.set_rough(true);
        let mut stream = asked(&proxy);
        wait_until(|| proxy.counts().swallowed.load(Ordering::Relaxed) == 1);
        assert_eq!(lines.load(Ordering::SeqCst), 1);
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let error = stream.read(&mut [0; 1]).unwrap_err();
        assert!(matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "{error}");
    }

    #[test]
    fn connections_past_the_bound_are_closed() {
        let (address, _) = upstream();
        let proxy = Proxy::start(address, Weather::default(), 1).unwrap();
        let open: Vec<TcpStream> = (0..CONNECTIONS + 3).map(|_| TcpStream::connect(proxy.address).unwrap()).collect();
        wait_until(|| proxy.counts().refused.load(Ordering::Relaxed) == 3);
        drop(open);
    }
}
