//! How the application's coroutine becomes a task whose first step runs at once. It is a real `asyncio.Task` for its whole
//! life, entered and left by the interpreter itself, so that nothing can tell that it did not wait for the loop.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyString};

use crate::asgi::future::Futures;
use crate::ffi::{self, Arguments, Held, Native};

/// How tasks are started on this interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// `Task(…, eager_start=True)`, from 3.12 on.
    Eager,
    /// Before: the first step, which a new task gives to `call_soon`, is caught there and run at once.
    Caught,
}

/// What the catcher waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Armed {
    /// For nothing.
    No,
    /// `call_soon(step, context=…)`.
    Start,
    /// `call_soon(wakeup, future, context=…)`.
    Wake,
}

/// Stands before the loop's `call_soon`, and catches the first step of a task while it is made, and the next one when what
/// the task waits for is there. Everything else goes on to the loop. It stands before the set of all tasks in the same way.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
struct Catcher {
    call_soon: Py<PyAny>,
    /// What makes a task a member of the set of all tasks, where tasks are started through the catcher.
    add: Option<Py<PyAny>>,
    armed: AtomicU8,
    /// The task whose step was caught last is about to enter the set of all tasks.
    enters: AtomicBool,
    caught: Held<Option<Step>>,
    /// The task that makes its first step now.
    first: Held<Option<Py<PyAny>>>,
}

/// A task's first step, and the context that it runs in.
#[derive(Debug)]
struct Step {
    callback: Py<PyAny>,
    context: Py<PyAny>,
}

impl Catcher {
    /// Stands before the `call_soon` of `event_loop` from now on, and, if tasks are started through it, before the set of all
    /// tasks.
    ///
    /// The set, of which each task becomes a member while it is made, is a `WeakSet`: Python code, an eighth of what a short
    /// request costs. Most tasks are done after their first step. So only those that go on become members; for the one that
    /// makes its first step a single permanent reference in the set speaks, [`First`].
    fn install(event_loop: &Bound<'_, PyAny>, way: Way) -> PyResult<Py<Self>> {
        let py = event_loop.py();
        let all_tasks = match way {
            Way::Eager => None,
            Way::Caught => Some(py.import("asyncio.tasks")?.getattr("_all_tasks")?),
        };
        let add = all_tasks.as_ref().map(|all_tasks| all_tasks.getattr("add"));
        let catcher = Self {
            call_soon: event_loop.getattr(intern!(py, "call_soon"))?.unbind(),
            add: add.transpose()?.map(Bound::unbind),
            armed: AtomicU8::new(Armed::No as u8),
            enters: AtomicBool::new(false),
            caught: Held::new(None),
            first: Held::new(None),
        };
        let catcher = Bound::new(py, catcher)?;
        let this = catcher.as_any();
        event_loop.setattr("call_soon", ffi::native_function::<CallSoon>(this)?)?;
        if let Some(all_tasks) = all_tasks {
            all_tasks.setattr("add", ffi::native_function::<Add>(this)?)?;
            let members = all_tasks.getattr("data")?;
            members.call_method1("add", (ffi::native_function::<First>(this)?,))?;
        }
        Ok(catcher.unbind())
    }

    /// Makes a task and runs its first step; whether it is done then.
    fn start<'py>(
        &self,
        py: Python<'py>,
        make: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
        is_done: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<bool>,
    ) -> PyResult<(Bound<'py, PyAny>, bool)> {
        let (made, caught) = self.catch(py, Armed::Start, make);
        self.enters.store(false, Ordering::Relaxed);
        let task = made?;
        let Some(step) = caught else {
            let done = is_done(&task)?;
            return Ok((task, done));
        };
        let ran = self.run(&task, &step);
        let done = is_done(&task)?;
        if let (false, Some(add)) = (done, &self.add) {
            ffi::call(add.bind(task.py()), [&task])?;
        }
        match ran {
            // What ends a process is raised by the step as well; the task has it.
            Err(error) if !done => Err(error),
            _ => Ok((task, done)),
        }
    }

    /// What `work` gives to `call_soon` of the kind `armed`.
    fn catch<T>(
        &self,
        py: Python<'_>,
        armed: Armed,
        work: impl FnOnce() -> T,
    ) -> (T, Option<Step>) {
        self.armed.store(armed as u8, Ordering::Relaxed);
        let result = work();
        self.armed.store(Armed::No as u8, Ordering::Relaxed);
        (result, self.caught.lock(py).take())
    }

    /// Ends `future`, and lets the task that waits for it go on at once.
    fn wake(&self, futures: &Futures, future: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = future.py();
        let (ended, caught) = self.catch(py, Armed::Wake, || futures.end(future));
        ended?;
        let Some(Step { callback, context }) = caught else {
            return Ok(());
        };
        match ffi::call_in(&context.into_bound(py), &callback.into_bound(py), [future]) {
            // What ends a process is raised by the step as well; the task has it.
            Err(error) if !is_fatal(py, &error) => Err(error),
            _ => Ok(()),
        }
    }

    fn run(&self, task: &Bound<'_, PyAny>, step: &Step) -> PyResult<()> {
        let py = task.py();
        let before = self.first.lock(py).replace(task.clone().unbind());
        let ran = ffi::call_in(step.context.bind(py), step.callback.bind(py), []);
        let after = std::mem::replace(&mut *self.first.lock(py), before);
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
        // The one keyword that there is, behind the others, is the context.
        let armed = catcher.armed.load(Ordering::Relaxed);
        catcher.armed.store(Armed::No as u8, Ordering::Relaxed);
        let expected = match (arguments.positional(), arguments.keywords()) {
            (1, 1) => Armed::Start,
            (2, 1) => Armed::Wake,
            _ => Armed::No,
        };
        let context = arguments.nth(arguments.positional());
        let (Some(callback), Some(context), true) = (
            arguments.nth(0),
            context,
            armed == expected as u8 && expected != Armed::No,
        ) else {
            return arguments.forward(catcher.call_soon.bind(py));
        };
        let before = catcher.caught.lock(py).replace(Step {
            callback: callback.to_owned().unbind(),
            context: context.to_owned().unbind(),
        });
        drop(before);
        if expected == Armed::Wake {
            return Ok(py.None().into_bound(py));
        }
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
        let enters = catcher.enters.load(Ordering::Relaxed);
        catcher.enters.store(false, Ordering::Relaxed);
        match &catcher.add {
            Some(add) if !enters => arguments.forward(add.bind(py)),
            _ => Ok(py.None().into_bound(py)),
        }
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
        let first = catcher.first.lock(py);
        let first = first.as_ref().map(|task| task.clone_ref(py));
        Ok(first.unwrap_or_else(|| py.None()).into_bound(py))
    }
}

