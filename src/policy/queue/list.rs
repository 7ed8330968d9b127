//! A list whose links stand in the items themselves, so that one leaves from the middle in constant time.

/// No item.
pub(super) const NONE: u32 = u32::MAX;

/// The neighbours of an item in one list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Links {
    pub(super) prev: u32,
    pub(super) next: u32,
}

impl Links {
    pub(super) const UNLINKED: Links = Links { prev: NONE, next: NONE };
}

/// The ends of a list. The items, and which of their links are meant, come in with each call.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) len: u32,
}

impl List {
    pub(super) const EMPTY: List = List { first: NONE, last: NONE, len: 0 };

    pub(super) fn push_back<T>(&mut self, items: &mut [T], id: u32, links: impl Fn(&mut T) -> &mut Links) {
        *links(&mut items[id as usize]) = Links { prev: self.last, next: NONE };
        match self.last {
            NONE => self.first = id,
            last => links(&mut items[last as usize]).next = id,
        }
        self.last = id;
        self.len += 1;
    }

    pub(super) fn remove<T>(&mut self, items: &mut [T], id: u32, links: impl Fn(&mut T) -> &mut Links) {
        let Links { prev, next } = std::mem::replace(links(&mut items[id as usize]), Links::UNLINKED);
        match prev {
            NONE => self.first = next,
            prev => links(&mut items[prev as usize]).next = next,
        }
        match next {
            NONE => self.last = prev,
            next => links(&mut items[next as usize]).prev = prev,
        }
        self.len -= 1;
    }
}
