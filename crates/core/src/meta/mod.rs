//! Metadata: the private view, transactions, the journal, trees, allocation, recovery.
