//! Sessions: the name of a connection over its reconnects, as the server makes it and keeps it.
//!
//! A client may present any id. All that are in force were made here, so what is kept of one for each
//! connection is its number and not its text.

use tertulia_protocol::SessionId;

/// A session that a server made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session(u64);

impl Session {
    /// A session with that number, which nobody can guess.
    pub fn new(number: u64) -> Session {
        Session(number)
    }

    /// The session that `id` names; none if no server writes it so, and then nobody has it.
    pub fn of(id: SessionId) -> Option<Session> {
        let digits = id.as_str().strip_prefix('s')?;
        let session = Session(u64::from_str_radix(digits, 16).ok()?);
        // Capitals and a missing zero are other names of the same number.
        (session.id() == id).then_some(session)
    }

    /// Its name, as the client is told.
    pub fn id(self) -> SessionId {
        let text = format!("s{:016x}", self.0);
        SessionId::parse(&text).expect("hexadecimal digits are fit for a session")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Session> {
        Session::of(SessionId::parse(text).unwrap())
    }

    #[test]
    fn a_session_is_known_by_the_name_that_the_server_wrote_and_by_no_other() {
        for number in [0, 1, 0xab, u64::MAX] {
            let session = Session::new(number);
            assert_eq!(of(session.id().as_str()), Some(session));
        }
        assert_eq!(of("s00000000000000ab"), Some(Session::new(0xab)));
        let foreign = ["s9", "s", "00000000000000ab", "s00000000000000AB", "S00000000000000ab"];
        let strange = ["s000000000000000ab", "sab", "s-0000000000000ab", "s0000000000000xyz"];
        for text in foreign.into_iter().chain(strange) {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!(of(&"s".repeat(64)), None);
    }
}
