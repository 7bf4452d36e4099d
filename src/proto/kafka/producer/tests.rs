//! The producer and brokers that are made up.
