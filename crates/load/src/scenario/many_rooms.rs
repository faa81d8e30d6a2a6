//! Many rooms: each client in one of them; what is said in a room stays in it.

use super::{Sending, invite};
use crate::error::Error;
use crate::options::Options;
use crate::report::Report;
use crate::server::Server;

pub(super) fn run(options: &Options, server: &Server) -> Result<Report, Error> {
    let clients = options.clients();
    let rooms: Vec<u32> = (0..clients).map(|client| client % options.rooms).collect();
    let mut crowd = invite(options, server, &rooms)?;
    crowd.gather(0..clients as usize)?;
    let sending = Sending::plan(options, server, &mut crowd, clients);
    sending.finish(options, server, &mut crowd, options.rooms.min(clients))
}
