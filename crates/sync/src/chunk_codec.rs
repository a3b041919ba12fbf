//! How rows lie on the device: packed by the hundred, so that start-up reads a few large values instead of thousands of small ones. A chunk carries a
//! format and a checksum; one that is damaged costs its own rows and no others. Pure bytes in and out.

use crate::raw_row::RawRow;
use pmo_domain::EntityCode;
use std::sync::Arc;
use uuid::Uuid;

/// Most rows of one chunk.
pub const CHUNK_ROWS: usize = 500;
/// The format's number; another is not read.
const FORMAT: u8 = 1;
const MAGIC: &[u8; 4] = b"PMOc";
/// Magic, format, length of the code, two of nothing, count, checksum.
const HEADER_LEN: usize = 20;
/// Id, version, level, length of the text.
const ENTRY_HEADER_LEN: usize = 29;
/// No level is known.
const NO_PERMISSION: u8 = u8::MAX;

/// A row in a chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedRow {
    /// Its id.
    pub id: Uuid,
    /// Its version.
    pub version: i64,
    /// The reader's level, where it is known.
    pub permission: Option<u8>,
    /// Its columns.
    pub raw: RawRow,
}

/// Why a chunk can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Of another format, or nothing of ours.
    #[error("it has another format")]
    Format,
    /// Cut off, or changed.
    #[error("its checksum is wrong")]
    Checksum,
}

/// Tells a chunk from a damaged one: not made against anybody who means harm. It covers all but the magic and itself.
fn checksum(bytes: &[u8]) -> u64 {
    const HASH_MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
    let head = bytes.get(4..HEADER_LEN - 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
    let mut sum = (bytes.len() as u64 ^ head).wrapping_mul(HASH_MULTIPLIER);
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

/// Packs rows of one type.
pub fn pack<'a>(
    code: &EntityCode,
    rows: impl ExactSizeIterator<Item = (Uuid, i64, Option<u8>, &'a str)> + Clone,
) -> Vec<u8> {
    let texts: usize = rows.clone().map(|row| row.3.len()).sum();
    let code = code.as_str().as_bytes();
    let mut bytes = Vec::with_capacity(HEADER_LEN + code.len() + rows.len() * ENTRY_HEADER_LEN + texts);
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

/// Reads a chunk. Its rows share one text.
pub fn unpack(bytes: &[u8]) -> Result<(EntityCode, Vec<PackedRow>), ChunkError> {
    let number = |from: usize| Some(u32::from_le_bytes(bytes.get(from..from + 4)?.try_into().ok()?) as usize);
    if bytes.get(..4) != Some(MAGIC) || bytes.get(4) != Some(&FORMAT) {
        return Err(ChunkError::Format);
    }
    let sum = bytes.get(HEADER_LEN - 8..HEADER_LEN).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    if sum != Some(checksum(bytes)) {
        return Err(ChunkError::Checksum);
    }
    let read = || -> Option<(EntityCode, Vec<PackedRow>)> {
        let code_length = usize::from(*bytes.get(5)?);
        let count = number(8)?;
        let code = std::str::from_utf8(bytes.get(HEADER_LEN..HEADER_LEN + code_length)?).ok()?;
        let index = HEADER_LEN + code_length;
        let texts = index + count.checked_mul(ENTRY_HEADER_LEN)?;
        let text = Arc::new(std::str::from_utf8(bytes.get(texts..)?).ok()?.to_owned());
        let mut rows = Vec::with_capacity(count);
        let mut from = 0;
        for entry in bytes.get(index..texts)?.chunks_exact(ENTRY_HEADER_LEN) {
            let length = u32::from_le_bytes(entry.get(25..29)?.try_into().ok()?) as usize;
            rows.push(PackedRow {
                id: Uuid::from_slice(entry.get(..16)?).ok()?,
                version: i64::from_le_bytes(entry.get(16..24)?.try_into().ok()?),
                permission: Some(*entry.get(24)?).filter(|level| *level != NO_PERMISSION),
                raw: RawRow::slice(&text, from, from + length)?,
            });
            from += length;
        }
        Some((EntityCode::new(code).ok()?, rows))
    };
    read().ok_or(ChunkError::Format)
}

/// Ids one after the other, behind a JSON head that says what they are.
pub fn pack_ids(head: &str, ids: impl ExactSizeIterator<Item = Uuid>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + head.len() + ids.len() * 16);
    bytes.extend_from_slice(&(head.len() as u32).to_le_bytes());
    bytes.extend_from_slice(head.as_bytes());
    ids.for_each(|id| bytes.extend_from_slice(id.as_bytes()));
    bytes
}

/// Reads what [`pack_ids`] wrote.
pub fn unpack_ids(bytes: &[u8]) -> Option<(&str, Vec<Uuid>)> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let head = std::str::from_utf8(bytes.get(4..length.checked_add(4)?)?).ok()?;
    let ids = bytes.get(4 + length..)?.chunks(16).map(|id| Uuid::from_slice(id).ok()).collect::<Option<_>>()?;
    Some((head, ids))
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
        fn what_is_packed_comes_back(rows in proptest::collection::vec((any::<u128>(), any::<i64>(), proptest::option::of(0..8u8), "\\PC{0,30}"), 0..20)) {
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
        fn damage_is_noticed(at in any::<prop::sample::Index>(), bit in 0..8u8, cut in any::<bool>()) {
            let row = (Uuid::from_u128(7), 3, Some(4), r#"{"name":"a row"}"#);
            let mut bytes = pack(&code(), [row, row].into_iter());
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
            prop_assert!(unpack(&bytes).is_err());
        }

        #[test]
        fn ids_come_back(head in "\\PC{0,20}", ids in proptest::collection::vec(any::<u128>(), 0..50), noise in proptest::collection::vec(any::<u8>(), 0..40)) {
            let ids: Vec<Uuid> = ids.into_iter().map(Uuid::from_u128).collect();
            let bytes = pack_ids(&head, ids.iter().copied());
            prop_assert_eq!(unpack_ids(&bytes), Some((head.as_str(), ids)));
            let _ = (unpack_ids(&noise), unpack(&noise));
        }
    }
}
