//! Binary format of the rows on the device.
//!
//! Rows are packed into chunks of up to [`CHUNK_ROWS`], so that start-up reads few large values
//! instead of thousands of small ones. A chunk has a format number and a checksum: a damaged chunk
//! loses only its own rows. Pure functions on bytes.

use crate::raw_row::RawRow;
use pmo_domain::EntityCode;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::{NonZeroU32, ParseIntError};
use std::str::FromStr;
use std::sync::Arc;
use uuid::Uuid;

/// Maximum number of rows per chunk.
pub const CHUNK_ROWS: usize = 500;
/// Format number; chunks with another one are rejected.
const FORMAT: u8 = 1;
const MAGIC: &[u8; 4] = b"PMOc";
/// Header: magic (4 bytes), format (1), code length (1), padding (2), row count (4), checksum (8).
const HEADER_LEN: usize = 20;
/// Entry header: id (16 bytes), version (8), permission level (1), text length (4).
const ENTRY_HEADER_LEN: usize = 29;
/// Value of the permission byte if the level is unknown.
const NO_PERMISSION: u8 = u8::MAX;

/// Number of a chunk of rows on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChunkId(NonZeroU32);

impl ChunkId {
    /// Lowest number.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// Returns the next higher number.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ChunkId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Row of a chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedRow {
    /// Id of the entity.
    pub id: Uuid,
    /// Version of the row.
    pub version: i64,
    /// Permission level of the user, if known.
    pub permission: Option<u8>,
    /// Columns as JSON text.
    pub raw: RawRow,
}

/// Reason why a chunk cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Not a chunk, or a chunk of another format.
    #[error("unknown chunk format")]
    Format,
    /// Truncated or modified chunk.
    #[error("chunk checksum mismatch")]
    Checksum,
}

