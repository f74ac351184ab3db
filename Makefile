# The three commands of this repository:
#
#   make serve    builds Oxicorn and serves examples/hello with two workers
#   make demo     restarts it under load, and shows what the clients see of it
#   make test     everything CI runs, in CI's order
#
# Everything they make is inside the tree (.venv, target). Needed: Rust, Python 3.10 or newer, make
# and a C compiler. `make help` lists the single steps.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PORT ?= 8000
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
VERSIONS := 3.10 3.11 3.12 3.13

export CARGO_TERM_PROGRESS_WHEN = never
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PYO3_PYTHON = $(BIN)/python

# One working interpreter for each version, on PATH or under pyenv. (A shim of pyenv may be on PATH
# and not work: each candidate is asked for its version.)
PYTHONS ?= $(shell for version in $(VERSIONS); do \
	for python in python$$version "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version.*/bin/python; do \
	found=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true); \
	if [ "$$found" = $$version ]; then command -v "$$python"; break; fi; done; done)

STEPS := format clippy rust-test rust-docs generated tidy python-lint python-types wheel stubs \
	python-test other-pythons

.PHONY: help serve demo test autobahn other-wheels wheels clean $(STEPS)

help:
	@awk '!/^#/ {exit} {sub(/^# ?/, ""); print}' Makefile
	@echo "Steps of 'make test': $(STEPS)"
	@echo "Others: autobahn (every case), wheels (one for each CPython found), clean"

serve: $(VENV)/serves
	@port=$$($(BIN)/python -c "$$free_port" $(PORT)); \
	exec $(BIN)/oxicorn --chdir examples/hello hello:app --workers 2 --bind "127.0.0.1:$$port"

demo: $(VENV)/serves
	@exec $(BIN)/python examples/restarts/watch.py $(or $(ARGS),--restarts 5 --broken)

# Prints the wanted port, or a free one with a notice if it is taken.
define free_port
import socket, sys
wanted = int(sys.argv[1])
with socket.socket() as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("127.0.0.1", wanted))
    except OSError:
        probe.bind(("127.0.0.1", 0))
        print(f"Port {wanted} is taken; using another. (Choose one: make serve PORT=8080)",
              file=sys.stderr)
    print(probe.getsockname()[1])
endef
export free_port

# Two long builds that leave a processor idle run beside the steps before those that need them, and
# give way to them: the wheel, which is optimised as a whole, and those of the other interpreters.
# What they print is shown if they fail. Nobody goes on with these builds: they keep nothing for the
# next change of a line, which costs a fifth of their time.
test: export CARGO_INCREMENTAL = 0
test: $(VENV)/tools
	@started=$$SECONDS; mkdir -p target; \
	beside() { \
		set -m; nice -n 10 $(MAKE) "$$1" >"target/$$1.log" 2>&1 & set +m; \
		job=$$! log=target/$$1.log; trap "kill -- -$$job 2>/dev/null || true" EXIT; \
	}; \
	beside wheel; \
	for step in $(STEPS); do \
		printf '\n== %s\n' "$$step"; before=$$SECONDS; \
		case $$step in wheel | other-pythons) wait "$$job" || cat "$$log" ;; esac; \
		$(MAKE) "$$step" || { printf '\n== %s failed\n' "$$step" >&2; exit 1; }; \
		if [ "$$step" = stubs ]; then beside other-wheels; fi; \
		printf '== %s: %d s\n' "$$step" $$((SECONDS - before)); \
	done; \
	printf '\nAll steps passed in %d s.\n' $$((SECONDS - started))

# Virtual environment: with Oxicorn only, and with the tools of `make test` as well.

SOURCES := $(shell find crates python -type f -not -name '*.pyc') \
	Cargo.toml Cargo.lock pyproject.toml README.md

$(VENV)/created:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/tools: pyproject.toml | $(VENV)/created
	$(BIN)/pip install --quiet --group dev
	@touch $@

