//! How the application's coroutine becomes a task whose first step runs at once. It is a real `asyncio.Task` for its whole
//! life, entered and left by the interpreter itself, so that nothing can tell that it did not wait for the loop.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict};

/// How tasks are started on this interpreter.
#[derive(Debug)]
enum Way {
    /// `Task(…, eager_start=True)`, from 3.12 on.
    Eager,
    /// `loop.create_task`: the first step is the loop's next one.
    Plain,
}

/// Starts tasks.
#[derive(Debug)]
pub(crate) struct Starter {
    way: Way,
    task: Py<PyAny>,
    options: Py<PyDict>,
    is_coroutine: Py<PyAny>,
    /// Makes a coroutine of another awaitable.
    wrap: Py<PyAny>,
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
            way: if eager { Way::Eager } else { Way::Plain },
            task: asyncio.getattr("Task")?.unbind(),
            options: options.unbind(),
            is_coroutine: asyncio.getattr("iscoroutine")?.unbind(),
            wrap: py.import("oxicorn.asgi")?.getattr("awaited")?.unbind(),
        })
    }

    /// Runs what the application has returned as far as it comes at once.
    pub(crate) fn start<'py>(
        &self,
        event_loop: &Py<PyAny>,
        made: &Bound<'py, PyAny>,
    ) -> PyResult<Task<'py>> {
        let py = made.py();
        let coroutine = self.coroutine(made)?;
        let factory = event_loop.call_method0(py, intern!(py, "get_task_factory"))?;
        let task = match self.way {
            Way::Eager if factory.is_none(py) => {
                let options = self.options.bind(py);
                self.task.bind(py).call((coroutine,), Some(options))?
            }
            Way::Eager | Way::Plain => {
                let create = event_loop.bind(py).getattr(intern!(py, "create_task"))?;
                create.call1((coroutine,))?
            }
        };
        if task.call_method0(intern!(py, "done"))?.is_truthy()? {
            return Ok(Task::Done(outcome(&task)));
        }
        Ok(Task::Suspended(task))
    }

    fn coroutine<'py>(&self, made: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = made.py();
        if self.is_coroutine.call1(py, (made,))?.is_truthy(py)? {
            return Ok(made.clone());
        }
        if !made.hasattr(intern!(py, "__await__"))? {
            let kind = made.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "the ASGI callable must return an awaitable, not {kind}"
            )));
        }
        self.wrap.bind(py).call1((made,))
    }
}

/// What a task that is done has returned or raised.
pub(crate) fn outcome<'py>(task: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    task.call_method0(intern!(task.py(), "result"))
}
