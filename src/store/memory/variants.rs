//! The answers under one key, of which a request's headers choose one.

use std::sync::Arc;

use crate::store::object::Object;

/// The most answers that are kept under one key.
pub(super) const MOST_VARIANTS: usize = 16;

/// The answers under one key, the newest first. Most keys have one, which costs no list.
#[derive(Debug)]
pub struct Variants<L>(List<L>);

#[derive(Debug)]
enum List<L> {
    One(Arc<Object<L>>),
    Many(Arc<Vec<Arc<Object<L>>>>),
}

impl<L> Clone for Variants<L> {
    fn clone(&self) -> Self {
        Variants(match &self.0 {
            List::One(object) => List::One(Arc::clone(object)),
            List::Many(objects) => List::Many(Arc::clone(objects)),
        })
    }
}

impl<L: Copy> Variants<L> {
    pub(super) fn one(object: Arc<Object<L>>) -> Self {
        Variants(List::One(object))
    }

    /// The newest first; none where there are none.
    fn of(mut objects: Vec<Arc<Object<L>>>) -> Option<Self> {
        objects.truncate(MOST_VARIANTS);
        match objects.len() {
            0 => None,
            1 => objects.pop().map(Variants::one),
            _ => Some(Variants(List::Many(Arc::new(objects)))),
        }
    }

    /// All of them, the newest first.
    pub fn as_slice(&self) -> &[Arc<Object<L>>] {
        match &self.0 {
            List::One(object) => std::slice::from_ref(object),
            List::Many(objects) => objects,
        }
    }

    /// The newest of them that a request selects.
    pub fn find(&self, mut selects: impl FnMut(&Object<L>) -> bool) -> Option<&Arc<Object<L>>> {
        self.as_slice().iter().find(|object| selects(object))
    }

    /// With a new answer before those that are kept. What it replaces goes, and so do answers that vary by other names:
    /// what the application said last of what its answers depend on holds.
    pub(super) fn with(&self, new: Arc<Object<L>>, keep: impl Fn(&Object<L>) -> bool) -> Self {
        let selector = new.selector();
        let stays = |old: &Arc<Object<L>>| {
            let other = old.selector();
            !selector.is_empty() && other.names == selector.names && other.values != selector.values && keep(old)
        };
        let old: Vec<_> = self.as_slice().iter().filter(|old| stays(old)).cloned().collect();
        let all = std::iter::once(Arc::clone(&new)).chain(old).collect();
        Self::of(all).unwrap_or(Variants::one(new))
    }

    /// With another one in the place of one of them; none where that one is not among them.
    pub(super) fn with_instead(&self, old: &Arc<Object<L>>, new: Arc<Object<L>>) -> Option<Self> {
        let at = self.as_slice().iter().position(|other| Arc::ptr_eq(other, old))?;
        let mut objects = self.as_slice().to_vec();
        objects[at] = new;
        Self::of(objects)
    }

    /// Those that are kept; none where that leaves none.
    pub(super) fn retain(&self, mut keep: impl FnMut(&Arc<Object<L>>) -> bool) -> Option<Self> {
        Self::of(self.as_slice().iter().filter(|object| keep(object)).cloned().collect())
    }

    /// The newest.
    pub(super) fn newest(&self) -> Option<&Arc<Object<L>>> {
        self.as_slice().first()
    }

    /// What they weigh together.
    pub(super) fn weight(&self) -> u64 {
        match &self.0 {
            List::One(object) => object.weight(),
            List::Many(objects) => objects.iter().map(|object| object.weight() + size_of::<usize>() as u64).sum(),
        }
    }
}
