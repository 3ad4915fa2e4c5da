//! palisade-core
