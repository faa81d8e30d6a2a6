//! tertulia-protocol
