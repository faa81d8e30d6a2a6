//! tertulia-server
fn main() {}
