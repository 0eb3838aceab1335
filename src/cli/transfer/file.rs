//! The file that a whole store is carried in: frames, each with its length and checksum, the last of which adds them up.
//!
//! ```text
//! "adal-export\n"  { length u32, crc32 u32, MessagePack map }*        numbers in little-endian order
//! ```
//!
//! A frame holds a bounded piece (so many rows, so many codes). An export holds one piece in memory; an import all rows of
//! the entities that it writes at the same time. A file without its last frame is one whose export was cut off: it can be gone on with, and not be
//! imported.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The format of the file.
pub(super) const FORMAT: u16 = 1;
const MAGIC: &[u8; 12] = b"adal-export\n";
/// Where the first frame begins.
pub(super) const EMPTY: u64 = MAGIC.len() as u64;
/// No frame is longer: what says that it is, is damaged.
const MAX_FRAME: u32 = 256 << 20;

/// One frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Frame {
    /// The first.
    Head { format: u16, version: String, made_at: i64, place: String },
    /// An entity; its rows follow.
    Entity { kind: String, id: String, rows: u64, snapshot: Option<Snapshot>, owed: Vec<(u64, u32)> },
    /// Rows of the entity before, in order.
    Rows { rows: Vec<Row> },
    /// A job that makes unique codes; its codes follow.
    Job(Job),
    /// Codes of the job before, in their normal form, by it.
    Codes { codes: Vec<String> },
    /// What was counted of banners: banner, day, servings, impressions, clicks.
    Counts { counts: Vec<(String, i32, u64, u64, u64)> },
    /// Service keys, by their hashes.
    Keys { keys: Vec<Key> },
    /// The last.
    End(Totals),
}

/// How much is in a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Totals {
    pub(super) entities: u64,
    pub(super) rows: u64,
    pub(super) jobs: u64,
    pub(super) codes: u64,
    pub(super) counts: u64,
    pub(super) keys: u64,
}

impl Totals {
    /// Adds a frame.
    pub(super) fn add(&mut self, frame: &Frame) {
        match frame {
            Frame::Entity { .. } => self.entities += 1,
            Frame::Rows { rows } => self.rows += rows.len() as u64,
            Frame::Job(_) => self.jobs += 1,
            Frame::Codes { codes } => self.codes += codes.len() as u64,
            Frame::Counts { counts } => self.counts += counts.len() as u64,
            Frame::Keys { keys } => self.keys += keys.len() as u64,
            Frame::Head { .. } | Frame::End(_) => {}
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) seq: u64,
    pub(super) at: i64,
    pub(super) format: u16,
    #[serde(with = "serde_bytes")]
    pub(super) body: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    pub(super) seq: u64,
    pub(super) format: u16,
    #[serde(with = "serde_bytes")]
    pub(super) body: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) offer: String,
    pub(super) prefix: String,
    pub(super) start: u64,
    pub(super) count: u64,
    pub(super) done: u64,
    pub(super) state: String,
    pub(super) by: String,
    pub(super) at: i64,
    pub(super) print: [u8; 16],
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) hash: [u8; 32],
    pub(super) role: String,
    pub(super) shop: Option<String>,
    pub(super) created_at: i64,
    pub(super) revoked_at: Option<i64>,
    pub(super) label: Option<String>,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("{}: {what}", path.display())]
    Io {
        path: PathBuf,
        what: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("{}: {what}", path.display())]
    Wrong { path: PathBuf, what: String },
}

/// Reads frames; each is checked before it is given out.
pub(super) struct Reader {
    from: BufReader<File>,
    path: PathBuf,
    /// How far the frames that were given out reach.
    pub(super) offset: u64,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self, FileError> {
        let io = |what| move |source| FileError::Io { path: path.to_owned(), what, source };
        let mut from = BufReader::new(File::open(path).map_err(io("cannot be opened"))?);
        let mut magic = [0; MAGIC.len()];
        let read = from.read_exact(&mut magic);
        if read.is_err() || &magic != MAGIC {
            return Err(FileError::Wrong {
                path: path.to_owned(),
                what: "this is no file of `adal export`".to_owned(),
            });
        }
        Ok(Self { from, path: path.to_owned(), offset: EMPTY })
    }

