//! Tells the crate which interpreter it is built for (`cfg(Py_3_14)` and its like).

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
