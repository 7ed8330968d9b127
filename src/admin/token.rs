//! The administration's token: read from a file, or made at random and left where only the same user's commands find it.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Shorter ones can be guessed.
const SHORTEST: usize = 16;
const LONGEST: u64 = 4096;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the admin token from {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// The file holds no token.
    #[error("expected a token of at least {SHORTEST} visible ASCII characters in {}", .0.display())]
    Unfit(PathBuf),
    /// The system has no random numbers.
    #[error("cannot make a random admin token")]
    Random,
}

/// The administration's token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    text: String,
    /// Where commands find it; `None` where it could not be written, with the reason in `unwritten`.
    pub path: Option<PathBuf>,
    /// Why a random token is kept in memory only.
    pub unwritten: Option<String>,
}

impl Token {
    /// The token itself.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("text", &"***").field("path", &self.path).finish()
    }
}

/// The folders in which a token may lie, the preferred one first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeDirs(Vec<PathBuf>);

impl RuntimeDirs {
    /// `$XDG_RUNTIME_DIR/outboard`, then `outboard-<uid>` in `$TMPDIR` or /tmp.
    pub fn from_env() -> Self {
        let var = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let shared = var("TMPDIR").unwrap_or_else(|| "/tmp".into());
        let own = format!("outboard-{}", rustix::process::geteuid().as_raw());
        let runtime = var("XDG_RUNTIME_DIR").map(|dir| dir.join("outboard"));
        RuntimeDirs(runtime.into_iter().chain([shared.join(own)]).collect())
    }

    /// These folders.
    pub fn new(dirs: impl IntoIterator<Item = PathBuf>) -> Self {
        RuntimeDirs(dirs.into_iter().collect())
    }
}

/// The token of this process, whose administration listens on `port`: from `token_file`, else a random one, which is
/// written 0600 into the first of `dirs` that allows it. A read-only root is not an error.
pub fn own_token(port: u16, token_file: Option<&Path>, dirs: &RuntimeDirs) -> Result<Token, TokenError> {
    if let Some(path) = token_file {
        return Ok(Token { text: read(path, false)?, path: Some(path.into()), unwritten: None });
    }
    let mut random = [0u8; 32];
    getrandom::fill(&mut random).map_err(|_| TokenError::Random)?;
    let text: String = random.iter().map(|b| format!("{b:02x}")).collect();
    let mut unwritten = None;
    for dir in &dirs.0 {
        match write(dir, &file_name(port), &text) {
            Ok(path) => return Ok(Token { text, path: Some(path), unwritten: None }),
            Err(e) => unwritten = unwritten.or(Some(format!("{}: {e}", dir.display()))),
        }
    }
    Ok(Token { text, path: None, unwritten })
}

/// Where a command finds the token of the process whose administration is at `address`; `None` where it left none.
pub fn find_token(address: &str, token_file: Option<&Path>, dirs: &RuntimeDirs) -> Result<Option<String>, TokenError> {
    if let Some(path) = token_file {
        return read(path, false).map(Some);
    }
    let Some(port) = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()) else { return Ok(None) };
    for dir in &dirs.0 {
        if check_dir(dir).is_ok() {
            match read(&dir.join(file_name(port)), true) {
                Err(TokenError::Read(_, e)) if e.kind() == io::ErrorKind::NotFound => {}
                found => return found.map(Some),
            }
        }
    }
    Ok(None)
}

fn file_name(port: u16) -> String {
    format!("admin-{port}.token")
}

/// Reads a token. A file that the user named may be a link, as mounted secrets are; one in a shared folder may not.
fn read(path: &Path, private: bool) -> Result<String, TokenError> {
    let failed = |e| TokenError::Read(path.into(), e);
    let flags = OFlags::CLOEXEC | if private { OFlags::NOFOLLOW } else { OFlags::empty() };
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path).map_err(failed)?;
    if private && file.metadata().map_err(failed)?.uid() != rustix::process::geteuid().as_raw() {
        return Err(failed(io::Error::new(io::ErrorKind::PermissionDenied, "the file belongs to another user")));
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(failed)?;
    let token = text.trim();
    if token.len() < SHORTEST || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(TokenError::Unfit(path.into()));
    }
    Ok(token.to_owned())
}

