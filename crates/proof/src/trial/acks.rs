//! T07, lost acks: whoever does not know whether a send was stored says it again, and finds it once. (I5, I6)
//!
//! A sender's socket goes when someone else has heard the message, so it was stored, and before the sender has
//! read a byte of the answer.

use serde_json::json;

use crate::client::{Client, message};
use crate::report::{Report, Trial};
use crate::stage::Stage;

/// The trial.
pub const TRIAL: Trial = Trial { id: "T07", title: "acks that are lost behind the commit", run };

fn run(stage: &Stage, report: &mut Report) {
    let cuts: u64 = stage.scale(200, 10_000, 100_000);
    let server = stage.place().set("limits.send_per_second", 0).open();
    server.room("garden", "group", &["ada", "bob"]);
    let mut bob = Client::join(&server, "bob", &["garden"]);
    let token = server.token("ada");
    let (mut same, mut doubled) = (0, 0);
    for cut in 0..cuts {
        let cid = format!("c{cut}");
        let (mut ada, _) = Client::welcome(&server, &token, json!([]));
        ada.command(message("garden", &cid));
        let heard = bob.find(|said| said["cid"] == cid.as_str());
        drop(ada);
        let (mut ada, _) = Client::welcome(&server, &token, json!([]));
        let again = ada.send("garden", &cid);
        if again["seq"] == heard["seq"] && again["dup"] == true {
            same += 1;
        } else {
            report.wrong(format!("{cid} was stored as {}, and then {again}", heard["seq"]));
        }
        if cut % 500 == 0 {
            stage.progress(&format!("{cut} of {cuts} cuts"));
        }
    }
    match server.log("garden") {
        Ok(log) => {
            let messages = log.iter().filter(|line| line.contains(r#""k":"msg""#)).count() as u64;
            doubled = messages.saturating_sub(cuts);
            report.expect(messages == cuts, || format!("{messages} messages of {cuts} sends"));
        }
        Err(error) => report.wrong(error),
    }
    report.figure("cuts", cuts as f64);
    report.figure("same number", same as f64);
    report.figure("doubled", doubled as f64);
}
