//! stub
use std::{fmt, path::PathBuf, str::FromStr};
/// stub
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Endpoint { Tcp { host: String, port: u16 }, Unix(PathBuf) }
impl FromStr for Endpoint { type Err = std::io::Error; fn from_str(s: &str) -> Result<Self, Self::Err> {
 if let Some(p) = s.strip_prefix("unix:") { return Ok(Endpoint::Unix(p.into())) }
 let (h, p) = s.rsplit_once(':').ok_or(std::io::ErrorKind::InvalidInput)?; Ok(Endpoint::Tcp { host: h.into(), port: p.parse().map_err(std::io::Error::other)? }) } }
impl fmt::Display for Endpoint { fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { match self { Endpoint::Tcp { host, port } => write!(f, "{host}:{port}"), Endpoint::Unix(p) => write!(f, "unix:{}", p.display()) } } }
