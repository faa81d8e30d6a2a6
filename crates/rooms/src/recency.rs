//! Recency: which of many things was not used for longest.
//!
//! A doubly linked list whose links are places in one vector: a use is a few stores, no allocation.

const NONE: u32 = u32::MAX;

struct Node<T> {
    thing: Option<T>,
    newer: u32,
    older: u32,
}

/// Things in order of their last use.
pub(crate) struct Recency<T> {
    nodes: Vec<Node<T>>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
}

impl<T> Default for Recency<T> {
    fn default() -> Recency<T> {
        Recency { nodes: Vec::new(), free: Vec::new(), newest: NONE, oldest: NONE }
    }
}

impl<T> Recency<T> {
    /// Adds a thing as the newest; the place is its name from now on.
    pub(crate) fn add(&mut self, thing: T) -> u32 {
        let node = Node { thing: Some(thing), newer: NONE, older: NONE };
        let place = match self.free.pop() {
            Some(place) => {
                self.nodes[place as usize] = node;
                place
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        };
        self.link(place);
        place
    }

    /// The thing was used.
    pub(crate) fn touch(&mut self, place: u32) {
        if self.newest != place {
            self.unlink(place);
            self.link(place);
        }
    }

    /// The thing is gone.
    pub(crate) fn remove(&mut self, place: u32) {
        self.unlink(place);
        self.nodes[place as usize].thing = None;
        self.free.push(place);
    }

    /// From the one that was not used for longest to the newest.
    pub(crate) fn oldest_first(&self) -> impl Iterator<Item = &T> {
        let mut place = self.oldest;
        std::iter::from_fn(move || {
            let node = self.nodes.get(place as usize)?;
            place = node.newer;
            node.thing.as_ref()
        })
    }

    fn link(&mut self, place: u32) {
        self.nodes[place as usize].older = self.newest;
        self.nodes[place as usize].newer = NONE;
        match self.nodes.get_mut(self.newest as usize) {
            Some(newest) => newest.newer = place,
            None => self.oldest = place,
        }
        self.newest = place;
    }

    fn unlink(&mut self, place: u32) {
        let Node { newer, older, .. } = self.nodes[place as usize];
        match self.nodes.get_mut(newer as usize) {
            Some(node) => node.older = older,
            None => self.newest = older,
        }
        match self.nodes.get_mut(older as usize) {
            Some(node) => node.newer = newer,
            None => self.oldest = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_goes_to_the_end_of_the_line() {
        let mut recency = Recency::default();
        let [a, b, c] = ["a", "b", "c"].map(|thing| recency.add(thing));
        let line = |recency: &Recency<&'static str>| {
            recency.oldest_first().copied().collect::<Vec<_>>().concat()
        };
        recency.touch(a);
        assert_eq!(line(&recency), "bca");
        recency.touch(a);
        recency.remove(c);
        assert_eq!(line(&recency), "ba");
        assert_eq!(recency.add("d"), c, "places are used again");
        recency.remove(b);
        recency.remove(a);
        assert_eq!(line(&recency), "d");
    }
}
