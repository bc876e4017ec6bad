//! The words after `-o`, as mount(8) and test suites give them.

use super::ACCESS_USUAL;
use crate::errors::{Failure, Result};
use crate::exit::Exit;
use engine::fs::Access;
use mount::{MountOptions, OnDeath, SpecialFiles, Users};

/// Words that ask for what holds anyway, or for what a mount in user space cannot say.
const ACCEPTED: [&str; 20] = [
    "rw",
    "defaults",
    "default_permissions",
    "nosuid",
    "nodev",
    "exec",
    "async",
    "atime",
    "noatime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "diratime",
    "nodiratime",
    "lazytime",
    "user",
    "nouser",
    "auto",
    "noauto",
];

/// What was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    /// Reading only, or not.
    pub access: Access,
    /// What `df` shows, if not the pool's path.
    pub name: Option<String>,
    /// The rest.
    pub mount: MountOptions,
}

impl Choices {
    /// Reads the words.
    pub fn parse(words: &[String]) -> Result<Choices> {
        let mut choices = Choices { access: ACCESS_USUAL, name: None, mount: MountOptions::default() };
        for word in words.iter().map(|word| word.trim()).filter(|word| !word.is_empty()) {
            choices.take(word)?;
        }
        Ok(choices)
    }

    fn take(&mut self, word: &str) -> Result<()> {
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        match (name, value) {
            ("ro", None) => self.access = Access::ReadOnly,
            ("allow_other" | "allow_root", None) => self.mount.users = Users::All,
            ("auto_unmount", None) => self.mount.on_death = OnDeath::Unmount,
            ("dev" | "suid", None) => self.mount.special_files = SpecialFiles::Honoured,
            ("fsname", Some(value)) if !value.is_empty() => self.name = Some(value.to_owned()),
            ("threads", Some(value)) => {
                let threads = value.parse().ok().filter(|threads| (1..=64).contains(threads));
                self.mount.threads = Some(threads.ok_or_else(|| unknown(word, "threads is a number from 1 to 64"))?);
            }
            (name, None) if ACCEPTED.contains(&name) => {}
            _ => {
                let known = "known are ro, allow_other, allow_root, auto_unmount, fsname=NAME, threads=N, dev, suid";
                return Err(unknown(word, known));
            }
        }
        Ok(())
    }
}

fn unknown(word: &str, hint: &str) -> Failure {
    Failure::new(Exit::Usage, format!("mount option `{word}` is not understood; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Choices> {
        Choices::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn known_words_are_taken_and_others_refused_with_a_hint() {
        let choices = parse(&["ro", "allow_other", "fsname=x", "noatime", "threads=3"]).unwrap();
        assert_eq!((choices.access, choices.name.as_deref()), (Access::ReadOnly, Some("x")));
        assert_eq!((choices.mount.users, choices.mount.threads), (Users::All, Some(3)));
        for word in ["frob", "threads=0", "threads=many", "ro=1", "fsname="] {
            assert_eq!(parse(&[word]).unwrap_err().exit, Exit::Usage, "{word}");
        }
    }
}
