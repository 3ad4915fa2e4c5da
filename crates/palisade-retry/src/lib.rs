//! palisade-retry
