//! The command line. Each subcommand's arguments stand in its own module; here is only the list.

use crate::commands as c;
use crate::errors::Result;
use crate::exit::{self, Exit};

/// Files on memory: make pools, mount them, work in them, test and measure them.
///
/// A pool is a file (or a file on tmpfs or hugetlbfs) that holds a file system whose files can be mapped without a page
/// cache. Files in a pool are written POOL:/path. Sizes are written 512M, 1G, 16GiB.
#[derive(Debug, clap::Parser)]
#[command(name = "daxle", version, after_help = exit::HELP, max_term_width = 110)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What can be asked.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a pool
    Create(c::create::Args),
    /// Show a pool's files in a directory, for any program
    Mount(c::mount::Args),
    /// End a mount
    #[command(visible_alias = "unmount")]
    Umount(c::umount::Args),
    /// Tell what a pool is and how full
    Info(c::info::Args),
    /// Look for damage in a pool; changes nothing
    Check(c::check::Args),
    /// List files in a pool
    Ls(c::ls::Args),
    /// Tell all about files in a pool
    Stat(c::stat::Args),
    /// Print files of a pool
    Cat(c::cat::Args),
    /// Copy files into, out of, between and inside pools
    Cp(c::cp::Args),
    /// Make directories in a pool
    Mkdir(c::mkdir::Args),
    /// Remove files from a pool
    Rm(c::rm::Args),
    /// Rename or move files inside a pool
    Mv(c::mv::Args),
    /// Try it: make a pool, mount it, map files, take faults, kill a writer, recover, check
    Demo(c::demo::Args),
    /// Random operations on one file through several views, against an array of bytes
    Fsx(c::fsx::Args),
    /// Measure the same work on library, mapping, mount and any directory
    Bench(c::bench::Args),
    /// Print the order of the locks
    Locks(c::locks::Args),
    /// Explore interleavings of fault protocols, Linux's historical ones and Daxle's
    Explore(c::explore::Args),
}

impl Command {
    /// Does it.
    pub fn run(&self) -> Result<Exit> {
        match self {
            Command::Create(args) => args.run(),
            Command::Mount(args) => args.run(),
            Command::Umount(args) => args.run(),
            Command::Info(args) => args.run(),
            Command::Check(args) => args.run(),
            Command::Ls(args) => args.run(),
            Command::Stat(args) => args.run(),
            Command::Cat(args) => args.run(),
            Command::Cp(args) => args.run(),
            Command::Mkdir(args) => args.run(),
            Command::Rm(args) => args.run(),
            Command::Mv(args) => args.run(),
            Command::Demo(args) => args.run(),
            Command::Fsx(args) => args.run(),
            Command::Bench(args) => args.run(),
            Command::Locks(args) => args.run(),
            Command::Explore(args) => args.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
