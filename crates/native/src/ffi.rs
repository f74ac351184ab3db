//! The only file of this crate with `unsafe`, but for its own `held`: the few C-API calls that the safe bindings lack or make dearer on the request
//! path. Every function here is safe to call; each block names the rule it relies on. Invariant: no panic crosses into the
//! interpreter, and every reference made here is owned by the value that is returned.

#![expect(
    unsafe_code,
    reason = "raw C-API calls, each wrapped in a function that is safe to call"
)]

mod held;

use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::PySystemError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyString, PyTuple};

pub(crate) use held::{Held, Lent};

/// A `str` with the same code points as `bytes` (latin-1), as PEP 3333 wants its strings.
pub(crate) fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    let len = bytes.len().cast_signed();
    // SAFETY: pointer and length describe `bytes`; the result is a new reference or null with an exception set.
    let text = unsafe {
        Bound::from_owned_ptr_or_err(
            py,
            ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), len, std::ptr::null()),
        )
    }?;
    // SAFETY: `PyUnicode_DecodeLatin1` returns nothing but `str`.
    Ok(unsafe { text.cast_into_unchecked() })
}

/// A `str` of `bytes` that have to be UTF-8, which the interpreter checks by itself.
pub(crate) fn utf8<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let len = bytes.len().cast_signed();
    // SAFETY: pointer and length describe `bytes`; the result is a new reference or null with an exception set.
    unsafe {
        Bound::from_owned_ptr_or_err(
            py,
            ffi::PyUnicode_DecodeUTF8(bytes.as_ptr().cast(), len, std::ptr::null()),
        )
    }
}

/// The code points of `text` as bytes, if all are below 256: the view that latin-1 encoding would copy.
#[cfg(not(Py_3_14))]
pub(crate) fn latin1_view<'a>(text: &'a Bound<'_, PyString>) -> Option<&'a [u8]> {
    let object = text.as_ptr();
    // SAFETY: `object` is a `str`. Strings made by the legacy API (before 3.12) must be made ready before they are read.
    if unsafe { ffi::PyUnicode_READY(object) } != 0 {
        return None;
    }
    // SAFETY: as above, and ready.
    if unsafe { ffi::PyUnicode_KIND(object) } != ffi::PyUnicode_1BYTE_KIND {
        return None;
    }
    // SAFETY: kind 1 means that `PyUnicode_GET_LENGTH` bytes lie at `PyUnicode_1BYTE_DATA`. A `str` never changes, and
    // `text` keeps it alive for as long as the slice is borrowed.
    unsafe {
        let len = ffi::PyUnicode_GET_LENGTH(object).cast_unsigned();
        Some(std::slice::from_raw_parts(
            ffi::PyUnicode_1BYTE_DATA(object),
            len,
        ))
    }
}

/// The code points of `text` as bytes, if it is ASCII. (On newer interpreters the layout of a `str` is private to it.)
#[cfg(Py_3_14)]
pub(crate) fn latin1_view<'a>(text: &'a Bound<'_, PyString>) -> Option<&'a [u8]> {
    text.to_str()
        .ok()
        .filter(|text| text.is_ascii())
        .map(str::as_bytes)
}

/// `dict[key] = value` with borrowed references.
pub(crate) fn set_item(
    dict: &Bound<'_, PyDict>,
    key: &Py<PyString>,
    value: &Bound<'_, impl Sized>,
) -> PyResult<()> {
    // SAFETY: all three are live objects of their types; the call takes its own references.
    let failed = unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) } != 0;
    if failed {
        Err(PyErr::fetch(dict.py()))
    } else {
        Ok(())
    }
}

/// The value of `key` in `dict`, which is the first one there as a rule, and known by its identity as in [`values`].
#[inline]
pub(crate) fn first_value<'py>(
    dict: &Bound<'py, PyDict>,
    key: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let (mut at, mut found, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: a live dict, and places for what is found; with the interpreter's lock nobody changes it before the reference is
    // taken.
    let is_first = cfg!(not(Py_GIL_DISABLED))
        && unsafe {
            ffi::PyDict_Next(dict.as_ptr(), &raw mut at, &raw mut found, &raw mut value) != 0
        }
        && found == key.as_ptr();
    if is_first {
        // SAFETY: a live value of the dict.
        return Ok(Some(unsafe { Bound::from_borrowed_ptr(dict.py(), value) }));
    }
    dict.get_item(key)
}

