//! The table is the only place for levels and for pairs of them.
use order::{Before, level};

impl Before<level::Transaction> for level::ReverseMap {}

fn main() {}
