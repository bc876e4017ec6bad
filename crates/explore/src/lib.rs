//! Historical protocols and the explorer.
