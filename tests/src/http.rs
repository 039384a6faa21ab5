//! The HTTP/1.1 that stand-ins for sources and receivers need: requests with a `Content-Length`, connections that are
//! kept open, one thread each. Fast enough (tens of thousands of requests a second) not to be what a benchmark measures.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

/// Longest request line and headers together.
const MAX_HEAD_BYTES: u64 = 64 * 1024;
/// Longest body; no batch comes near it.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
/// What is read from a socket at once.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: String,
    /// Path and query, undecoded.
    pub target: String,
    /// Names in lower case, in the order of arrival.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(self.target.as_str(), |(path, _)| path)
    }

    /// An argument of the query, undecoded.
    pub fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }
}

/// Reads the next request; `None` when the peer closed the connection between two requests.
pub fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut head = reader.take(MAX_HEAD_BYTES);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_ascii_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(invalid("not a request line"));
    };
    let mut request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
        ..Request::default()
    };
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Err(invalid("the headers don't end"));
        }
        let header = line.trim_end();
        if header.is_empty() {
            break;
        }
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| invalid("a header without a colon"))?;
        request
            .headers
            .push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    if request.header("transfer-encoding").is_some() {
        return Err(invalid("only bodies with a content-length are understood"));
    }
    let length = request
        .header("content-length")
        .map_or(Ok(0), str::parse::<usize>);
    let length = length.map_err(|_| invalid("content-length is no number"))?;
    if length > MAX_BODY_BYTES {
        return Err(invalid("the body is too long"));
    }
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}

/// The bytes of a response with a body.
pub fn response(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n",
        body.len()
    )
    .into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// Answers the requests of one connection until either side closes it. `answer` writes a whole response; its error
/// ends the connection.
pub fn answer_connection(
    stream: TcpStream,
    mut answer: impl FnMut(Request, &mut TcpStream) -> io::Result<()>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::with_capacity(READ_BUFFER_BYTES, stream);
    while let Some(request) = read_request(&mut reader)? {
        answer(request, &mut writer)?;
        writer.flush()?;
    }
    Ok(())
}

/// Serves until the process ends.
pub fn serve_forever(
    listener: &TcpListener,
    answer: impl Fn(Request, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> io::Result<()> {
    let answer = Arc::new(answer);
    loop {
        let (stream, _) = listener.accept()?;
        let answer = Arc::clone(&answer);
        thread::spawn(move || {
            // The end of a connection is the peer's business: it retries or reports.
            drop(answer_connection(stream, |request, writer| {
                answer(request, writer)
            }));
        });
    }
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_requests_on_one_connection_are_read_one_after_the_other() {
        let mut wire: &[u8] =
            b"POST /hook?a=1&b=2 HTTP/1.1\r\nWebhook-Id: evt_1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n";
        let first = read_request(&mut wire).unwrap().unwrap();
        assert_eq!(
            (first.method.as_str(), first.path(), first.query("b")),
            ("POST", "/hook", Some("2"))
        );
        assert_eq!(
            (first.header("webhook-id"), first.body.as_slice()),
            (Some("evt_1"), b"abc".as_slice())
        );
        assert_eq!(read_request(&mut wire).unwrap().unwrap().target, "/");
        assert!(read_request(&mut wire).unwrap().is_none());
    }

    #[test]
    fn a_body_that_ends_early_is_an_error() {
        let mut wire: &[u8] = b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc";
        assert!(read_request(&mut wire).is_err());
    }
}
