//! The bytes of a request's body.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::{Compression as Level, GzBuilder};

use crate::model::webhook::Compression;

/// `body` as it goes over the wire. The same bytes come out each time: no time and no
/// name of a system is written into them.
pub(super) async fn encoded(body: &Bytes, compression: Option<Compression>) -> io::Result<Bytes> {
    match compression {
        None => Ok(body.clone()),
        Some(Compression::Gzip) => {
            let body = body.clone();
            // Milliseconds for each megabyte: too long for a thread that serves others meanwhile.
            tokio::task::spawn_blocking(move || gzip(&body))
                .await
                .map_err(io::Error::other)?
        }
    }
}

fn gzip(body: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Level::default());
    encoder.write_all(body)?;
    Ok(encoder.finish()?.into())
}

/// The value of `content-encoding`.
pub(super) fn content_encoding(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip => "gzip",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[tokio::test]
    async fn a_compressed_body_is_the_same_bytes_each_time_and_unpacks_to_the_body() {
        let body = Bytes::from("{\"records\":[1,1,1,1]}".repeat(1000));
        let first = encoded(&body, Some(Compression::Gzip)).await.expect("gzip");
        let second = encoded(&body, Some(Compression::Gzip)).await.expect("gzip");
        assert_eq!(first, second);
        assert!(first.len() * 10 < body.len());
        // RFC 1952: bytes 4 to 7 are the time.
        assert_eq!(first[4..8], [0; 4]);
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&*first)
            .read_to_end(&mut unpacked)
            .expect("gzip");
        assert_eq!(unpacked, body);
        assert_eq!(encoded(&body, None).await.expect("bytes"), body);
    }
}
