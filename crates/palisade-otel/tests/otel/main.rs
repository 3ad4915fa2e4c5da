//! The layer as a black box.