/// Starts tasks.
#[derive(Debug)]
pub(crate) struct Starter {
    way: Way,
    catcher: Py<Catcher>,
    class: Class,
    options: Py<PyDict>,
    get_factory: Py<PyAny>,
    /// Tasks of this loop are made by a factory of the application's.
    has_factory: AtomicBool,
    /// How many names there were.
    named: AtomicU64,
    /// The address of the name in the options, which keep it alive.
    last_name: AtomicUsize,
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
        let way = if eager { Way::Eager } else { Way::Caught };
        Ok(Self {
            way,
            catcher: Catcher::install(event_loop, way)?,
            class: Class::new(py)?,
            options: options.unbind(),
            get_factory: event_loop
                .getattr(intern!(py, "get_task_factory"))?
                .unbind(),
            has_factory: AtomicBool::new(false),
            named: AtomicU64::new(0),
            last_name: AtomicUsize::new(0),
        })
    }

    /// Looks whether the application has set a task factory; before tasks are started.
    pub(crate) fn look(&self, py: Python<'_>) -> PyResult<()> {
        let has_factory = !self.get_factory.call0(py)?.is_none(py);
        self.has_factory.store(has_factory, Ordering::Relaxed);
        Ok(())
    }

    /// A name for a task: `request-1` and so on. Before 3.12 a task without one is given one at once, by a slow way.
    pub(crate) fn new_name(&self, py: Python<'_>) -> Py<PyString> {
        let number = self.named.fetch_add(1, Ordering::Relaxed) + 1;
        PyString::new(py, &format!("request-{number}")).unbind()
    }

    /// What the next task is made with.
    fn options<'a, 'py>(
        &'a self,
        py: Python<'py>,
        name: &Py<PyString>,
    ) -> PyResult<&'a Bound<'py, PyDict>> {
        let options = self.options.bind(py);
        if name.as_ptr().addr() != self.last_name.load(Ordering::Relaxed) {
            options.set_item(intern!(py, "name"), name)?;
            self.last_name
                .store(name.as_ptr().addr(), Ordering::Relaxed);
        }
        Ok(options)
    }

    /// Ends `future`, which a task waits for, while no other task is inside a step: the waiting one goes on here and now, as it
    /// would in the loop's next round.
    pub(crate) fn wake(&self, futures: &Futures, future: &Bound<'_, PyAny>) -> PyResult<()> {
        self.catcher.get().wake(futures, future)
    }

    /// Runs the application's coroutine as far as it comes at once. `name`: the task's.
    pub(crate) fn start<'py>(
        &self,
        event_loop: &Py<PyAny>,
        coroutine: &Bound<'py, PyAny>,
        name: &Py<PyString>,
    ) -> PyResult<Task<'py>> {
        let py = coroutine.py();
        let make = || {
            let options = self.options(py, name)?;
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
            Way::Caught => self
                .catcher
                .get()
                .start(py, make, |task| self.class.is_done(task))?,
        };
        Ok(if done {
            Task::Done(self.class.outcome(&task))
        } else {
            Task::Suspended(task)
        })
    }
}

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

/// What is to end the process.
fn is_fatal(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py)
}

/// What a task that is done has returned or raised.
pub(crate) fn outcome<'py>(task: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    task.call_method0(intern!(task.py(), "result"))
}
