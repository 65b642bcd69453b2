//! Parts with connections that the kernel hands over.

use libc::{c_int, c_long};
use sigmaos::{Code, Error, Result, Sigma};
use std::os::fd::AsRawFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Answers so many requests, one after the other.
pub(crate) async fn answer(sigma: &Sigma, port: u16, connections: usize) -> Result<()> {
    let mut published = sigma.published(port).await?;
    sigma.started().await?;
    for _ in 0..connections {
        let (mut stream, peer) = published.accept().await?;
        read_request(&mut stream).await.map_err(super::broken)?;
        let body = format!("hello {peer}\n");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).await.map_err(super::broken)?;
        stream.shutdown().await.map_err(super::broken)?;
    }
    Ok(())
}

/// Reads up to the end of the head of a request.
async fn read_request(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Tries to make something else of a connection, and says what was allowed; it still carries bytes afterwards.
pub(crate) async fn turn(sigma: &Sigma, port: u16) -> Result<()> {
    let mut published = sigma.published(port).await?;
    sigma.started().await?;
    let (mut stream, peer) = published.accept().await?;
    let fd = stream.as_raw_fd();
    // An address of family AF_UNSPEC: connecting to it would take the connection apart.
    let unspec = [0u8; 16];
    let mut loopback = [0u8; 16];
    loopback[..8].copy_from_slice(&[2, 0, (peer.port() >> 8) as u8, peer.port() as u8, 127, 0, 0, 1]);
    let (mut name, mut length, on) = ([0u8; 128], 128u32, 1 as c_int);
    // SAFETY: every call is refused; were it allowed, its arguments are valid for its duration.
    let attempts: [(&str, c_long); 10] = unsafe {
        use libc::*;
        [
            ("connect AF_UNSPEC", syscall(SYS_connect, fd, unspec.as_ptr(), 16)),
            ("connect", syscall(SYS_connect, fd, loopback.as_ptr(), 16)),
            ("bind", syscall(SYS_bind, fd, loopback.as_ptr(), 16)),
            ("listen", syscall(SYS_listen, fd, 1)),
            ("accept4", syscall(SYS_accept4, fd, 0, 0, 0)),
            ("getsockname", syscall(SYS_getsockname, fd, name.as_mut_ptr(), &raw mut length)),
            ("getpeername", syscall(SYS_getpeername, fd, name.as_mut_ptr(), &raw mut length)),
            ("sendto", syscall(SYS_sendto, fd, c"x".as_ptr(), 1, 0, loopback.as_ptr(), 16)),
            ("fastopen", syscall(SYS_sendto, fd, c"x".as_ptr(), 1, MSG_FASTOPEN, 0, 0)),
            ("setsockopt", syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_REUSEADDR, &raw const on, 4)),
        ]
    };
    let allowed: Vec<_> =
        attempts.iter().filter(|(_, result)| *result != -1).map(|(name, _)| *name).collect();
    stream.write_all(format!("allowed: {allowed:?}").as_bytes()).await.map_err(super::broken)?;
    if allowed.is_empty() { Ok(()) } else { Err(Error::new(Code::Internal, format!("allowed: {allowed:?}"))) }
}
