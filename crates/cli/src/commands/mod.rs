//! The subcommands, one module each: arguments, work, output.

pub mod bench;
pub mod cat;
pub mod check;
pub mod cp;
pub mod create;
pub mod demo;
pub mod explore;
pub mod fsx;
pub mod info;
pub mod locks;
pub mod ls;
pub mod mkdir;
pub mod mount;
pub mod mv;
pub mod rm;
pub mod stat;
pub mod umount;
