//! Chunks: records as they were committed together, the unit of a stream.
//!
//! `<count, 10 digits> <parent values as JSON, or nothing>\n<record>,<record>,…`

use serde_json::value::RawValue;

use super::event::Batch;
use crate::ids::EventId;

/// Digits of the record count at the start of a chunk.
const COUNT_DIGITS: usize = 10;

/// A chunk that can't be what a commit wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("chunk {0} of the batch can't be read")]
pub struct UnreadableChunk(pub(super) usize);

/// Opens a chunk: room for the count, then the parent values (`{…}`, or empty for a
/// root), then a newline. Records follow, joined by commas.
pub fn open_chunk(buffer: &mut Vec<u8>, parents: &str) {
    buffer.extend_from_slice(&[b'0'; COUNT_DIGITS]);
    buffer.push(b' ');
    buffer.extend_from_slice(parents.as_bytes());
    buffer.push(b'\n');
}

/// Writes the count into a chunk begun by [`open_chunk`].
pub fn close_chunk(buffer: &mut [u8], records: u32) {
    let digits = format!("{records:0COUNT_DIGITS$}");
    if let Some(room) = buffer.get_mut(..COUNT_DIGITS) {
        room.copy_from_slice(digits.as_bytes());
    }
}

/// A chunk of several records as smaller chunks, each with its number of records: at most `most_bytes` of records each, or
/// a single larger one, and at least two.
///
/// # Errors
/// A chunk that no commit wrote.
pub fn split_chunk(chunk: &[u8], most_bytes: u64) -> Result<Vec<(u64, Vec<u8>)>, UnreadableChunk> {
    let parts = read_chunk(0, chunk)?;
    let records = read_records(0, &parts)?;
    let most = usize::try_from(most_bytes).unwrap_or(usize::MAX);
    let halves = records.len().div_ceil(2).max(1);
    let mut pieces: Vec<&[&str]> = Vec::new();
    let mut rest = records.as_slice();
    while !rest.is_empty() {
        let mut bytes = 0;
        let fit = rest.iter().take_while(|record| {
            bytes += record.len() + 1;
            bytes <= most
        });
        let (piece, after) = rest.split_at(fit.count().clamp(1, halves));
        pieces.push(piece);
        rest = after;
    }
    let chunk = |piece: &[&str]| (piece.len() as u64, make_chunk(parts.parents, piece));
    Ok(pieces.into_iter().map(chunk).collect())
}

/// Batches of the single records of a `record` batch, by their `seq`; they have ids of their own.
///
/// # Errors
/// A chunk that no commit wrote.
pub fn single_records(
    batch: &Batch,
    wanted: impl Fn(u64) -> bool,
) -> Result<Vec<Batch>, UnreadableChunk> {
    let mut seq = batch.first_seq;
    let mut singles = Vec::new();
    let first = EventId::generate();
    for (index, chunk) in batch.chunks.iter().enumerate() {
        let parts = read_chunk(index, chunk)?;
        for record in read_records(index, &parts)? {
            if wanted(seq) {
                singles.push(Batch {
                    event: first.following(singles.len()),
                    first_seq: seq,
                    records: 1,
                    chunks: vec![make_chunk(parts.parents, &[record])],
                    event_type: batch.event_type.clone(),
                    ..*batch
                });
            }
            seq += 1;
        }
    }
    Ok(singles)
}

fn read_records<'a>(index: usize, parts: &ChunkParts<'a>) -> Result<Vec<&'a str>, UnreadableChunk> {
    let mut records = Vec::new();
    let mut rest = parts.bytes;
    while !rest.is_empty() {
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
        let Some(Ok(record)) = values.next() else {
            return Err(UnreadableChunk(index));
        };
        let end = values.byte_offset();
        records.push(record.get());
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    if records.len() == parts.records as usize {
        Ok(records)
    } else {
        Err(UnreadableChunk(index))
    }
}

pub(super) fn make_chunk(parents: &str, records: &[&str]) -> Vec<u8> {
    let mut chunk = Vec::new();
    open_chunk(&mut chunk, parents);
    chunk.extend_from_slice(records.join(",").as_bytes());
    close_chunk(&mut chunk, u32::try_from(records.len()).unwrap_or(u32::MAX));
    chunk
}

pub(super) struct ChunkParts<'a> {
    pub records: u32,
    pub parents: &'a str,
    pub bytes: &'a [u8],
}

pub(super) fn read_chunk(index: usize, chunk: &[u8]) -> Result<ChunkParts<'_>, UnreadableChunk> {
    let unreadable = || UnreadableChunk(index);
    let end = chunk
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(unreadable)?;
    let head = std::str::from_utf8(&chunk[..end]).map_err(|_| unreadable())?;
    let (count, parents) = head.split_once(' ').ok_or_else(unreadable)?;
    let records = count.parse().map_err(|_| unreadable())?;
    Ok(ChunkParts {
        records,
        parents,
        bytes: &chunk[end + 1..],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_falls_into_parts_of_a_size_or_single_records_with_their_bytes_kept() {
        let records = [r#"{"id":1.10}"#, r#"{"name":"a,b]"}"#, "{}", "[3,4]"];
        let whole = make_chunk(r#"{"p":1}"#, &records);
        let parts = split_chunk(&whole, 16).expect("a chunk");
        let counts: Vec<u64> = parts.iter().map(|(count, _)| *count).collect();
        assert_eq!(counts, [1, 1, 2]);
        let bytes: Vec<_> = parts
            .iter()
            .map(|(_, chunk)| read_chunk(0, chunk).expect("a chunk").bytes)
            .collect();
        assert_eq!(
            bytes.join(&b','),
            read_chunk(0, &whole).expect("a chunk").bytes
        );
        // However much would fit, there are fewer in each than before.
        assert_eq!(split_chunk(&whole, u64::MAX).expect("a chunk").len(), 2);
        assert!(split_chunk(b"no chunk", 1).is_err());
        assert!(split_chunk(b"0000000002 \n{},", 1).is_err());
    }
}
