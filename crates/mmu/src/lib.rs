//! Page tables, real and simulated.
