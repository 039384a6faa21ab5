//! The webhook that is delivered to: acknowledges at once and counts, without parsing what it gets.

use std::{
    io::{self, Write},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::Result;
use syncline_tests::http::{Request, response, serve_forever};

#[derive(Debug, Default)]
struct Counts {
    events: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
}

/// Serves until the process ends, on a port of the system's choice, which is printed. `GET /counts` tells what came.
pub fn serve() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("{}", listener.local_addr()?);
    let counts = Counts::default();
    let acknowledgement = response(204, &[], b"");
    serve_forever(&listener, move |request, stream| {
        counts.answer(&request, stream, &acknowledgement)
    })?;
    Ok(())
}

impl Counts {
    fn answer(
        &self,
        request: &Request,
        stream: &mut TcpStream,
        acknowledgement: &[u8],
    ) -> io::Result<()> {
        if request.method == "GET" {
            let [events, records, bytes] = [&self.events, &self.records, &self.bytes]
                .map(|count| count.load(Ordering::Relaxed));
            let body = format!(r#"{{"events":{events},"records":{records},"bytes":{bytes}}}"#);
            return stream.write_all(&response(
                200,
                &[("content-type", "application/json")],
                body.as_bytes(),
            ));
        }
        self.events.fetch_add(1, Ordering::Relaxed);
        self.records
            .fetch_add(records_in(&request.body), Ordering::Relaxed);
        self.bytes
            .fetch_add(request.body.len() as u64, Ordering::Relaxed);
        stream.write_all(acknowledgement)
    }
}

/// The value of `meta.count` of a record event, 0 of any other. The records of the benchmark's sources have no such field.
pub fn records_in(body: &[u8]) -> u64 {
    number_after(b"\"count\":", body).unwrap_or(0)
}

/// The number after the last `field`: looked for from the end, where `meta` is.
pub fn number_after(field: &[u8], body: &[u8]) -> Option<u64> {
    let at = body
        .windows(field.len())
        .rposition(|window| window == field)?;
    let digits = &body[at + field.len()..];
    let digits = digits
        .iter()
        .skip_while(|byte| **byte == b' ')
        .take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_counted_by_what_the_event_says() {
        let event = br#"{"payload":{"records":[{"id":1}],"meta":{"first_seq":1,"last_seq":100,"count":100}}}"#;
        assert_eq!(records_in(event), 100);
        assert_eq!(
            records_in(br#"{"payload":{"meta":{"count": 7, "first_seq":1}}}"#),
            7
        );
        assert_eq!(records_in(br#"{"payload":{"records_synced":12}}"#), 0);
    }
}
