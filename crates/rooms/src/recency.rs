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

    /// Puts a thing in, counts its use or takes it out, so that it is there just if it `belongs` there.
    pub(crate) fn keep(
        &mut self,
        place: &mut Option<u32>,
        belongs: bool,
        thing: impl FnOnce() -> T,
    ) {
        match *place {
            Some(used) if belongs => self.touch(used),
            Some(left) => {
                self.remove(left);
                *place = None;
            }
            None if belongs => *place = Some(self.add(thing())),
            None => {}
        }
    }

    /// The thing is gone.
    pub(crate) fn remove(&mut self, place: u32) {
        self.unlink(place);
        self.nodes[place as usize].thing = None;
        self.free.push(place);
    }

    /// The one that was not used for longest.
    pub(crate) fn oldest(&self) -> Option<&T> {
        self.nodes.get(self.oldest as usize)?.thing.as_ref()
    }

    /// How many things there are.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
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
        recency.touch(a);
        assert_eq!(recency.oldest(), Some(&"b"));
        recency.touch(b);
        recency.touch(b);
        assert_eq!(recency.oldest(), Some(&"c"));
        recency.remove(c);
        assert_eq!((recency.oldest(), recency.len()), (Some(&"a"), 2));
        assert_eq!(recency.add("d"), c, "places are used again");
        recency.remove(a);
        recency.remove(b);
        assert_eq!((recency.oldest(), recency.len()), (Some(&"d"), 1));
        recency.remove(c);
        assert_eq!((recency.oldest(), recency.len()), (None, 0));
    }
}
