//! Whether the write-ahead log has lost something that was committed.
//!
//! SQLite reads a log up to the first frame that is not whole, and calls that its end: after a crash of the machine a
//! commit that nobody was told of may stand there half. But it does so too where a byte in the middle was damaged or the
//! end is missing, and drops every commit from there on without a word. So the log is read before SQLite reads it.
//!
//! - The index beside it (`-shm`) survives the process, and says how many frames were committed: a commit is in the index
//!   after it was synced, never before. Fewer whole frames than that, and something is gone.
//! - Where there is no index of this log (a copy, another machine), the frames themselves tell: after the first that is not
//!   whole come two commits of the same log or more. A commit is synced before the next is begun, so these were, and what
//!   stands before them was. One alone may be the one that nobody was told of; that its end is missing cannot be seen.
//!
//! Called before the first connection is opened, under the server's lock: a connection would repair the index, and closing
//! another handle to the index would drop the locks of a connection of this process. Of SQLite's formats ("WAL-index",
//! "WAL file format") it knows what it compares.

use std::{
    fs::File,
    io::{BufReader, ErrorKind, Read},
    path::Path,
};

use super::open::beside;

const HEADER: usize = 32;
const FRAME: usize = 24;
/// Of the index: its header, which stands there twice, and after both how many frames are in the file already.
const INDEX: usize = 48;

/// What the log itself says.
#[derive(Debug, Default)]
struct Log {
    /// Its header is whole.
    begun: bool,
    /// It has a header that is not.
    strange: bool,
    salt: [u8; 8],
    /// Frames up to the last whole commit: what SQLite will read.
    committed: u32,
    /// Commits that come after, with something before them that is not whole.
    beyond: u32,
}

/// What the index says.
#[derive(Debug)]
struct Index {
    salt: [u8; 8],
    /// Frames that are committed.
    committed: u32,
    /// Frames that are in the file too.
    copied: u32,
}

/// What is gone from the log of the file at `path`; `None`: nothing, as far as can be seen.
///
/// # Errors
/// Where log or index cannot be read.
pub(super) fn lost(path: &Path) -> std::io::Result<Option<String>> {
    let (log_path, index_path) = (beside(path, "-wal"), beside(path, "-shm"));
    let log = read_log(&log_path)?;
    let index = read_index(&index_path)?;
    let name = log_path.display();
    // A log that was begun again has another salt: what the index says was of the one before, which is in the file.
    let of_this = index.filter(|index| !log.begun || index.salt == log.salt);
    Ok(match of_this {
        Some(index) if log.committed < index.committed && (log.committed > 0 || index.copied < index.committed) => {
            Some(format!("of {} frames that were committed its log {name} has {}", index.committed, log.committed))
        }
        Some(_) => None,
        None if log.beyond > 1 => Some(format!(
            "in its log {name} frame {} is not whole, and {} commits come after it",
            log.committed + 1,
            log.beyond
        )),
        None if log.strange => Some(format!("its log {name} has a header that is not whole")),
        None => None,
    })
}

fn read_log(path: &Path) -> std::io::Result<Log> {
    let mut log = Log::default();
    let Some(mut file) = open(path)? else { return Ok(log) };
    let mut header = [0; HEADER];
    if !fill(&mut file, &mut header)? {
        return Ok(log);
    }
    let (magic, big) = (word(&header, 0, true), header[3] & 1 == 1);
    let sum = add(&header[..24], (0, 0), big);
    log.begun = magic | 1 == 0x377f_0683 && sum == (word(&header, 24, true), word(&header, 28, true));
    log.strange = !log.begun && header != [0; HEADER];
    if !log.begun {
        return Ok(log);
    }
    log.salt.copy_from_slice(&header[16..24]);
    let mut frame = vec![0; FRAME + usize::try_from(word(&header, 8, true)).unwrap_or(0)];
    let (mut last, mut whole, mut number) = (sum, true, 0_u32);
    while fill(&mut file, &mut frame)? {
        let (head, page) = frame.split_at(FRAME);
        number += 1;
        let told = (word(head, 16, true), word(head, 20, true));
        // Another salt: of the log that stood here before, to its end.
        let follows = head[8..16] == log.salt && add(page, add(&head[..8], last, big), big) == told;
        let commits = word(head, 4, true) != 0;
        whole &= follows;
        if whole && commits {
            log.committed = number;
        }
        // Each frame is summed up from the one before, as that one says of itself.
        log.beyond += u32::from(!whole && follows && commits);
        last = told;
    }
    Ok(log)
}

fn read_index(path: &Path) -> std::io::Result<Option<Index>> {
    let Some(mut file) = open(path)? else { return Ok(None) };
    let mut bytes = [0; 2 * INDEX + 4];
    if !fill(&mut file, &mut bytes)? {
        return Ok(None);
    }
    let (one, two) = (&bytes[..INDEX], &bytes[INDEX..2 * INDEX]);
    // Its numbers are the machine's own.
    let big = cfg!(target_endian = "big");
    // Not made yet, or left half written: then it says nothing.
    let sound = one == two && one[12] == 1 && add(&one[..40], (0, 0), big) == (word(one, 40, big), word(one, 44, big));
    let mut salt = [0; 8];
    salt.copy_from_slice(&one[32..40]);
    Ok(sound.then(|| Index { salt, committed: word(one, 16, big), copied: word(&bytes, 2 * INDEX, big) }))
}

fn open(path: &Path) -> std::io::Result<Option<BufReader<File>>> {
    match File::open(path) {
        Ok(file) => Ok(Some(BufReader::with_capacity(1 << 18, file))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// False: it ends before.
fn fill(file: &mut BufReader<File>, bytes: &mut [u8]) -> std::io::Result<bool> {
    match file.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn word(bytes: &[u8], at: usize, big: bool) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).unwrap_or_default();
    if big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
}

/// SQLite's checksum, continued.
fn add(bytes: &[u8], (mut one, mut two): (u32, u32), big: bool) -> (u32, u32) {
    for pair in bytes.chunks_exact(8) {
        one = one.wrapping_add(word(pair, 0, big)).wrapping_add(two);
        two = two.wrapping_add(word(pair, 4, big)).wrapping_add(one);
    }
    (one, two)
}