    /// The next frame; `None` at the end of the file, or where it breaks off within a frame.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, FileError> {
        let offset = self.offset;
        let wrong =
            |what: String| FileError::Wrong { path: self.path.clone(), what: format!("at byte {offset}: {what}") };
        let mut head = [0; 8];
        if !filled(&mut self.from, &mut head).map_err(|source| self.io("cannot be read", source))? {
            return Ok(None);
        }
        let [a, b, c, d, e, f, g, h] = head;
        let (length, sum) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        if length > MAX_FRAME {
            return Err(wrong(format!("a frame of {length} bytes: the file is damaged")));
        }
        let mut body = vec![0; length as usize];
        if !filled(&mut self.from, &mut body).map_err(|source| self.io("cannot be read", source))? {
            return Ok(None);
        }
        if crc32fast::hash(&body) != sum {
            return Err(wrong("a frame does not match its checksum: the file is damaged".to_owned()));
        }
        let frame = rmp_serde::from_slice(&body).map_err(|error| wrong(format!("a frame cannot be read: {error}")))?;
        if let Frame::Head { format, version, .. } = &frame
            && *format > FORMAT
        {
            return Err(wrong(format!("of format {format}, made by Adal {version}: this one reads up to {FORMAT}")));
        }
        self.offset += 8 + u64::from(length);
        Ok(Some(frame))
    }

    /// Something that is wrong with what was read.
    pub(super) fn wrong(&self, what: &str) -> FileError {
        FileError::Wrong { path: self.path.clone(), what: format!("at byte {}: {what}", self.offset) }
    }

    fn io(&self, what: &'static str, source: io::Error) -> FileError {
        FileError::Io { path: self.path.clone(), what, source }
    }
}

/// Fills the buffer; `false` where the file ends before.
fn filled(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes frames.
pub(super) struct Writer {
    to: BufWriter<File>,
    path: PathBuf,
    /// What was written, and stood there before.
    pub(super) totals: Totals,
}

impl Writer {
    /// A new file, which must not be there.
    pub(super) fn create(path: &Path) -> Result<Self, FileError> {
        let io = |what| move |source| FileError::Io { path: path.to_owned(), what, source };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        // Hashes of keys, and all that customers did.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut to =
            BufWriter::new(options.open(path).map_err(io("cannot be made (with --resume it is gone on with)"))?);
        to.write_all(MAGIC).map_err(io("cannot be written"))?;
        Ok(Self { to, path: path.to_owned(), totals: Totals::default() })
    }

    /// Goes on with a file after `offset`, up to which `totals` are in it.
    pub(super) fn resume(path: &Path, offset: u64, totals: Totals) -> Result<Self, FileError> {
        let io = |what| move |source| FileError::Io { path: path.to_owned(), what, source };
        let mut file = OpenOptions::new().write(true).open(path).map_err(io("cannot be opened"))?;
        file.set_len(offset).map_err(io("cannot be cut to what is whole"))?;
        file.seek(SeekFrom::End(0)).map_err(io("cannot be read"))?;
        Ok(Self { to: BufWriter::new(file), path: path.to_owned(), totals })
    }

    /// Writes one frame.
    pub(super) fn write(&mut self, frame: &Frame) -> Result<(), FileError> {
        let wrong = |what: String| FileError::Wrong { path: self.path.clone(), what };
        let body = rmp_serde::to_vec_named(frame).map_err(|error| wrong(format!("a frame has no form: {error}")))?;
        let length = u32::try_from(body.len()).ok().filter(|length| *length <= MAX_FRAME);
        let length = length.ok_or_else(|| wrong(format!("a frame of {} bytes is too long", body.len())))?;
        let frames = [&length.to_le_bytes()[..], &crc32fast::hash(&body).to_le_bytes()[..], &body];
        let written = frames.into_iter().try_for_each(|bytes| self.to.write_all(bytes));
        written.map_err(|source| FileError::Io { path: self.path.clone(), what: "cannot be written", source })?;
        self.totals.add(frame);
        Ok(())
    }

    /// Writes the last frame, and waits until the file is durable.
    pub(super) fn finish(mut self) -> Result<Totals, FileError> {
        self.write(&Frame::End(self.totals))?;
        let durable = self.to.flush().and_then(|()| self.to.get_ref().sync_all());
        durable.map_err(|source| FileError::Io { path: self.path.clone(), what: "cannot be written", source })?;
        Ok(self.totals)
    }
}
