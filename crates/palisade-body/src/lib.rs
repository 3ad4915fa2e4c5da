//! palisade-body
