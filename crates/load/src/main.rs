//! tertulia-load
fn main() {}
