//! Guests: how many connections each address has, loopback excepted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// What each address has.
#[derive(Default)]
struct Count {
    open: usize,
    /// Of those, how many have not said who they are.
    strangers: usize,
}

type Counts = Arc<Mutex<HashMap<IpAddr, Count>>>;

/// How many connections each address has.
#[derive(Default)]
pub(crate) struct Guests(Counts);

/// One connection of an address, as long as it lives.
pub(crate) struct Guest {
    address: IpAddr,
    stranger: bool,
    counts: Counts,
}

/// How many there may be of one address.
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) open: usize,
    pub(crate) strangers: usize,
}

/// There are too many of that address.
pub(crate) struct Full;

impl Guests {
    /// One more from `address`, if it may. Nobody is counted who comes from this machine: a proxy brings
    /// everyone.
    pub(crate) fn enter(&self, address: IpAddr, bound: Bound) -> Result<Option<Guest>, Full> {
        if address.to_canonical().is_loopback() {
            return Ok(None);
        }
        let address = network(address);
        let mut counts = self.0.lock().expect("no one panics while counting guests");
        let count = counts.entry(address).or_default();
        if count.open >= bound.open || count.strangers >= bound.strangers {
            return Err(Full);
        }
        count.open += 1;
        count.strangers += 1;
        Ok(Some(Guest { address, stranger: true, counts: self.0.clone() }))
    }
}

impl Guest {
    /// It has said who it is.
    pub(crate) fn greeted(&mut self) {
        let mut counts = self.counts.lock().expect("no one panics while counting guests");
        if let Some(count) = counts.get_mut(&self.address)
            && std::mem::take(&mut self.stranger)
        {
            count.strangers -= 1;
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.greeted();
        let mut counts = self.counts.lock().expect("no one panics while counting guests");
        if let Some(count) = counts.get_mut(&self.address) {
            count.open -= 1;
            if count.open == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// One household has one IPv4 address or one IPv6 network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let bits = u128::from(v6) & !u128::from(u64::MAX);
            v6.to_ipv4_mapped().map_or(IpAddr::V6(bits.into()), IpAddr::V4)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_so_many_strangers() {
        let guests = Guests::default();
        let bound = Bound { open: 3, strangers: 2 };
        let enter = |address: &str| guests.enter(address.parse().unwrap(), bound).ok().flatten();
        let mut ada = enter("192.0.2.1").unwrap();
        let bob = enter("::ffff:192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none(), "two strangers");
        ada.greeted();
        ada.greeted();
        let cy = enter("192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none(), "three connections");
        assert!(enter("192.0.2.2").is_some(), "someone else");
        drop((ada, bob, cy));
        assert!(guests.0.lock().unwrap().is_empty(), "nobody is remembered");
        let _home = enter("2001:db8:0:1::1").unwrap();
        let _phone = enter("2001:db8:0:1:ffff::2").unwrap();
        assert!(enter("2001:db8:0:1::3").is_none(), "one network, one household");
        assert!(enter("2001:db8:0:2::3").is_some());
    }

    #[test]
    fn whoever_comes_from_this_machine_is_not_counted() {
        let guests = Guests::default();
        let nobody = Bound { open: 0, strangers: 0 };
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            let entered = guests.enter(address.parse().unwrap(), nobody);
            assert!(matches!(entered, Ok(None)), "{address}");
        }
        assert!(guests.enter("192.0.2.1".parse().unwrap(), nobody).is_err());
    }
}