/// Writes beside and renames: whoever reads finds a whole token, and a link that someone laid there is replaced, not
/// followed.
fn write(dir: &Path, name: &str, token: &str) -> io::Result<PathBuf> {
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    check_dir(dir)?;
    let beside = dir.join(format!(".{name}.{}", std::process::id()));
    // Left by a process of the same number that died in between.
    let _ = std::fs::remove_file(&beside);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let path = dir.join(name);
    let written = writeln!(file, "{token}").and_then(|()| std::fs::rename(&beside, &path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written.map(|()| path)
}

/// A folder that someone else owns, can write to or has linked elsewhere is not ours to trust.
fn check_dir(dir: &Path) -> io::Result<()> {
    let found = std::fs::symlink_metadata(dir)?;
    let problem = if !found.is_dir() {
        "is a link or no folder"
    } else if found.uid() != rustix::process::geteuid().as_raw() {
        "belongs to another user"
    } else if found.mode() & 0o077 != 0 {
        "is open to other users, expected mode 0700"
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("the folder {problem}")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_random_token_is_left_where_commands_find_it() {
        let root = tempfile::tempdir().unwrap();
        let dirs = RuntimeDirs::new([root.path().join("outboard")]);
        assert_eq!(find_token("127.0.0.1:9901", None, &dirs).unwrap(), None);
        let token = own_token(9901, None, &dirs).unwrap();
        assert_eq!(token.as_str().len(), 64);
        let path = token.path.clone().unwrap();
        assert_eq!(path, root.path().join("outboard/admin-9901.token"));
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(find_token("127.0.0.1:9901", None, &dirs).unwrap().as_deref(), Some(token.as_str()));
        assert_eq!(find_token("[::1]:9902", None, &dirs).unwrap(), None);
        let next = own_token(9901, None, &dirs).unwrap();
        assert_ne!(next, token, "each start has its own");
        assert_eq!(find_token("127.0.0.1:9901", None, &dirs).unwrap().as_deref(), Some(next.as_str()));
        assert!(!format!("{token:?}").contains(token.as_str()));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_token_file_is_read_and_has_to_hold_one() {
        let root = tempfile::tempdir().unwrap();
        let (path, none) = (root.path().join("token"), RuntimeDirs::new([]));
        assert!(matches!(own_token(1, Some(&path), &none), Err(TokenError::Read(..))));
        for bad in ["", "short\n", "sixteen and more with spaces"] {
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(own_token(1, Some(&path), &none), Err(TokenError::Unfit(_))), "{bad}");
        }
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        let link = root.path().join("mounted");
        symlink(&path, &link).unwrap();
        assert_eq!(own_token(1, Some(&link), &none).unwrap().as_str(), "0123456789abcdef");
        assert_eq!(find_token("x", Some(&link), &none).unwrap().unwrap(), "0123456789abcdef");
    }

    #[test]
    fn a_folder_that_is_not_ours_alone_is_not_used() {
        let root = tempfile::tempdir().unwrap();
        let open = root.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
        std::fs::write(open.join("admin-1.token"), "laid there by someone").unwrap();
        let own = root.path().join("own");
        std::fs::DirBuilder::new().mode(0o700).create(&own).unwrap();
        let link = root.path().join("link");
        symlink(&own, &link).unwrap();
        for dir in [open, link, root.path().join("missing/deeper")] {
            let dirs = RuntimeDirs::new([dir]);
            let token = own_token(1, None, &dirs).unwrap();
            assert!(token.path.is_none() && token.unwritten.is_some());
            assert_eq!(token.as_str().len(), 64, "in memory");
            assert_eq!(find_token("h:1", None, &dirs).unwrap(), None);
        }
    }

    #[test]
    fn a_link_in_our_folder_is_replaced_and_never_followed() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("own");
        std::fs::DirBuilder::new().mode(0o700).create(&dir).unwrap();
        let victim = root.path().join("victim");
        std::fs::write(&victim, "a file of great importance").unwrap();
        symlink(&victim, dir.join("admin-1.token")).unwrap();
        let dirs = RuntimeDirs::new([root.path().join("missing/deeper"), dir]);
        assert!(find_token("h:1", None, &dirs).is_err());
        let token = own_token(1, None, &dirs).unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "a file of great importance");
        assert_eq!(find_token("h:1", None, &dirs).unwrap().as_deref(), Some(token.as_str()));
    }
}
