#!/bin/sh
# Prepare the load comparison: `wrk` and libraries from Debian, the peers in benches/.venv.
#
#   benches/setup.sh                    with python3 from PATH
#   PYTHON=python3.12 benches/setup.sh  with another interpreter
#
# A peer that cannot be installed does not stop the others: its name and the reason are printed and
# kept in benches/.venv/not-installed/, from where every result quotes them.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
venv=$here/.venv
failures=$venv/not-installed

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# wrk drives the load; taskset (util-linux) pins it; bjoern compiles against libev, uWSGI and
# others need a C compiler and the headers of the chosen Python.
as_root apt-get update -q
as_root apt-get install -y -q wrk util-linux gcc libc6-dev libev-dev libpcre2-dev

"$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install -q --upgrade pip wheel
# fastwsgi imports pkg_resources, which setuptools 81 announced and 82 removed.
"$venv/bin/python" -m pip install -q 'setuptools<81'
# uvloop, httptools and websockets are what uvicorn[standard] adds to uvicorn.
"$venv/bin/python" -m pip install -q flask django fastapi gevent uvloop httptools websockets

# The last lines a failed build printed, or pip's own first error, on one line.
reason() {
    awk '/lines of output\]/ { inside = 1; next }
         /\[end of output\]/ { exit }
         inside && NF { $1 = $1; third = second; second = last; last = $0 }
         END { print third, second, last }' "$1" | grep '[^ ]' ||
        grep -m1 -i error "$1" || tail -n 1 "$1"
}

cc -O2 -Wall -Wextra -Werror -shared -fPIC -o "$venv/polling.so" "$here/load/polling.c" -ldl

mkdir -p "$failures"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
missing=0
for peer in gunicorn granian uwsgi bjoern fastwsgi fastpysgi freastal peregrine-server \
    uvicorn hypercorn h2corn; do
    if "$venv/bin/python" -m pip install -q "$peer" >"$log" 2>&1; then
        echo "installed      $peer"
    else
        missing=$((missing + 1))
        reason "$log" >"$failures/$peer"
        echo "NOT INSTALLED  $peer: $(cat "$failures/$peer")"
    fi
done
"$venv/bin/python" --version
echo "$missing peers not installed"
