//! Network: a machine of its own for a server, as far as the network can tell, and cables to it.
//!
//! Needs root: a network namespace, and a pair of virtual cards for each cable.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

use crate::server::Place;

/// How many there may be at once.
const NETWORKS_MAX: u8 = 200;

/// Each cable has two addresses of four (RFC 2544 keeps 198.18.0.0/15 for trials).
const PREFIX: &str = "/30";

/// A namespace with two cables. Gone when the value goes.
pub struct Network {
    number: u8,
}

/// One of the two ways to the other machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cable {
    /// The first.
    A,
    /// The second.
    B,
}

impl Network {
    /// The first that is free. Panics if there can be none, as without root.
    pub fn make() -> Network {
        let add = |number: &u8| ip(&["netns", "add", &name(*number)]).is_ok();
        let number = (0..NETWORKS_MAX).find(add);
        let number = number.expect("a network namespace: this needs root and `ip` (iproute2)");
        let network = Network { number };
        for cable in [Cable::A, Cable::B] {
            network.lay(cable).unwrap_or_else(|why| panic!("a cable cannot be laid: {why}"));
        }
        network
    }

    fn lay(&self, cable: Cable) -> Result<(), String> {
        let (space, (near, far)) = (name(self.number), self.cards(cable));
        let with_prefix = |address: IpAddr| format!("{address}{PREFIX}");
        ip(&["link", "add", &near, "type", "veth", "peer", "name", &far, "netns", &space])?;
        ip(&["address", "add", &with_prefix(self.here(cable)), "dev", &near])?;
        ip(&["link", "set", &near, "up"])?;
        let there = with_prefix(self.there(cable));
        ip(&["-n", &space, "address", "add", &there, "dev", &far])?;
        ip(&["-n", &space, "link", "set", &far, "up"])
    }

    fn cards(&self, cable: Cable) -> (String, String) {
        let number = self.number;
        (format!("proof-{number}{cable:?}"), format!("server-{number}{cable:?}"))
    }

    /// Our end of a cable.
    pub fn here(&self, cable: Cable) -> IpAddr {
        self.address(cable, 1)
    }

    /// The other machine's end.
    pub fn there(&self, cable: Cable) -> IpAddr {
        self.address(cable, 2)
    }

    fn address(&self, cable: Cable, end: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(198, 18, self.number, 4 * cable as u8 + end))
    }

    /// Pulls a cable out: whatever is on its way is lost, and nobody is told.
    pub fn pull(&self, cable: Cable) {
        let pulled = ip(&["link", "set", &self.cards(cable).0, "down"]);
        pulled.unwrap_or_else(|why| panic!("a cable cannot be pulled out: {why}"));
    }

    /// Puts a server on the other machine: it listens at both cables, and is called over the first.
    pub fn serve(&self, place: Place) -> Place {
        let place = place.below(&["ip", "netns", "exec", &name(self.number)]);
        place.listen(IpAddr::V4(Ipv4Addr::UNSPECIFIED), self.there(Cable::A))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The cables go with it.
        _ = ip(&["netns", "delete", &name(self.number)]);
    }
}

fn name(number: u8) -> String {
    format!("tertulia-proof-{number}")
}

fn ip(words: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(words).output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => {
            Err(format!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr)))
        }
    }
}
