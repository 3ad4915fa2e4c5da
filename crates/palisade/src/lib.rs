//! palisade
