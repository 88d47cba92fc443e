#!/bin/sh
# Create or refresh .venv: the packages of requirements.lock, then this checkout, editable.
# Called by `make setup` with the Python to use; doing it again changes nothing.
set -eu

python=$1
venv=.venv

say() { printf 'setup: %s\n' "$1"; }
fail() { printf 'setup: %s\n' "$1" >&2; exit 1; }

command -v "$python" >/dev/null ||
    fail "Python 3.11 or newer is needed and '$python' was not found; name one with: make setup PYTHON=/path/to/python3"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python 3.11 or newer is needed and '$python' is $version; name one with: make setup PYTHON=/path/to/python3"

# Debian and Ubuntu ship `venv` apart from Python.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    package=python$version-venv
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing $package, which this Python lacks"
        apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y "$package"
    else
        fail "this Python lacks the venv module; install the package $package (or python3-venv) and try again"
    fi
fi

# An environment that is half made, whose Python is gone, or of another version, cannot be mended.
case $("$venv/bin/python" -m pip --version 2>/dev/null) in
*"(python $version)") ;;
*)
    say "creating $venv with Python $version"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    ;;
esac

if ! cmp -s requirements.lock "$venv/requirements.lock"; then
    say "installing $(grep -c == requirements.lock) locked packages, which takes a minute or more"
    "$venv/bin/pip" install --disable-pip-version-check -q --require-hashes -r requirements.lock
    cp requirements.lock "$venv/requirements.lock"
fi

say "installing Holdfast from this checkout"
"$venv/bin/pip" install --disable-pip-version-check -q --no-deps --no-build-isolation --editable .
touch "$venv/ready"
say "done; try $venv/bin/holdfast --help"