/// The values of `keys` in `dict`. Keys that are written in the program's text are interned, as those here are: one walk finds
/// them by their identity. Only if there are others as well is each looked up that was not found.
pub(crate) fn values<'py, const COUNT: usize>(
    dict: &Bound<'py, PyDict>,
    keys: [&Bound<'py, PyString>; COUNT],
) -> PyResult<[Option<Bound<'py, PyAny>>; COUNT]> {
    let mut values = [const { None }; COUNT];
    // Without the interpreter's lock somebody else may change the dict meanwhile.
    let mut strangers = cfg!(Py_GIL_DISABLED);
    let (mut at, mut key, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
    while !strangers {
        // SAFETY: a live dict, and places for what is found. Nothing changes the dict during the walk: no Python code runs.
        if unsafe { ffi::PyDict_Next(dict.as_ptr(), &raw mut at, &raw mut key, &raw mut value) }
            == 0
        {
            return Ok(values);
        }
        let place = keys.iter().position(|known| known.as_ptr() == key);
        match place.and_then(|index| values.get_mut(index)) {
            Some(place) => {
                // SAFETY: the walk gives live objects, borrowed from the dict.
                *place = Some(unsafe { Bound::from_borrowed_ptr(dict.py(), value) });
            }
            None => strangers = true,
        }
    }
    for (key, value) in keys.into_iter().zip(&mut values) {
        if value.is_none() {
            *value = dict.get_item(key)?;
        }
    }
    Ok(values)
}

/// Whether two dicts have the very same keys and values, in the same order. Not known without the interpreter's lock, where
/// somebody else may change them meanwhile.
pub(crate) fn same_items(one: &Bound<'_, PyDict>, other: &Bound<'_, PyDict>) -> bool {
    if cfg!(Py_GIL_DISABLED) {
        return false;
    }
    let next = |dict: &Bound<'_, PyDict>, at: &mut ffi::Py_ssize_t| {
        let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: a live dict, and places for what is found, which is compared by its address only.
        let some = unsafe { ffi::PyDict_Next(dict.as_ptr(), at, &raw mut key, &raw mut value) };
        (some, key, value)
    };
    let (mut here, mut there) = (0, 0);
    one.len() == other.len()
        && (0..one.len()).all(|_| next(one, &mut here) == next(other, &mut there))
}

/// How many references there are to `object`, the caller's included.
pub(crate) fn references(object: &Bound<'_, PyAny>) -> usize {
    // SAFETY: a live object.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) }.cast_unsigned()
}

/// Calls a callable with these positional arguments, without a tuple in between.
pub(crate) fn call<'py, const COUNT: usize>(
    callable: &Bound<'py, PyAny>,
    arguments: [&Bound<'py, PyAny>; COUNT],
) -> PyResult<Bound<'py, PyAny>> {
    const { assert!(COUNT <= MOST_ARGUMENTS) };
    let mut slots = [std::ptr::null_mut(); 1 + MOST_ARGUMENTS];
    for (slot, argument) in slots.iter_mut().skip(1).zip(arguments) {
        *slot = argument.as_ptr();
    }
    let count = COUNT | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
    // SAFETY: COUNT arguments behind the first slot are live for the call; that slot may be overwritten by the callee, as
    // PY_VECTORCALL_ARGUMENTS_OFFSET says. The result is a new reference or null with an exception set.
    unsafe {
        let result = ffi::PyObject_Vectorcall(
            callable.as_ptr(),
            slots.as_mut_ptr().add(1),
            count,
            std::ptr::null_mut(),
        );
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
}

/// Calls a callable inside a `contextvars.Context`, as its method `run` does.
pub(crate) fn call_in<'py, const COUNT: usize>(
    context: &Bound<'py, PyAny>,
    callable: &Bound<'py, PyAny>,
    arguments: [&Bound<'py, PyAny>; COUNT],
) -> PyResult<Bound<'py, PyAny>> {
    let failed = || PyErr::fetch(context.py());
    // SAFETY: a live object; what is not a context that can be entered is refused with an exception.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } != 0 {
        return Err(failed());
    }
    let result = call(callable, arguments);
    // SAFETY: the context was entered here, and whatever the call has entered beyond it, it has left.
    if unsafe { ffi::PyContext_Exit(context.as_ptr()) } != 0 {
        return Err(failed());
    }
    result
}

/// The two items of a tuple that has just those.
#[inline]
pub(crate) fn pair<'a, 'py>(
    object: Borrowed<'a, 'py, PyAny>,
) -> Option<[Borrowed<'a, 'py, PyAny>; 2]> {
    let tuple = object.cast::<PyTuple>().ok()?.as_ptr();
    // SAFETY: a tuple has its size and items until it is freed, and `object` keeps it alive for as long as they are borrowed.
    unsafe {
        if ffi::PyTuple_GET_SIZE(tuple) != 2 {
            return None;
        }
        let item = |index| Borrowed::from_ptr(object.py(), ffi::PyTuple_GET_ITEM(tuple, index));
        Some([item(0), item(1)])
    }
}

