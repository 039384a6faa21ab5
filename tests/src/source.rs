//! A stand-in for a source API whose answers a test decides, request by request.

use std::{
    io::{self, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::Result;

use crate::http::{self, Request};

/// Answers requests on loopback until the process ends, and remembers them.
#[derive(Debug, Clone)]
pub struct Source {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Source {
    /// `answer` writes a whole response, or whatever a hostile source would.
    pub fn start(
        answer: impl Fn(&Request, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            let ended = http::serve_forever(&listener, move |request, stream| {
                seen.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(request.target.clone());
                answer(&request, stream)
            });
            if let Err(error) = ended {
                eprintln!("the source stopped: {error}");
            }
        });
        Ok(Self { address, requests })
    }

    /// Answers every request with JSON of a status.
    pub fn json(
        answer: impl Fn(&Request) -> (u16, String) + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::start(move |request, stream| {
            let (status, body) = answer(request);
            stream.write_all(&http::response(
                status,
                &[("content-type", "application/json")],
                body.as_bytes(),
            ))
        })
    }

    /// Base URL, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Path and query of each request so far, in the order of arrival.
    pub fn requests(&self) -> Vec<String> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
