//! Hexadecimal: of cursors, scan tokens and secrets.

/// The longest text that is read: 1 KiB. Nothing longer was made here.
const MAX_LENGTH: usize = 1024;

/// Lower-case hex.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        for half in [byte >> 4, byte & 0x0f] {
            out.push(char::from_digit(u32::from(half), 16).unwrap_or('0'));
        }
        out
    })
}

/// Reads hex of either case, at most 1 KiB of it.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || text.len() > MAX_LENGTH {
        return None;
    }
    let digits =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<Vec<u8>>>()?;
    Some(digits.chunks_exact(2).map(|pair| (pair[0] << 4) | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&bytes)), Some(bytes.clone()));
        assert_eq!(decode(&encode(&bytes).to_uppercase()), Some(bytes));
        assert_eq!((encode(&[0, 0xaf]), decode("")), ("00af".to_owned(), Some(Vec::new())));
    }

    #[test]
    fn anything_else_is_not_read() {
        for text in ["a", "zz", "0x", " 00", "\u{e9}", &"0".repeat(1026)] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
