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
/// the loop. It stands before the set of all tasks in the same way.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
struct Catcher {
    call_soon: Py<PyAny>,
    /// `asyncio.tasks._all_tasks.add`.
    add: Py<PyAny>,
    /// `contextvars.Context.run`.
    run: Py<PyAny>,
    armed: AtomicBool,
    /// The task whose step was caught last is about to enter the set of all tasks.
    enters: AtomicBool,
    caught: Mutex<Option<Step>>,
    /// The task that makes its first step now.
    first: Mutex<Option<Py<PyAny>>>,
}

/// A task's first step, and the context that it runs in.
#[derive(Debug)]
struct Step {
    callback: Py<PyAny>,
    context: Py<PyAny>,
}

impl Catcher {
    /// Stands before the `call_soon` of `event_loop` and before the set of all tasks from now on.
    ///
    /// The set, of which each task becomes a member while it is made, is a `WeakSet`: Python code, an eighth of what a short
    /// request costs. Most tasks are done after their first step. So only those that go on become members; for the one that
    /// makes its first step a single permanent reference in the set speaks, [`First`].
    fn install(event_loop: &Bound<'_, PyAny>) -> PyResult<Py<Self>> {
        let py = event_loop.py();
        let all_tasks = py.import("asyncio.tasks")?.getattr("_all_tasks")?;
        let context = py.import("contextvars")?.getattr("Context")?;
        let catcher = Self {
            call_soon: event_loop.getattr(intern!(py, "call_soon"))?.unbind(),
            add: all_tasks.getattr("add")?.unbind(),
            run: context.getattr("run")?.unbind(),
            armed: AtomicBool::new(false),
            enters: AtomicBool::new(false),
            caught: Mutex::new(None),
            first: Mutex::new(None),
        };
        let catcher = Bound::new(py, catcher)?;
        let this = catcher.as_any();
        event_loop.setattr("call_soon", ffi::native_function::<CallSoon>(this)?)?;
        all_tasks.setattr("add", ffi::native_function::<Add>(this)?)?;
        let members = all_tasks.getattr("data")?;
        members.call_method1("add", (ffi::native_function::<First>(this)?,))?;
        Ok(catcher.unbind())
    }

    fn caught(&self) -> MutexGuard<'_, Option<Step>> {
        self.caught.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn first(&self) -> MutexGuard<'_, Option<Py<PyAny>>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a task and runs its first step; whether it is done then.
    fn start<'py>(
        &self,
        make: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
        is_done: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<bool>,
    ) -> PyResult<(Bound<'py, PyAny>, bool)> {
        self.armed.store(true, Ordering::Relaxed);
        let made = make();
        self.armed.store(false, Ordering::Relaxed);
        let caught = self.caught().take();
        self.enters.store(false, Ordering::Relaxed);
        let task = made?;
        let Some(step) = caught else {
            let done = is_done(&task)?;
            return Ok((task, done));
        };
        let ran = self.run(&task, &step);
        let done = is_done(&task)?;
        if !done {
            ffi::call(self.add.bind(task.py()), [&task])?;
        }
        match ran {
            // What ends a process is raised by the step as well; the task has it.
            Err(error) if !done => Err(error),
            _ => Ok((task, done)),
        }
    }

    fn run(&self, task: &Bound<'_, PyAny>, step: &Step) -> PyResult<()> {
        let py = task.py();
        let before = self.first().replace(task.clone().unbind());
        let ran = ffi::call(
            self.run.bind(py),
            [step.context.bind(py), step.callback.bind(py)],
        );
        let after = std::mem::replace(&mut *self.first(), before);
        drop(after);
        ran.map(drop)
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
        if !catcher.armed.swap(false, Ordering::Relaxed)
            || (arguments.positional(), arguments.keywords()) != (1, 1)
        {
            return arguments.forward(catcher.call_soon.bind(py));
        }
        // A callback, and the one keyword that there is: its context.
        let (Some(callback), Some(context)) = (arguments.nth(0), arguments.nth(1)) else {
            return arguments.forward(catcher.call_soon.bind(py));
        };
        *catcher.caught() = Some(Step {
            callback: callback.to_owned().unbind(),
            context: context.to_owned().unbind(),
        });
        // What makes the task goes on with the set at once, without a line of Python in between in which another thread
        // could make one.
        catcher.enters.store(true, Ordering::Relaxed);
        Ok(py.None().into_bound(py))
    }
}

