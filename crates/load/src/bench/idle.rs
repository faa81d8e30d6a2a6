//! Idle: what a connection costs that says nothing, as the slope of resident memory between 2,000 and 18,000 of
//! them; and again after each was told a message and 30 seconds passed.

use std::time::Duration;

use tertulia_proof::process::resident;
use tertulia_proof::report::Report;

use super::Scale;
use super::fan_out::Pace;
use super::herd::Herd;
use super::side::{Side, Yard};
use crate::error::Error;
use crate::options::Durability;

pub(super) fn run(yard: &Yard, scale: &Scale, report: &mut Report) -> Result<(), Error> {
    let (few, many, rest_s) = if scale.quick { (1_000, 5_000, 3) } else { (2_000, 18_000, 30) };
    for side in [Side::Tertulia(Durability::Fsync), Side::Copy { payload_bytes: 190 }, Side::Bun] {
        eprintln!("  {}", side.name());
        let running = yard.start(side, many)?;
        let dialect = running.dialect.clone();
        let mut herd = Herd::gather(running.addr, dialect, few, 1, 64)?;
        let mut looks = Vec::new();
        for members in [few, many] {
            herd.grow(running.addr, members)?;
            herd.idle(Duration::from_secs(2))?;
            let memory = || resident(running.pid.as_raw_nonzero().get()).expect("it runs");
            let fresh = memory();
            herd.send(Pace::Outstanding(1), Duration::from_millis(1))?;
            herd.idle(Duration::from_secs(rest_s))?;
            looks.push((members as f64, fresh as f64, memory() as f64));
            let plot = "MiB resident, by connections";
            let name = format!("{plot} | {}", side.name());
            report.point(&name, members as f64, fresh as f64 / (1 << 20) as f64);
        }
        let slope = |of: fn(&(f64, f64, f64)) -> f64| {
            (of(&looks[1]) - of(&looks[0])) / (many - few) as f64 / 1024.0
        };
        let (fresh, after) = (slope(|look| look.1), slope(|look| look.2));
        report.case(side.name(), "", "KiB a connection", fresh);
        report.case(side.name(), "", "after a message", after);
        if side == Side::Tertulia(Durability::Fsync) {
            report.figure("KiB a connection", fresh);
            report.figure("KiB a connection, after a message", after);
        }
    }
    Ok(())
}
