//! T20, kick race: who was removed hears nothing that came after. (I4)

use serde_json::json;

use crate::client::{Client, message};
use crate::server::{Place, Server};

/// Removes bob again and again while ada speaks; says what he heard that he should not have.
pub fn heard_after_kicks(place: &Place, kicks: u64) -> Vec<String> {
    let server = place.open();
    server.room("garden", "group", &["ada"]);
    let mut ada = Client::join(&server, "ada", &["garden"]);
    let mut overheard = Vec::new();
    for kick in 0..kicks {
        server.done("PUT", "/v1/rooms/garden/members/bob", r#"{"role":"member"}"#);
        let mut bob = Client::join(&server, "bob", &["garden"]);
        // Some are on their way while he is removed.
        let ids: Vec<u64> = (0..4).map(|n| speak(&mut ada, kick, n)).collect();
        server.done("DELETE", "/v1/rooms/garden/members/bob", "");
        let id = speak(&mut ada, kick, 4);
        ada.find(|said| said["id"] == id);
        assert!(ids.len() == 4);
        overheard.extend(listen(&server, &mut bob));
    }
    overheard
}

fn speak(ada: &mut Client, kick: u64, n: u64) -> u64 {
    ada.command(message("garden", &format!("k{kick}-{n}")))
}

/// What bob hears behind his removal, up to the answer to a ping: by then all is queued that ever will be.
fn listen(server: &Server, bob: &mut Client) -> Vec<String> {
    let id = bob.command(json!({"t": "ping"}));
    let mut overheard = Vec::new();
    let (mut removed, mut dropped) = (false, false);
    loop {
        let said = bob.object();
        if said["id"] == id {
            break;
        }
        if said["t"] == "ev" && removed {
            overheard.push(format!("event {} after the removal", said["seq"]));
        }
        removed |= said["k"] == "leave" && said["u"] == "bob";
        dropped |= said["t"] == "drop" && said["code"] == "forbidden";
    }
    if !dropped {
        overheard.push("he was never told".to_owned());
    }
    let sub = bob.ask(json!({"t": "sub", "room": "garden"}));
    if sub["code"] != "not_found" {
        overheard.push(format!("he may come back: {sub}"));
    }
    let page = server.call_as(&server.token("bob"), "GET", "/v1/rooms/garden/log", "");
    if page.status != 404 {
        overheard.push(format!("he may read: {page:?}"));
    }
    overheard
}
