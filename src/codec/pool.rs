//! States of coders, kept by each thread for its next body.

use std::cell::RefCell;
use std::thread::LocalKey;

/// So many of a kind are kept by a thread: levels change while the CPU is short, and streams overlap.
const KEPT: usize = 4;

/// A state that can be used again.
pub(super) trait Pooled: Sized + 'static {
    /// Where a thread keeps those of this kind.
    fn kept() -> &'static LocalKey<RefCell<Vec<Self>>>;

    /// Makes it ready for another body. False: it is not worth keeping.
    fn renew(&mut self) -> bool;
}

/// A state out of the pool of a thread. It goes back, to the thread where it is dropped, unless it was spoilt.
pub(super) struct Lent<T: Pooled>(Option<T>);

impl<T: Pooled> Lent<T> {
    /// The last kept that fits, or a new one.
    pub(super) fn take(fits: impl Fn(&T) -> bool, new: impl FnOnce() -> Option<T>) -> Option<Lent<T>> {
        let kept = T::kept().try_with(|kept| {
            let mut kept = kept.borrow_mut();
            let at = kept.iter().rposition(fits)?;
            Some(kept.remove(at))
        });
        kept.ok().flatten().or_else(new).map(|state| Lent(Some(state)))
    }

    /// None if it is spoilt.
    pub(super) fn get(&mut self) -> Option<&mut T> {
        self.0.as_mut()
    }

    /// It failed: nobody gets it again.
    pub(super) fn spoil(&mut self) {
        self.0 = None;
    }
}

impl<T: Pooled> Drop for Lent<T> {
    fn drop(&mut self) {
        let Some(mut state) = self.0.take() else { return };
        if state.renew() {
            // A thread that ends has no pool any more; the state ends with it.
            let _ = T::kept().try_with(|kept| {
                let mut kept = kept.borrow_mut();
                if kept.len() == KEPT {
                    kept.remove(0);
                }
                kept.push(state);
            });
        }
    }
}
