//! What a mount is to be like.

/// Who may use the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Users {
    /// Everybody, as permissions allow, if root mounts; else only the one who mounts.
    #[default]
    Usual,
    /// Only the one who mounts; not even root.
    Owner,
    /// Everybody, as permissions allow. An ordinary user needs `user_allow_other` in `/etc/fuse.conf`.
    All,
}

/// What the kernel may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Caching {
    /// Names, attributes and pages, until they are told to have changed. Right only if every change that does not come
    /// through the mount is told to its [`ChangeListener`](crate::ChangeListener), or none is made.
    #[default]
    Kept,
    /// Nothing beyond one call: every look asks the file system. For a file system that others change untold.
    Off,
}

/// What becomes of the mount point when the serving process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDeath {
    /// It stays, every access fails at once with `ENOTCONN`, until somebody unmounts it.
    #[default]
    Stay,
    /// A helper process (`fusermount3`) waits for the death and unmounts. Needs the package fuse3 and
    /// [`Users::All`] (or root).
    Unmount,
}

/// Whether set-user-id bits and device files in the pool are honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpecialFiles {
    /// They are kept and mean nothing (`nosuid,nodev`): a pool may come from anywhere.
    #[default]
    Inert,
    /// They work, as on a system disk. Only root can ask for it.
    Honoured,
}

/// The options of a mount. `MountOptions::default()` is right for most.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MountOptions {
    /// The name in the first column of `df` and `/proc/mounts`; "daxle" if `None`.
    pub name: Option<String>,
    /// Who may use it.
    pub users: Users,
    /// What the kernel may keep.
    pub caching: Caching,
    /// What happens when the server dies.
    pub on_death: OnDeath,
    /// Set-user-id bits and device files.
    pub special_files: SpecialFiles,
    /// Serving threads, 1 to 64; one for each processor, at least 2 and at most 16, if `None`.
    pub threads: Option<usize>,
}

impl MountOptions {
    pub(crate) fn threads(&self) -> usize {
        let usual = || std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 16);
        self.threads.map_or_else(usual, |n| n.clamp(1, 64))
    }

    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("daxle")
    }
}