/// Computes the checksum of all bytes except the magic and the checksum field.
///
/// Detects accidental damage only; it is not cryptographic.
fn checksum(bytes: &[u8]) -> u64 {
    const HASH_MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
    let header = bytes.get(4..HEADER_LEN - 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
    let mut sum = (bytes.len() as u64 ^ header).wrapping_mul(HASH_MULTIPLIER);
    let mut words = bytes.get(HEADER_LEN..).unwrap_or_default().chunks_exact(8);
    for word in &mut words {
        sum = (sum.rotate_left(5) ^ u64::from_le_bytes(word.try_into().unwrap_or_default()))
            .wrapping_mul(HASH_MULTIPLIER);
    }
    for byte in words.remainder() {
        sum = (sum.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(HASH_MULTIPLIER);
    }
    sum
}

/// Packs rows of one entity type: id, version, permission level and JSON text of each.
pub fn pack<'a>(
    code: &EntityCode,
    rows: impl ExactSizeIterator<Item = (Uuid, i64, Option<u8>, &'a str)> + Clone,
) -> Vec<u8> {
    let texts_len: usize = rows.clone().map(|row| row.3.len()).sum();
    let code = code.as_str().as_bytes();
    let mut bytes = Vec::with_capacity(HEADER_LEN + code.len() + rows.len() * ENTRY_HEADER_LEN + texts_len);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[FORMAT, code.len() as u8, 0, 0]);
    bytes.extend_from_slice(&(rows.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(code);
    for (id, version, permission, text) in rows.clone() {
        bytes.extend_from_slice(id.as_bytes());
        bytes.extend_from_slice(&version.to_le_bytes());
        bytes.push(permission.unwrap_or(NO_PERMISSION));
        bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
    }
    for (.., text) in rows {
        bytes.extend_from_slice(text.as_bytes());
    }
    let sum = checksum(&bytes);
    bytes[HEADER_LEN - 8..HEADER_LEN].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Unpacks a chunk into its entity type and rows, which share one text buffer.
pub fn unpack(bytes: &[u8]) -> Result<(EntityCode, Vec<PackedRow>), ChunkError> {
    let read_u32 = |from: usize| Some(u32::from_le_bytes(bytes.get(from..from + 4)?.try_into().ok()?) as usize);
    if bytes.get(..4) != Some(MAGIC) || bytes.get(4) != Some(&FORMAT) {
        return Err(ChunkError::Format);
    }
    let sum = bytes.get(HEADER_LEN - 8..HEADER_LEN).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    if sum != Some(checksum(bytes)) {
        return Err(ChunkError::Checksum);
    }
    let read = || -> Option<(EntityCode, Vec<PackedRow>)> {
        let code_len = usize::from(*bytes.get(5)?);
        let count = read_u32(8)?;
        let code = std::str::from_utf8(bytes.get(HEADER_LEN..HEADER_LEN + code_len)?).ok()?;
        let entries_at = HEADER_LEN + code_len;
        let texts_at = entries_at + count.checked_mul(ENTRY_HEADER_LEN)?;
        let text = Arc::new(std::str::from_utf8(bytes.get(texts_at..)?).ok()?.to_owned());
        let mut rows = Vec::with_capacity(count);
        let mut from = 0;
        for entry in bytes.get(entries_at..texts_at)?.chunks_exact(ENTRY_HEADER_LEN) {
            let text_len = u32::from_le_bytes(entry.get(25..29)?.try_into().ok()?) as usize;
            rows.push(PackedRow {
                id: Uuid::from_slice(entry.get(..16)?).ok()?,
                version: i64::from_le_bytes(entry.get(16..24)?.try_into().ok()?),
                permission: Some(*entry.get(24)?).filter(|level| *level != NO_PERMISSION),
                raw: RawRow::slice(&text, from, from + text_len)?,
            });
            from += text_len;
        }
        Some((EntityCode::new(code).ok()?, rows))
    };
    read().ok_or(ChunkError::Format)
}

/// Packs ids behind a JSON header that describes them.
///
/// Layout: length of the header (4 bytes), header, ids (16 bytes each).
pub fn pack_ids(header: &str, ids: impl ExactSizeIterator<Item = Uuid>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + header.len() + ids.len() * 16);
    bytes.extend_from_slice(&(header.len() as u32).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    ids.for_each(|id| bytes.extend_from_slice(id.as_bytes()));
    bytes
}

/// Unpacks the header and the ids that [`pack_ids`] packed; `None` if the bytes are malformed.
pub fn unpack_ids(bytes: &[u8]) -> Option<(&str, Vec<Uuid>)> {
    let header_len = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let header = std::str::from_utf8(bytes.get(4..header_len.checked_add(4)?)?).ok()?;
    let ids = bytes.get(4 + header_len..)?.chunks(16).map(|id| Uuid::from_slice(id).ok()).collect::<Option<_>>()?;
    Some((header, ids))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code() -> EntityCode {
        EntityCode::new("task").unwrap()
    }

    proptest! {
        #[test]
        fn packed_rows_round_trip(rows in proptest::collection::vec((any::<u128>(), any::<i64>(), proptest::option::of(0..8u8), "\\PC{0,30}"), 0..20)) {
            let bytes = pack(&code(), rows.iter().map(|(id, version, level, text)| (Uuid::from_u128(*id), *version, *level, text.as_str())));
            let (found, unpacked) = unpack(&bytes).unwrap();
            prop_assert_eq!(found, code());
            for (row, packed) in rows.iter().zip(&unpacked) {
                prop_assert_eq!((row.0, row.1, row.2), (packed.id.as_u128(), packed.version, packed.permission));
                prop_assert_eq!(row.3.as_str(), packed.raw.as_str());
            }
            prop_assert_eq!(rows.len(), unpacked.len());
        }

        #[test]
        fn damaged_chunks_are_rejected(at in any::<prop::sample::Index>(), bit in 0..8u8, cut in any::<bool>()) {
            let row = (Uuid::from_u128(7), 3, Some(4), r#"{"name":"a row"}"#);
            let mut bytes = pack(&code(), [row, row].into_iter());
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
            prop_assert!(unpack(&bytes).is_err());
        }

        #[test]
        fn packed_ids_round_trip(header in "\\PC{0,20}", ids in proptest::collection::vec(any::<u128>(), 0..50), noise in proptest::collection::vec(any::<u8>(), 0..40)) {
            let ids: Vec<Uuid> = ids.into_iter().map(Uuid::from_u128).collect();
            let bytes = pack_ids(&header, ids.iter().copied());
            prop_assert_eq!(unpack_ids(&bytes), Some((header.as_str(), ids)));
            let _ = (unpack_ids(&noise), unpack(&noise));
        }
    }
}
