//! A failing schedule as a sequence chart.
//!
//! Threads are columns, time runs downward, one line for each thing that happened. A lock is a bar
//! beside the lines of the thread that holds it, from the line that took it to the line that let it
//! go; a dashed bar is a wait. The last line is the defect. The chart is meant for somebody who does
//! not have the code at hand: it names locks and steps in words, and says how to run it again.
//!
//! [`layout`] works out what stands where; [`to_text`] and [`to_svg`] draw it.

mod layout;
mod svg;
mod text;

pub use svg::to_svg;
pub use text::to_text;
