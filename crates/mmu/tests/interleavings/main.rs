//! The interleavings of the lock document, each a test named by its number.
//!
//! The engine itself runs here, not a model of it: `Dax` with its entries, fault path, invalidation and
//! writeback, over simulated windows. A plain build runs each scenario in many rounds with real threads.
//! Built with `RUSTFLAGS="--cfg shuttle"` it runs each under every schedule with at most three preemptions
//! (two or one, where three threads or a long set-up make the space large), then under random ones. The lines with
//! the numbers of schedules are seen with `--nocapture`; a failure prints the string that replays it.
//!
//! After each schedule: nobody waits, no lock is held, every translation points to a block that the file
//! owns at that page, every completed store is there, every unflushed store lies under a mark (in marks
//! mode), and the block map equals the bitmap.

#![forbid(unsafe_code)]

mod data;
mod durability;
mod errors;
mod mini;
mod protocol;
mod runner;
mod subject;
mod watched;
mod whole;

/// Makes each scenario a test over each subject.
#[macro_export]
macro_rules! interleavings {
    ($($name:ident: $reach:ident;)*) => {
        mod over_a_small_map {
            $(
                #[test]
                fn $name() {
                    $crate::runner::run(
                        concat!(stringify!($name), " (small map)"),
                        $crate::runner::Reach::$reach,
                        super::$name::<$crate::mini::MiniFs>,
                    );
                }
            )*
        }
        mod over_the_file_system {
            $(
                #[test]
                fn $name() {
                    $crate::runner::run(
                        concat!(stringify!($name), " (file system)"),
                        $crate::runner::Reach::$reach.less(),
                        super::$name::<$crate::whole::WholeFs>,
                    );
                }
            )*
        }
    };
}