/// The most arguments of [`call`].
const MOST_ARGUMENTS: usize = 3;

/// What a native function is given: its bound object, the positional arguments, and the names of keyword arguments whose
/// values follow the positional ones.
pub(crate) struct Arguments<'a, 'py> {
    pub(crate) this: Borrowed<'a, 'py, PyAny>,
    values: &'a [*mut ffi::PyObject],
    positional: usize,
    names: Option<Borrowed<'a, 'py, PyTuple>>,
}

impl<'a, 'py> Arguments<'a, 'py> {
    /// The number of positional arguments.
    pub(crate) fn positional(&self) -> usize {
        self.positional
    }

    /// Argument `index`, or the keyword argument called `name`.
    #[inline]
    pub(crate) fn take(&self, index: usize, name: &str) -> Option<Borrowed<'a, 'py, PyAny>> {
        if index < self.positional {
            return self.value(self.this.py(), index);
        }
        self.names.as_ref().and_then(|_| self.named(name))
    }

    /// The keyword argument called `name`.
    #[cold]
    fn named(&self, name: &str) -> Option<Borrowed<'a, 'py, PyAny>> {
        let py = self.this.py();
        let names = self.names.as_ref()?;
        let at = names
            .iter()
            .position(|known| known.cast::<PyString>().is_ok_and(|text| text == name))?;
        self.value(py, self.positional + at)
    }

    /// Argument `index`; those with keywords come behind the positional ones.
    pub(crate) fn nth(&self, index: usize) -> Option<Borrowed<'a, 'py, PyAny>> {
        self.value(self.this.py(), index)
    }

    /// The number of keyword arguments.
    pub(crate) fn keywords(&self) -> usize {
        self.names.as_ref().map_or(0, |names| names.len())
    }

    /// Calls `callable` with the same arguments.
    pub(crate) fn forward(&self, callable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let names = self.names.map_or(std::ptr::null_mut(), Borrowed::as_ptr);
        // SAFETY: the arguments are those of the call that is in progress, alive until it returns, and laid out as the
        // vectorcall protocol wants them. The result is a new reference or null with an exception set.
        unsafe {
            let values = self.values.as_ptr();
            let result =
                ffi::PyObject_Vectorcall(callable.as_ptr(), values, self.positional, names);
            Bound::from_owned_ptr_or_err(callable.py(), result)
        }
    }

    #[inline]
    fn value(&self, py: Python<'py>, index: usize) -> Option<Borrowed<'a, 'py, PyAny>> {
        let pointer = *self.values.get(index)?;
        // SAFETY: the vectorcall protocol guarantees live, borrowed references for the duration of the call.
        Some(unsafe { Borrowed::from_ptr(py, pointer) })
    }
}

/// A function written in Rust that is called by the vectorcall protocol.
pub(crate) trait Native {
    /// Its name.
    const NAME: &'static CStr;
    /// Its docstring.
    const DOC: &'static CStr;
    /// Its body.
    fn call<'py>(arguments: &Arguments<'_, 'py>) -> PyResult<Bound<'py, PyAny>>;
}

/// The method table entry of a [`Native`]; the interpreter keeps a pointer to it.
struct Method<N>(std::marker::PhantomData<N>);

impl<N: Native> Method<N> {
    const DEFINITION: &'static ffi::PyMethodDef = &ffi::PyMethodDef {
        ml_name: N::NAME.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: trampoline::<N>,
        },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: N::DOC.as_ptr(),
    };
}

/// A Python callable that runs `N` with `this` as its bound object.
pub(crate) fn native_function<N: Native>(this: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    let definition = std::ptr::from_ref(Method::<N>::DEFINITION).cast_mut();
    // SAFETY: the definition is a constant of the program and the interpreter never writes to it; `this` is a live object of
    // which the function takes its own reference; the result is a new reference or null with an exception set.
    unsafe {
        let function = ffi::PyCFunction_NewEx(definition, this.as_ptr(), std::ptr::null_mut());
        Bound::from_owned_ptr_or_err(this.py(), function).map(Bound::unbind)
    }
}

