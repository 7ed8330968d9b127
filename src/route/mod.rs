//! Which request goes where.
