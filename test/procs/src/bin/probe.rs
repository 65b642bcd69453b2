//! A plain proc that says what it sees of its surroundings, one `key: value` a line, and then waits for the end of its
//! standard input. Arguments: an IPv4 port of the host's loopback to try.

use std::fs;
use std::io::{Read, stdin};
use std::net::TcpStream;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    println!("args: {}", args.join(" "));
    println!("env: {}", std::env::var("PROBE").unwrap_or_default());
    println!("pid: {}", std::process::id());
    println!("threads: {}", std::thread::spawn(|| "work").join().unwrap_or("fail"));
    println!("file: {}", outcome(fs::read("/etc/passwd").map(drop)));
    let port = args.get(1).and_then(|port| port.parse::<u16>().ok());
    println!("net: {}", outcome(TcpStream::connect(("127.0.0.1", port.unwrap_or(9))).map(drop)));
    println!("ready: yes");
    let _ = stdin().read_to_end(&mut Vec::new());
}

fn outcome(result: std::io::Result<()>) -> String {
    match result {
        Ok(()) => "open".into(),
        Err(error) => format!("errno {}", error.raw_os_error().unwrap_or(0)),
    }
}
