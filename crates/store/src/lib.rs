//! tertulia-store
