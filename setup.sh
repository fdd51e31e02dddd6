#!/bin/sh
# sh setup.sh [REQUIREMENTS]: checks Python and the system libraries, makes .venv, installs the packages.
# Called by make; PYTHON names another interpreter. Does nothing when all of it is there already.
set -eu
cd "$(dirname "$0")"
requirements=${1:-requirements.txt}
python=${PYTHON:-python3}
stamp=.venv/.installed-$(cat requirements*.txt setup.sh | cksum | cut -d' ' -f1)-$(basename "$requirements")
[ -e "$stamp" ] && exit 0

fail() { echo "error: $1" >&2; exit 2; }

needed=
"$python" -c 'import venv, ensurepip' 2>/dev/null || needed="python3-venv"
# OpenCV's window toolkit links these; python:slim images and bare servers lack them.
if command -v "$python" >/dev/null 2>&1; then
    "$python" -c 'import ctypes; ctypes.CDLL("libGL.so.1")' 2>/dev/null || needed="$needed libgl1"
    "$python" -c 'import ctypes; ctypes.CDLL("libgthread-2.0.so.0")' 2>/dev/null || needed="$needed libglib2.0-0"
else
    needed="python3 python3-venv libgl1 libglib2.0-0"
fi
if [ -n "$needed" ] && [ "$(uname -s)" = Linux ]; then
    line="apt-get update && apt-get install -y --no-install-recommends $(echo $needed)"
    command -v apt-get >/dev/null 2>&1 || fail "system packages are missing (Debian's names): $needed"
    [ "$(id -u)" = 0 ] || fail "system packages are missing; run: sudo sh -c '$line'"
    echo "installing system packages: $(echo $needed)"
    DEBIAN_FRONTEND=noninteractive sh -c "$line" >/tmp/portrait-apt.log 2>&1 || fail "apt-get failed: see /tmp/portrait-apt.log, or run: $line"
fi

"$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' ||
    fail "Python 3.10 to 3.13 is needed; name one: make PYTHON=python3.12 demo"
[ -x .venv/bin/python ] || "$python" -m venv .venv
echo "installing packages of $requirements (TensorFlow is large: a few minutes the first time)"
.venv/bin/python -m pip install -q --disable-pip-version-check -r "$requirements" || fail "pip could not install $requirements"
rm -f .venv/.installed-*-"$(basename "$requirements")"
touch "$stamp"
