//! The subcommands, one module each: arguments, work, output.

pub mod cat;
pub mod cp;
pub mod create;
pub mod explore;
pub mod info;
pub mod locks;
pub mod ls;
pub mod mkdir;
pub mod mount;
pub mod mv;
pub mod rm;
pub mod stat;
pub mod umount;
