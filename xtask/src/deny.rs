//! Deny: what our dependencies may be, as `deny.toml` says.
//!
//! The advisories need data from outside. Where it cannot be reached everything else is still checked, and
//! what was not is said loudly: it is not the same as nothing found.

use crate::run::{Done, show};
use crate::{steps, tools};

/// Data that has not come by then will not.
const FETCH_SECONDS: u32 = 120;

/// Checks bans, licences and sources, and advisories where their data can be had.
pub(crate) fn run() -> Done {
    let deny = tools::installed("cargo-deny");
    if !deny.exists() {
        return Err(format!("{} is not there; `make tools` installs it", deny.display()));
    }
    let deny = deny.display();
    show(&format!("{deny} --locked check bans licenses sources"))?;
    if let Err(why) = show(&format!("timeout {FETCH_SECONDS} {deny} fetch db")) {
        println!("{}", not_checked(&why));
        return steps::note(
            "deny: the advisories were NOT CHECKED, their data could not be fetched",
        );
    }
    show(&format!("{deny} --offline check advisories"))
}

fn not_checked(why: &str) -> String {
    let line = "!".repeat(72);
    format!(
        "{line}\nADVISORIES NOT CHECKED: their data could not be fetched ({why}).\n\
         Known faults of our dependencies stay unseen here; run `make deny` where it can be.\n{line}"
    )
}
