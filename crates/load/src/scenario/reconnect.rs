//! Reconnect: every client of a room is cut ten times while messages flow, and resumes.
//!
//! Nothing may be missed, and almost every authorisation must be answered from memory.

use super::{Sending, invite};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::report::Report;
use crate::server::Server;

/// How often each client is cut.
const CUTS: u64 = 10;

/// Cuts end before the sends do, in tenths of the run: a resume is to find messages flowing.
const CUTTING_TENTHS: u64 = 9;

const HITS: &str = "tertulia_membership_hits_total";
const MISSES: &str = "tertulia_membership_misses_total";
const QUERIES: &str = "tertulia_reader_queries_total";
const STANDING: &str = "kind=\"standing\"";

/// Share of the authorisations that must not ask the store.
const HIT_RATIO_MIN: f64 = 0.99;

/// What the server counted of its authorisations.
#[derive(Clone, Copy)]
struct Counted {
    hits: f64,
    misses: f64,
    queries: f64,
}

impl Counted {
    fn read(server: &Server) -> Result<Option<Counted>, Error> {
        let Some(addr) = server.internal else { return Ok(None) };
        let page = Metrics::read(addr)?;
        Ok(Some(Counted {
            hits: page.total(HITS)?,
            misses: page.total(MISSES)?,
            queries: page.labelled(QUERIES, STANDING),
        }))
    }

    fn since(self, before: Counted) -> Counted {
        Counted {
            hits: self.hits - before.hits,
            misses: self.misses - before.misses,
            queries: self.queries - before.queries,
        }
    }
}

pub(super) fn run(options: &Options, server: &Server) -> Result<Report, Error> {
    let clients = options.clients();
    let before = Counted::read(server)?;
    let mut crowd = invite(options, server, &vec![0; clients as usize])?;
    crowd.gather(0..clients as usize)?;
    let sending = Sending::plan(options, server, &mut crowd, clients);
    let cutting_ns = (sending.until_ns - sending.from_ns) * CUTTING_TENTHS / 10;
    crowd.plan_cuts(CUTS, sending.from_ns, sending.from_ns + cutting_ns);
    let mut report = sending.finish(options, server, &mut crowd, 1)?;

    let due = u64::from(clients) * CUTS;
    let cuts = report.cuts;
    report.require(cuts == due, || format!("{cuts} of {due} cuts were made, give more --seconds"));
    match before.zip(Counted::read(server)?) {
        Some((before, after)) => judge(&mut report, after.since(before), due),
        None => report.require(false, || format!("{HITS} was not looked at, give --metrics-url")),
    }
    Ok(report)
}

fn judge(report: &mut Report, Counted { hits, misses, queries }: Counted, cuts: u64) {
    let all = hits + misses;
    let ratio = hits / all;
    report.measured.insert("membership_hits", hits);
    report.measured.insert("membership_misses", misses);
    report.measured.insert("membership_hit_ratio", ratio);
    report.measured.insert("standing_queries", queries);
    let subs = cuts + u64::from(report.clients);
    report.require(all >= subs as f64, || {
        format!("{all} authorisations were counted, at least {subs} were asked for")
    });
    report.require(ratio >= HIT_RATIO_MIN, || {
        format!("{ratio:.3} of {all} authorisations were hits, the least is {HIT_RATIO_MIN}")
    });
    report.require(queries == misses, || {
        format!(
            "{queries} queries of {QUERIES}{{{STANDING}}}, expected one for each of {misses} misses"
        )
    });
}
