//! A proxy that takes everything to the city's server, whatever it is asked for.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::city::{City, PUBLIC};

/// What a proxy says to a client that begins: what it was asked for.
pub type Welcome = fn(&mut TcpStream) -> io::Result<String>;

/// It runs until the test ends.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// One of HTTP.
    pub fn of(city: &City) -> Self {
        Self::speaking(city, connect_request)
    }

    /// One of HTTP whose ways all lead to this server.
    pub fn to(server: SocketAddr) -> Self {
        Self::between(server, connect_request)
    }

    /// One with other manners.
    pub fn speaking(city: &City, welcome: Welcome) -> Self {
        Self::between(city.door(PUBLIC), welcome)
    }

    fn between(server: SocketAddr, welcome: Welcome) -> Self {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = asked.clone();
        thread::spawn(move || {
            for stream in socket.incoming().map_while(Result::ok) {
                let log = log.clone();
                thread::spawn(move || tunnel(stream, server, welcome, &log));
            }
        });
        Self { address, asked }
    }

    /// What it was asked for, and then forgets.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// `CONNECT host:port`, accepted.
fn connect_request(client: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.extend(byte);
    }
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let head = String::from_utf8_lossy(&head);
    Ok(head.split(' ').nth(1).unwrap_or_default().to_owned())
}

fn tunnel(mut client: TcpStream, server: SocketAddr, welcome: Welcome, log: &Mutex<Vec<String>>) {
    let Ok(asked) = welcome(&mut client) else { return };
    log.lock().unwrap().push(asked);
    let mut server = TcpStream::connect(server).unwrap();
    let (mut up, mut down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        let _ = io::copy(&mut up, &mut server);
        let _ = server.shutdown(Shutdown::Write);
    });
    let _ = io::copy(&mut down, &mut client);
    let _ = client.shutdown(Shutdown::Write);
}
