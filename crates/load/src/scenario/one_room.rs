//! One room: everyone talks, everyone hears everything once and in order.

use super::{Sending, invite};
use crate::error::Error;
use crate::options::Options;
use crate::report::Report;
use crate::server::Server;

pub(super) fn run(options: &Options, server: &Server) -> Result<Report, Error> {
    let clients = options.clients();
    let mut crowd = invite(options, server, &vec![0; clients as usize])?;
    crowd.gather(0..clients as usize)?;
    let sending = Sending::plan(options, server, &mut crowd, clients);
    sending.finish(options, server, &mut crowd, 1)
}
