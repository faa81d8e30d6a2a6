//! tertulia-rooms
