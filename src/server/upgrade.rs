//! `run --upgrade`: a new process takes the listening sockets over from the one that runs.
//!
//! The sockets themselves are handed over, so that connections wait in the same queue before, during and after: none is
//! refused. The old process goes on until the new one says that it is ready, then it leaves.
//!
//! ```text
//! new → connects to runtime.upgrade_socket
//! old → one line of JSON: the addresses, in order; with it the descriptors
//! new → "ready" once it accepts
//! old → removes the socket file, "left", and drains
//! new → opens the socket file for its own successor
//! ```

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// Descriptors in one hand-over.
const MOST: usize = 64;
/// How long either side waits for the other's next word.
const PATIENCE: Duration = Duration::from_secs(30);

/// Listening sockets by their address, and the process that still has them.
pub(super) struct Inherited {
    sockets: Vec<(String, OwnedFd)>,
    old: UnixStream,
}

/// Asks the running process for its sockets.
///
/// # Errors
/// When none runs, or it does not answer.
pub(super) fn ask(path: &Path) -> io::Result<Inherited> {
    let old = UnixStream::connect(path)?;
    old.set_read_timeout(Some(PATIENCE))?;
    old.set_write_timeout(Some(PATIENCE))?;
    let mut text = [0u8; 16 << 10];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(&old, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    let addresses: Vec<String> = serde_json::from_slice(&text[..received.bytes]).map_err(io::Error::other)?;
    if addresses.len() != fds.len() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the running process sent sockets without their addresses",
        ));
    }
    Ok(Inherited { sockets: addresses.into_iter().zip(fds).collect(), old })
}

impl Inherited {
    /// The socket of this address, if the old process had one.
    pub(super) fn take(&mut self, address: &str) -> Option<OwnedFd> {
        let at = self.sockets.iter().position(|(a, _)| a == address)?;
        Some(self.sockets.remove(at).1)
    }

    /// Tells the old process that this one accepts; returns when it has begun to leave.
    ///
    /// # Errors
    /// When the old process is gone; then there is nobody left to wait for.
    pub(super) fn ready(mut self) -> io::Result<()> {
        self.old.write_all(b"ready")?;
        let mut left = [0u8; 4];
        self.old.read_exact(&mut left)
    }
}

/// Opens the socket file on which a successor asks. Only its owner may.
///
/// # Errors
/// When the file cannot be made, or another process listens there.
pub(super) fn offer(path: &Path) -> io::Result<UnixListener> {
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"));
    }
    let _ = std::fs::remove_file(path);
    // Bound under another name until its mode is right: there is no moment at which others may connect.
    let hidden = path.with_extension(format!("{}.new", std::process::id()));
    let _ = std::fs::remove_file(&hidden);
    let listener = UnixListener::bind(&hidden)?;
    std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&hidden, path)?;
    Ok(listener)
}

/// Hands the sockets to a successor and waits until it is ready. False: it gave up, and this process goes on.
///
/// # Errors
/// When the successor breaks off.
pub(super) fn hand_over(successor: &UnixStream, addresses: &[String], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    successor.set_nonblocking(false)?;
    successor.set_read_timeout(Some(PATIENCE))?;
    successor.set_write_timeout(Some(PATIENCE))?;
    if fds.len() > MOST {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many listeners to hand over"));
    }
    let text = serde_json::to_vec(addresses).map_err(io::Error::other)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many listeners to hand over"));
    }
    sendmsg(successor, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL)?;
    let mut ready = [0u8; 5];
    (&*successor).read_exact(&mut ready)
}

/// The last word to a successor: the socket file is free.
pub(super) fn left(mut successor: &UnixStream, path: &Path) {
    let _ = std::fs::remove_file(path);
    let _ = successor.write_all(b"left");
}