$(VENV)/serves: $(SOURCES) | $(VENV)/created
	@echo "Building Oxicorn (release; a few minutes the first time) ..."
	$(BIN)/pip install --quiet --force-reinstall --no-deps .
	@touch $@

# The steps.

format:
	cargo fmt --all --check

clippy: | $(VENV)/created
	cargo clippy --workspace --all-targets --locked -- -D warnings

rust-test: | $(VENV)/created
	@if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --workspace --locked --no-fail-fast --test-threads 3 && cargo test --workspace --locked --doc; \
	else \
		echo "cargo-nextest is not installed (cargo install cargo-nextest --locked); using cargo test."; \
		cargo test --workspace --locked; \
	fi

rust-docs: | $(VENV)/created
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items --locked

generated:
	cargo xtask generate --check

tidy:
	cargo xtask tidy

python-lint: $(VENV)/tools
	$(BIN)/ruff check
	$(BIN)/ruff format --check

python-types: $(VENV)/tools
	$(BIN)/mypy --strict python/oxicorn

wheel: $(VENV)/serves
	$(BIN)/oxicorn --version

stubs: $(VENV)/tools $(VENV)/serves
	MYPYPATH=python $(BIN)/python -m mypy.stubtest oxicorn._native

python-test: $(VENV)/tools $(VENV)/serves
	$(BIN)/pytest -n 4 --dist worksteal

# All Autobahn cases against the WebSocket codec; `make test` runs those that are short.
autobahn: $(VENV)/tools
	OXICORN_AUTOBAHN=all $(BIN)/pytest tests/test_autobahn.py

# What the tests of `other-pythons` import beside Oxicorn.
SMOKE := anyio gevent gunicorn pytest pytest-xdist setproctitle sniffio tornado uvicorn uvloop

# The other interpreters: each gets a virtual environment with a debug build.
version_of = "$(1)" -c 'import sys; print("%d.%d" % sys.version_info[:2])'
OTHERS = $(filter-out $(shell $(call version_of,$(BIN)/python)), \
	$(shell for python in $(PYTHONS); do $(call version_of,$$python); done))

target/pythons/%/serves: $(SOURCES) | $(VENV)/tools
	@venv=target/pythons/$*; \
	"$$venv/bin/python" -c 'for name in "$(SMOKE)".split(): __import__(name.replace("pytest-", ""))' 2>/dev/null || { \
		for python in $(PYTHONS); do \
			if [ "$$($(call version_of,$$python))" = $* ]; then "$$python" -m venv "$$venv"; fi; done; \
		"$$venv/bin/pip" install --quiet $(SMOKE); }; \
	rm -rf "$$venv/wheel"; \
	env -u PYO3_PYTHON $(BIN)/maturin build --quiet --profile dev --locked \
		--interpreter "$$venv/bin/python" --out "$$venv/wheel"; \
	"$$venv/bin/pip" install --quiet --force-reinstall --no-deps "$$venv"/wheel/oxicorn-*.whl
	@touch $@

other-wheels:
	@for version in $(OTHERS); do $(MAKE) target/pythons/$$version/serves; done

# A short test with each of them: Oxicorn imports, checks and serves.
other-pythons: other-wheels
	@for version in $(OTHERS); do \
		echo "CPython $$version"; \
		target/pythons/$$version/bin/pytest -q -n 4 -k "not (test_gevent and (spec or leave_nothing))" \
			tests/test_app_loading.py tests/test_config_file.py tests/test_command_line.py \
			tests/test_asgi.py tests/test_asgi_first_step.py tests/test_asgi_fork.py \
			tests/test_gevent.py tests/test_tornado.py; \
	done

wheels: $(VENV)/tools
	env -u PYO3_PYTHON $(BIN)/maturin build --release --locked --out target/wheels \
		$(foreach python,$(PYTHONS),--interpreter $(python))

clean:
	rm -rf $(VENV) target
