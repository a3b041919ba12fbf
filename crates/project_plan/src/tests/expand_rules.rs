//! Typed values become inputs.