unsafe extern "C" fn trampoline<N: Native>(
    this: *mut ffi::PyObject,
    values: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let body = || {
        // SAFETY: the interpreter calls this with a thread state attached.
        let py = unsafe { Python::assume_attached() };
        // SAFETY: `this` is the object the function is bound to, alive during the call.
        let this = unsafe { Borrowed::from_ptr(py, this) };
        // SAFETY: `names` is null or a live tuple of `str`.
        let names = unsafe { Borrowed::from_ptr_or_opt(py, names) };
        // SAFETY: as above: it is a tuple.
        let names = names.map(|names| unsafe { names.cast_unchecked::<PyTuple>() });
        let positional = count.cast_unsigned();
        let total = positional + names.as_ref().map_or(0, |names| names.len());
        let values = if total == 0 {
            &[][..]
        } else {
            // SAFETY: the protocol gives `count` positional values followed by one for each name.
            unsafe { std::slice::from_raw_parts(values, total) }
        };
        N::call(&Arguments {
            this,
            values,
            positional,
            names,
        })
        .map_err(|error| (py, error))
    };
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => value.into_ptr(),
        Ok(Err((py, error))) => {
            error.restore(py);
            std::ptr::null_mut()
        }
        Err(_) => {
            // SAFETY: still inside the interpreter's call.
            let py = unsafe { Python::assume_attached() };
            PySystemError::new_err("internal error in a native function").restore(py);
            std::ptr::null_mut()
        }
    }
}

/// What comes of stepping an awaitable.
pub(crate) enum Step {
    /// It waits: this is for the task.
    Given(Py<PyAny>),
    /// It is done, with this value.
    Done(Py<PyAny>),
}

/// An awaitable that the interpreter steps by a C call.
pub(crate) trait Steps: pyo3::PyClass {
    /// One step.
    fn step(this: &Bound<'_, Self>) -> PyResult<Step>;
}

/// Gives the class `S` the slot `am_send`, which the safe bindings do not know, and an `am_await` that is no more than what it
/// returns: the object itself. A class without the former is stepped by `__next__`, where the end costs an exception.
pub(crate) fn give_await_slots<S: Steps>(py: Python<'_>) {
    let class = py.get_type::<S>();
    // SAFETY: a live class on the heap, of our own and without subclasses; its slots for awaitables are part of it, and the
    // interpreter's lock is held, so nobody reads them now.
    unsafe {
        let slots = (*class.as_type_ptr()).tp_as_async;
        if let Some(slots) = slots.as_mut() {
            slots.am_send = Some(send_slot::<S>);
            slots.am_await = Some(itself);
        }
    }
}

unsafe extern "C" fn itself(this: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls this with a thread state attached and a live object, and takes over the reference.
    unsafe { ffi::Py_NewRef(this) }
}

unsafe extern "C" fn send_slot<S: Steps>(
    this: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    let body = || {
        // SAFETY: the interpreter calls this with a thread state attached.
        let py = unsafe { Python::assume_attached() };
        // SAFETY: the slot is that of the class `S`: `this` is one of its objects, alive during the call.
        let this = unsafe { Bound::from_borrowed_ptr(py, this).cast_into_unchecked::<S>() };
        S::step(&this).map_err(|error| error.restore(py))
    };
    let (outcome, value) = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(Step::Given(value))) => (ffi::PySendResult::PYGEN_NEXT, value.into_ptr()),
        Ok(Ok(Step::Done(value))) => (ffi::PySendResult::PYGEN_RETURN, value.into_ptr()),
        Ok(Err(())) => (ffi::PySendResult::PYGEN_ERROR, std::ptr::null_mut()),
        Err(_) => {
            // SAFETY: still inside the interpreter's call.
            let py = unsafe { Python::assume_attached() };
            PySystemError::new_err("internal error in an awaitable").restore(py);
            (ffi::PySendResult::PYGEN_ERROR, std::ptr::null_mut())
        }
    };
    // SAFETY: the protocol gives a place for the result, which takes over the reference.
    unsafe { *result = value };
    outcome
}

/// A descriptor number from Python, for the moment of duplicating it.
pub(crate) fn borrow_descriptor<'fd>(fd: i32) -> Option<std::os::fd::BorrowedFd<'fd>> {
    // SAFETY: not −1, the one value that is not allowed. Whether the descriptor is open is for the system call to say: the
    // only use is `dup`, which answers EBADF.
    (fd >= 0).then(|| unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) })
}

/// Whether this thread holds the interpreter lock.
pub(crate) fn is_attached() -> bool {
    // SAFETY: asks only, and may be called by any thread of a process that has an interpreter, as all of ours do.
    unsafe { ffi::PyGILState_Check() == 1 }
}

/// Ends the process at once, without the interpreter's or the C library's clean-up: for a worker whose threads are stuck
/// inside the application.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}
