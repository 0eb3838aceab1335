//! The load client: as many keep-alive connections as asked, each with one request under way, all on the calling thread.
//!
//! It shares the machine with what it measures, so it does as little as it can: requests are bytes in a buffer that is
//! used again, of an answer only status and length are read. The same loop drives Adal and the limit that it is compared
//! with. Any answer that a script does not expect ends the run: a rate of refusals is no rate.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Duration};

use hdrhistogram::Histogram;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::LocalSet,
};

use crate::{Done, clock::Stopwatch};

/// How long an answer may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one connection asks, again and again.
pub trait Script {
    /// Writes the next request into the empty buffer; `false`: there is nothing more to ask.
    fn request(&mut self, into: &mut Vec<u8>) -> bool;
    /// Looks at the answer.
    ///
    /// # Errors
    /// What is wrong with it.
    fn answer(&mut self, status: u16, body: &[u8]) -> Done;
}

/// What was seen.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Answers.
    pub count: u64,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Nanoseconds from a request to its answer.
    pub latency: Histogram<u64>,
}

impl Measured {
    /// Answers per second.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    /// Milliseconds below which `share` of the answers came.
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub fn ms(&self, share: f64) -> f64 {
        self.latency.value_at_quantile(share) as f64 / 1e6
    }
}

/// An empty histogram of nanoseconds, up to a minute.
pub fn histogram() -> Done<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?)
}

/// Runs the scripts side by side, each on a connection of its own, for `lasting` or until none has more to ask.
pub fn run<S: Script + 'static>(address: SocketAddr, scripts: Vec<S>, lasting: Duration) -> Done<Measured> {
    run_scripts(address, scripts, lasting).map(|(measured, _)| measured)
}

/// As [`run`], and gives the scripts back, to go on later.
pub fn run_scripts<S: Script + 'static>(
    address: SocketAddr,
    scripts: Vec<S>,
    lasting: Duration,
) -> Done<(Measured, Vec<S>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let latency = Rc::new(RefCell::new(histogram()?));
    let (seconds, scripts) = LocalSet::new().block_on(&runtime, async {
        let mut streams = Vec::with_capacity(scripts.len());
        for _ in &scripts {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        let watch = Stopwatch::start();
        let tasks: Vec<_> = scripts
            .into_iter()
            .zip(streams)
            .map(|(script, stream)| {
                let latency = Rc::clone(&latency);
                tokio::task::spawn_local(async move {
                    // The text of an error: what was wrong, for whoever reads the run's output.
                    converse(script, stream, watch, lasting, &latency).await.map_err(|error| error.to_string())
                })
            })
            .collect();
        let mut back = Vec::with_capacity(tasks.len());
        for task in tasks {
            back.push(task.await??);
        }
        Done::Ok((watch.seconds(), back))
    })?;
    let latency = Rc::try_unwrap(latency).map_err(|_| "a connection is still at work")?.into_inner();
    Ok((Measured { count: latency.len(), seconds, latency }, scripts))
}

async fn converse<S: Script>(
    mut script: S,
    mut stream: TcpStream,
    watch: Stopwatch,
    lasting: Duration,
    latency: &RefCell<Histogram<u64>>,
) -> Done<S> {
    let (mut request, mut answer) = (Vec::with_capacity(2048), Vec::with_capacity(4096));
    while watch.elapsed() < lasting {
        request.clear();
        if !script.request(&mut request) {
            break;
        }
        let asked = Stopwatch::start();
        stream.write_all(&request).await?;
        let (status, head) = tokio::time::timeout(PATIENCE, receive(&mut stream, &mut answer)).await??;
        latency.borrow_mut().saturating_record(asked.nanos());
        script.answer(status, answer.get(head..).unwrap_or_default())?;
    }
    Ok(script)
}

/// Reads one answer into `buffer`; gives its status and where its body begins.
pub async fn receive(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Done<(u16, usize)> {
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err("the server closed the connection".into());
        }
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = end + 4;
        let (status, length) = read_head(buffer.get(..head).unwrap_or_default())?;
        while buffer.len() < head + length {
            if stream.read_buf(buffer).await? == 0 {
                return Err("the server closed the connection in an answer".into());
            }
        }
        return Ok((status, head));
    }
}

fn read_head(head: &[u8]) -> Done<(u16, usize)> {
    let text = std::str::from_utf8(head)?;
    let status = text.get(9..12).ok_or("no status")?.parse()?;
    let mut lengths = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim())
    });
    Ok((status, lengths.next().ok_or("an answer without Content-Length")?.parse()?))
}

/// Writes a request with a JSON body (none where it is empty).
pub fn write(into: &mut Vec<u8>, method: &str, path: &str, key: &str, headers: &str, body: &str) {
    let length = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n{headers}\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    into.extend_from_slice(text.as_bytes());
}

/// One request by itself; a status of 300 or more is an error. For setting up, not for measuring.
pub fn once(address: SocketAddr, request: Vec<u8>) -> Done<Vec<u8>> {
    struct Once(Option<Vec<u8>>, Vec<u8>);
    impl Script for Once {
        fn request(&mut self, into: &mut Vec<u8>) -> bool {
            self.0.take().is_some_and(|request| {
                into.extend(request);
                true
            })
        }
        fn answer(&mut self, status: u16, body: &[u8]) -> Done {
            self.1 = body.to_vec();
            expect(status, 299, body)
        }
    }
    let (_, mut back) = run_scripts(address, vec![Once(Some(request), Vec::new())], PATIENCE)?;
    Ok(back.pop().ok_or("no answer")?.1)
}

/// Nothing above `most`.
pub fn expect(status: u16, most: u16, body: &[u8]) -> Done {
    if status <= most {
        return Ok(());
    }
    Err(format!("answered {status}: {}", String::from_utf8_lossy(body)).into())
}
