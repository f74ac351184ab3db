//! A lock for what only the holder of the interpreter lock works on. Where there is that lock it costs no atomic operation, of
//! which a request on its way through the application would make dozens. Not for anything that native threads look at.
//! Invariant: a value is lent to one at a time.

pub(crate) use place::{Held, Lent};

#[cfg(not(Py_GIL_DISABLED))]
mod place {
    use std::cell::{Cell, UnsafeCell};
    use std::fmt;
    use std::ops::{Deref, DerefMut};

    use pyo3::prelude::*;

    /// See the module.
    #[derive(Default)]
    pub(crate) struct Held<T> {
        lent: Cell<bool>,
        value: UnsafeCell<T>,
    }

    // SAFETY: both cells are reached by `Held::lock` and through what it returns, each with a `Python`, which a thread has only
    // while it holds the interpreter lock: one thread at a time, and what it wrote is seen by the next.
    unsafe impl<T: Send> Sync for Held<T> {}

    impl<T> Held<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self {
                lent: Cell::new(false),
                value: UnsafeCell::new(value),
            }
        }

        /// The value. Waits for whoever let go of the interpreter lock while having it, which nobody should.
        #[inline]
        pub(crate) fn lock<'a>(&'a self, py: Python<'a>) -> Lent<'a, T> {
            while self.lent.replace(true) {
                py.detach(std::thread::yield_now);
            }
            Lent {
                held: self,
                _py: py,
            }
        }
    }

    impl<T> fmt::Debug for Held<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Held").finish_non_exhaustive()
        }
    }

    /// The value, until it is dropped; which is on the same thread and with the interpreter lock, for it has a `Python`.
    pub(crate) struct Lent<'a, T> {
        held: &'a Held<T>,
        _py: Python<'a>,
    }

    impl<T> Deref for Lent<'_, T> {
        type Target = T;

        #[inline]
        fn deref(&self) -> &T {
            // SAFETY: `lent` keeps everybody else away.
            unsafe { &*self.held.value.get() }
        }
    }

    impl<T> DerefMut for Lent<'_, T> {
        #[inline]
        fn deref_mut(&mut self) -> &mut T {
            // SAFETY: as above, and `self` is borrowed for as long as the result.
            unsafe { &mut *self.held.value.get() }
        }
    }

    impl<T> Drop for Lent<'_, T> {
        #[inline]
        fn drop(&mut self) {
            self.held.lent.set(false);
        }
    }
}

#[cfg(Py_GIL_DISABLED)]
mod place {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use pyo3::prelude::*;

    /// See the module. There is no interpreter lock here.
    #[derive(Debug, Default)]
    pub(crate) struct Held<T>(Mutex<T>);

    pub(crate) type Lent<'a, T> = MutexGuard<'a, T>;

    impl<T> Held<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(Mutex::new(value))
        }

        /// The value.
        pub(crate) fn lock<'a>(&'a self, _py: Python<'a>) -> Lent<'a, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}