/// `WeakSet.add` of the set of all tasks, in the catcher's words.
struct Add;

impl Native for Add {
    const NAME: &'static std::ffi::CStr = c"add";
    const DOC: &'static std::ffi::CStr = c"Makes a task one of all tasks.";

    fn call<'py>(arguments: &Arguments<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
        let py = arguments.this.py();
        let catcher = arguments.this.cast::<Catcher>()?.get();
        if !catcher.enters.swap(false, Ordering::Relaxed) {
            return arguments.forward(catcher.add.bind(py));
        }
        Ok(py.None().into_bound(py))
    }
}

/// The task that makes its first step now: looks like a weak reference to it.
struct First;

impl Native for First {
    const NAME: &'static std::ffi::CStr = c"first";
    const DOC: &'static std::ffi::CStr =
        c"The task that makes its first step now, if there is one.";

    fn call<'py>(arguments: &Arguments<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
        let py = arguments.this.py();
        let catcher = arguments.this.cast::<Catcher>()?.get();
        let first = catcher.first();
        let first = first.as_ref().map(|task| task.clone_ref(py));
        Ok(first.unwrap_or_else(|| py.None()).into_bound(py))
    }
}

/// Starts tasks.
#[derive(Debug)]
pub(crate) struct Starter {
    way: Way,
    class: Class,
    options: Py<PyDict>,
    get_factory: Py<PyAny>,
    /// Tasks of this loop are made by a factory of the application's.
    has_factory: AtomicBool,
    made: AtomicU64,
}

/// `asyncio.Task`, and the methods of it that every request needs.
#[derive(Debug)]
struct Class {
    task: Py<PyAny>,
    done: Py<PyAny>,
    result: Py<PyAny>,
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
            class: Class::new(py)?,
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
    fn next_name<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        let number = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number).as_bytes();
        let mut name = *b"request-00000000000000000000";
        let len = NAME.len() + digits.len();
        if let Some(place) = name.get_mut(NAME.len()..len) {
            place.copy_from_slice(digits);
        }
        ffi::latin1(py, name.get(..len).unwrap_or(NAME))
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
            options.set_item(intern!(py, "name"), self.next_name(py)?)?;
            self.class.task.bind(py).call((coroutine,), Some(options))
        };
        if self.has_factory.load(Ordering::Relaxed) {
            let create = event_loop.bind(py).getattr(intern!(py, "create_task"))?;
            let task = create.call1((coroutine,))?;
            let done = task.call_method0(intern!(py, "done"))?.is_truthy()?;
            return Ok(if done {
                Task::Done(outcome(&task))
            } else {
                Task::Suspended(task)
            });
        }
        let (task, done) = match &self.way {
            Way::Eager => {
                let task = make()?;
                let done = self.class.is_done(&task)?;
                (task, done)
            }
            Way::Caught(catcher) => catcher.get().start(make, |task| self.class.is_done(task))?,
        };
        Ok(if done {
            Task::Done(self.class.outcome(&task))
        } else {
            Task::Suspended(task)
        })
    }
}

/// What the names of tasks begin with.
const NAME: &[u8] = b"request-";

impl Class {
    fn new(py: Python<'_>) -> PyResult<Self> {
        let task = py.import("asyncio")?.getattr("Task")?;
        Ok(Self {
            done: task.getattr("done")?.unbind(),
            result: task.getattr("result")?.unbind(),
            task: task.unbind(),
        })
    }

    fn is_done(&self, task: &Bound<'_, PyAny>) -> PyResult<bool> {
        ffi::call(self.done.bind(task.py()), [task])?.is_truthy()
    }

    fn outcome<'py>(&self, task: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        ffi::call(self.result.bind(task.py()), [task])
    }
}

/// What a task that is done has returned or raised.
pub(crate) fn outcome<'py>(task: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    task.call_method0(intern!(task.py(), "result"))
}
