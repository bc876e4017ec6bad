//! An independent reader of the media.
