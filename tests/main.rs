//! Layers together, over real sockets.
