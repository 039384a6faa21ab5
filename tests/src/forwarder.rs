//! An address that leads to one server now and to another later, as the address of a service does.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::Result;

/// Forwards TCP connections on loopback until the process ends.
#[derive(Debug, Clone)]
pub struct Forwarder {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: Mutex<SocketAddr>,
    /// Raised by each act on open connections; a connection has the number of its making.
    acts: AtomicU64,
    /// Connections with a smaller number are swallowed.
    swallowed: AtomicU64,
    /// Connections with a smaller number are closed at their next answer.
    unanswered: AtomicU64,
}

impl Forwarder {
    /// Leads to `target` at first.
    pub fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            acts: AtomicU64::new(0),
            swallowed: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Nobody listens at the target: the client sees its connection closed.
                if let Err(error) = accepting.connect(client) {
                    eprintln!("a connection was not forwarded: {error}");
                }
            }
        });
        Ok(Self { address, shared })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that are made from now on lead to `target`; those that are open stay where they are.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.shared.target() = target;
    }

    /// Whatever is sent on the connections that are open gets lost from now on, in both directions, and they stay open:
    /// as when the other machine is gone.
    pub fn swallow(&self) {
        let acts = self.shared.acts.fetch_add(1, Ordering::SeqCst);
        self.shared.swallowed.store(acts + 1, Ordering::SeqCst);
    }

    /// The connections that are open are closed when the next answer comes on them, which gets lost: what was asked has
    /// been done.
    pub fn lose_answers(&self) {
        let acts = self.shared.acts.fetch_add(1, Ordering::SeqCst);
        self.shared.unanswered.store(acts + 1, Ordering::SeqCst);
    }
}

impl Shared {
    fn target(&self) -> std::sync::MutexGuard<'_, SocketAddr> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(self: &Arc<Self>, client: TcpStream) -> std::io::Result<()> {
        let server = TcpStream::connect(*self.target())?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (client_too, server_too) = (client.try_clone()?, server.try_clone()?);
        let number = self.acts.load(Ordering::SeqCst);
        let shared = Arc::clone(self);
        thread::spawn(move || copy(client, server, || shared.questions(number)));
        let shared = Arc::clone(self);
        thread::spawn(move || copy(server_too, client_too, || shared.answers(number)));
        Ok(())
    }

    fn questions(&self, number: u64) -> Fate {
        if number < self.swallowed.load(Ordering::SeqCst) {
            Fate::Lost
        } else {
            Fate::Passes
        }
    }

    fn answers(&self, number: u64) -> Fate {
        if number < self.unanswered.load(Ordering::SeqCst) {
            Fate::Closes
        } else {
            self.questions(number)
        }
    }
}

/// What becomes of bytes that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passes,
    Lost,
    Closes,
}

/// Until one side closes, which closes the other one.
fn copy(mut from: TcpStream, mut to: TcpStream, fate: impl Fn() -> Fate) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let ended = match fate() {
            Fate::Passes => to.write_all(&buffer[..length]).is_err(),
            Fate::Lost => false,
            Fate::Closes => true,
        };
        if ended {
            break;
        }
    }
    // Either may be closed already.
    to.shutdown(Shutdown::Both).ok();
    from.shutdown(Shutdown::Both).ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::PrivateRedis;

    fn ask(stream: &mut TcpStream, line: &str) -> std::io::Result<String> {
        stream.set_read_timeout(Some(std::time::Duration::from_millis(300)))?;
        stream.write_all(line.as_bytes())?;
        let mut answer = [0; 64];
        let length = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    }

    #[test]
    fn open_connections_stay_where_they_are_and_new_ones_go_where_it_leads() {
        let (first, second) = (
            PrivateRedis::start().unwrap(),
            PrivateRedis::start().unwrap(),
        );
        let forwarder = Forwarder::start(first.address()).unwrap();
        let mut old = TcpStream::connect(forwarder.address()).unwrap();
        assert_eq!(ask(&mut old, "SET here first\r\n").unwrap(), "+OK\r\n");
        forwarder.lead_to(second.address());
        let mut new = TcpStream::connect(forwarder.address()).unwrap();
        assert_eq!(ask(&mut new, "GET here\r\n").unwrap(), "$-1\r\n");
        assert!(ask(&mut old, "GET here\r\n").unwrap().contains("first"));
        forwarder.swallow();
        assert!(ask(&mut old, "GET here\r\n").is_err());
        let mut newer = TcpStream::connect(forwarder.address()).unwrap();
        assert_eq!(ask(&mut newer, "PING\r\n").unwrap(), "+PONG\r\n");
        forwarder.lose_answers();
        assert_ne!(
            ask(&mut newer, "SET asked yes\r\n").unwrap_or_default(),
            "+OK\r\n"
        );
        let mut newest = TcpStream::connect(forwarder.address()).unwrap();
        assert!(ask(&mut newest, "GET asked\r\n").unwrap().contains("yes"));
    }
}
