//! Mappings: entries, faults, invalidation, writeback.
