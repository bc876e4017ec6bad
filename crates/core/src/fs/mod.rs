//! Files: names, sizes, reads, writes and block maps, over the transactions of `meta`.
