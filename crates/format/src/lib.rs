//! The media layout.
