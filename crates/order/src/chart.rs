//! The chart of the lock order.
