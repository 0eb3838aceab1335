//! Pages of lists: an opaque cursor says where the next one begins.
//!
//! A cursor is hex of a MessagePack value: what it holds is the list's own business and may change with any release, so
//! a cursor that does not read is `cursor_invalid` and the client starts again.

use adal_domain::{errors::Code, hex};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::problem::Problem;

/// The page size where the caller names none.
pub const DEFAULT_LIMIT: u32 = 50;
/// The largest page.
pub const MAX_LIMIT: u32 = 200;

/// `?limit=&cursor=`, to be used alone or flattened by hand into a route's own parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// At most this many, 1 to 200; 50 where it is left out.
    pub limit: Option<u32>,
    /// Where an earlier page ended: its `next_cursor`.
    pub cursor: Option<String>,
}

/// The page size asked for.
///
/// # Errors
/// 400 `invalid_field`, where it is not 1 to 200.
pub fn limit(asked: Option<u32>) -> Result<usize, Problem> {
    match asked.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit as usize),
        _ => {
            Err(Problem::new(Code::InvalidField, format!("limit: must be 1 to {MAX_LIMIT}")).with_max(MAX_LIMIT.into()))
        }
    }
}

/// A cursor that holds `place`.
///
/// # Errors
/// 500, where `place` has no MessagePack form.
pub fn encode<T: Serialize>(place: &T) -> Result<String, Problem> {
    let bytes = rmp_serde::to_vec_named(place).map_err(Problem::internal)?;
    Ok(hex::encode(&bytes))
}

/// What a cursor holds.
///
/// # Errors
/// 400 `cursor_invalid`.
pub fn decode<T: DeserializeOwned>(cursor: &str) -> Result<T, Problem> {
    let invalid = || Problem::new(Code::CursorInvalid, "cursor: not one of this list; start without");
    let bytes = hex::decode(cursor).ok_or_else(invalid)?;
    rmp_serde::from_slice(&bytes).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back() {
        let cursor = encode(&("2026-11-23", 7_u64)).unwrap();
        assert!(cursor.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_eq!(decode::<(String, u64)>(&cursor).unwrap(), ("2026-11-23".to_owned(), 7));
    }

    #[test]
    fn a_foreign_cursor_is_refused() {
        for cursor in ["zz", "abc", "00", &"a".repeat(2000), &encode(&"text").unwrap()] {
            assert_eq!(decode::<(String, u64)>(cursor).unwrap_err().code(), Code::CursorInvalid, "{cursor}");
        }
    }

    #[test]
    fn pages_have_1_to_200_items() {
        assert_eq!(limit(None).unwrap(), 50);
        assert_eq!(limit(Some(200)).unwrap(), 200);
        for wrong in [0, 201] {
            assert_eq!(limit(Some(wrong)).unwrap_err().code(), Code::InvalidField);
        }
    }
}
