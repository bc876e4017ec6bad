//! Linux, in one place.
