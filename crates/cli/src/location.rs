//! Places on the command line: `POOL:/path` is a file in a pool, anything else a path of the host.
//!
//! The first `:/` divides. A host file with `:/` in its path is reached by changing the directory first.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A file somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// On the host.
    Host(PathBuf),
    /// In a pool.
    Pool(InPool),
}

/// A file in a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InPool {
    /// The pool, on the host.
    pub pool: PathBuf,
    /// The path inside, from the root: starts with `/`.
    pub path: PathBuf,
}

impl InPool {
    /// Reads `POOL:/path`; a pool alone (`POOL`, `POOL:`) means its root.
    pub fn parse(text: &OsStr) -> InPool {
        match Location::parse(text) {
            Location::Pool(place) => place,
            Location::Host(pool) => {
                let bytes = pool.as_os_str().as_bytes();
                let pool = bytes.strip_suffix(b":").filter(|rest| !rest.is_empty()).unwrap_or(bytes);
                InPool { pool: from_bytes(pool), path: "/".into() }
            }
        }
    }
}

impl Location {
    /// Reads either form.
    pub fn parse(text: &OsStr) -> Location {
        let bytes = text.as_bytes();
        match bytes.windows(2).position(|two| two == b":/") {
            Some(at) if at > 0 => {
                Location::Pool(InPool { pool: from_bytes(&bytes[..at]), path: from_bytes(&bytes[at + 1..]) })
            }
            _ => Location::Host(text.into()),
        }
    }
}

fn from_bytes(bytes: &[u8]) -> PathBuf {
    OsString::from_vec(bytes.to_vec()).into()
}

impl fmt::Display for InPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.pool.display(), self.path.display())
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Host(path) => write!(f, "{}", path.display()),
            Location::Pool(place) => place.fmt(f),
        }
    }
}

/// The bytes of a path.
pub fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// For clap: an argument that names a place in a pool.
pub fn in_pool() -> impl clap::builder::TypedValueParser<Value = InPool> {
    use clap::builder::TypedValueParser;
    clap::builder::OsStringValueParser::new().map(|text| InPool::parse(&text))
}

/// For clap: an argument that names a place anywhere.
pub fn anywhere() -> impl clap::builder::TypedValueParser<Value = Location> {
    use clap::builder::TypedValueParser;
    clap::builder::OsStringValueParser::new().map(|text| Location::parse(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_colon_slash_divides_pool_and_path() {
        let place = InPool::parse(OsStr::new("/pools/a:/x/y:/z"));
        assert_eq!((place.pool, place.path), ("/pools/a".into(), "/x/y:/z".into()));
        for text in ["a.pool", "a.pool:", "a.pool:/"] {
            let place = InPool::parse(OsStr::new(text));
            assert_eq!((place.pool, place.path), ("a.pool".into(), "/".into()), "{text}");
        }
        assert_eq!(Location::parse(OsStr::new("/tmp/a:b")), Location::Host("/tmp/a:b".into()));
    }
}
