//! How the application's coroutine becomes a task whose first step runs at once. It is a real `asyncio.Task` for its whole
//! life, entered and left by the interpreter itself, so that nothing can tell that it did not wait for the loop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyString};

use crate::ffi::{self, Arguments, Native};

/// How tasks are started on this interpreter.
#[derive(Debug)]
enum Way {
    /// `Task(…, eager_start=True)`, from 3.12 on.
    Eager,
    /// Before: the first step, which a new task gives to `call_soon`, is caught there and run at once.
    Caught(Py<Catcher>),
}

/// Stands before the loop's `call_soon`, and catches the first step of a task while it is made. Everything else goes on to
/// the loop.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
struct Catcher {
    call_soon: Py<PyAny>,
    armed: AtomicBool,
    caught: Mutex<Option<Step>>,
}

/// A task's first step, and the context that it runs in.
#[derive(Debug)]
struct Step {
    callback: Py<PyAny>,
    context: Py<PyAny>,
}

impl Catcher {
    /// Stands before the `call_soon` of `event_loop` from now on.
    fn install(event_loop: &Bound<'_, PyAny>) -> PyResult<Py<Self>> {
        let py = event_loop.py();
        let catcher = Self {
            call_soon: event_loop.getattr(intern!(py, "call_soon"))?.unbind(),
            armed: AtomicBool::new(false),
            caught: Mutex::new(None),
        };
        let catcher = Bound::new(py, catcher)?;
        let function = ffi::native_function::<CallSoon>(catcher.as_any())?;
        event_loop.setattr(intern!(py, "call_soon"), function)?;
        Ok(catcher.unbind())
    }

    fn slot(&self) -> MutexGuard<'_, Option<Step>> {
        self.caught.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a task and runs its first step.
    fn start<'py>(
        &self,
        make: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.armed.store(true, Ordering::Relaxed);
        let made = make();
        self.armed.store(false, Ordering::Relaxed);
        let step = self.slot().take();
        let task = made?;
        let Some(step) = step else { return Ok(task) };
        let py = task.py();
        let ran = step
            .context
            .call_method1(py, intern!(py, "run"), (step.callback,));
        match ran {
            // What ends a process is raised by the step as well; the task has it.
            Err(error) if !is_done(&task)? => Err(error),
            _ => Ok(task),
        }
    }
}

/// `loop.call_soon`, in the catcher's words.
struct CallSoon;

impl Native for CallSoon {
    const NAME: &'static std::ffi::CStr = c"call_soon";
    const DOC: &'static std::ffi::CStr = c"Arranges for a callback to be called soon.";

    fn call<'py>(arguments: &Arguments<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
        let py = arguments.this.py();
        let catcher = arguments.this.cast::<Catcher>()?.get();
        if !catcher.armed.swap(false, Ordering::Relaxed) {
            return arguments.forward(catcher.call_soon.bind(py));
        }
        let callback = arguments.take(0, "callback");
        let context = arguments.take(usize::MAX, "context");
        let (Some(callback), Some(context)) = (callback, context) else {
            return arguments.forward(catcher.call_soon.bind(py));
        };
        *catcher.slot() = Some(Step {
            callback: callback.to_owned().unbind(),
            context: context.to_owned().unbind(),
        });
        Ok(py.None().into_bound(py))
    }
}

/// Starts tasks.
#[derive(Debug)]
pub(crate) struct Starter {
    way: Way,
    task: Py<PyAny>,
    options: Py<PyDict>,
    get_factory: Py<PyAny>,
    /// Tasks of this loop are made by a factory of the application's.
    has_factory: AtomicBool,
    made: AtomicU64,
}

/// A task that was started.
pub(crate) enum Task<'py> {
    /// It came to its end at once.
    Done(PyResult<Bound<'py, PyAny>>),
    /// It waits for something.
    Suspended(Bound<'py, PyAny>),
}

impl Starter {
    pub(crate) fn new(py: Python<'_>, event_loop: &Bound<'_, PyAny>) -> PyResult<Self> {
        let asyncio = py.import("asyncio")?;
        let options = PyDict::new(py);
        options.set_item("loop", event_loop)?;
        let eager = py.version_info() >= (3, 12);
        if eager {
            options.set_item("eager_start", true)?;
        }
        Ok(Self {
            way: if eager {
                Way::Eager
            } else {
                Way::Caught(Catcher::install(event_loop)?)
            },
            task: asyncio.getattr("Task")?.unbind(),
            options: options.unbind(),
            get_factory: event_loop
                .getattr(intern!(py, "get_task_factory"))?
                .unbind(),
            has_factory: AtomicBool::new(false),
            made: AtomicU64::new(0),
        })
    }

    /// Looks whether the application has set a task factory; before tasks are started.
    pub(crate) fn look(&self, py: Python<'_>) -> PyResult<()> {
        let has_factory = !self.get_factory.call0(py)?.is_none(py);
        self.has_factory.store(has_factory, Ordering::Relaxed);
        Ok(())
    }

    /// `request-1` and so on. Before 3.12 a task without a name is given one at once, by a slow way.
    fn next_name<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        let number = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let name = ["request-", itoa::Buffer::new().format(number)].concat();
        PyString::new(py, &name)
    }

    /// Runs the application's coroutine as far as it comes at once.
    pub(crate) fn start<'py>(
        &self,
        event_loop: &Py<PyAny>,
        coroutine: &Bound<'py, PyAny>,
    ) -> PyResult<Task<'py>> {
        let py = coroutine.py();
        let options = self.options.bind(py);
        let make = || {
            options.set_item(intern!(py, "name"), self.next_name(py))?;
            self.task.bind(py).call((coroutine,), Some(options))
        };
        let task = match &self.way {
            _ if self.has_factory.load(Ordering::Relaxed) => {
                let create = event_loop.bind(py).getattr(intern!(py, "create_task"))?;
                create.call1((coroutine,))?
            }
            Way::Eager => make()?,
            Way::Caught(catcher) => catcher.get().start(make)?,
        };
        if is_done(&task)? {
            return Ok(Task::Done(outcome(&task)));
        }
        Ok(Task::Suspended(task))
    }
}

fn is_done(task: &Bound<'_, PyAny>) -> PyResult<bool> {
    task.call_method0(intern!(task.py(), "done"))?.is_truthy()
}

/// What a task that is done has returned or raised.
pub(crate) fn outcome<'py>(task: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    task.call_method0(intern!(task.py(), "result"))
}
