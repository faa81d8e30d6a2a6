//! Numbers that nobody can guess.

/// Eight such bytes.
pub(crate) fn bytes() -> [u8; 8] {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's source of randomness does not run dry");
    bytes
}

/// One such number.
pub(crate) fn number() -> u64 {
    u64::from_ne_bytes(bytes())
}
