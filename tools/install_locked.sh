#!/bin/sh
# Install the packages of a lock into /opt/venv: what the build of an image runs. pip itself stays in
# the build. Wheels only, as an image has no compiler.
set -eu

/opt/pip/bin/pip --python /opt/venv/bin/python install --require-hashes --only-binary :all: \
    --no-compile --no-cache-dir --disable-pip-version-check --root-user-action ignore -r "$1"

# Bytecode that is used whatever the times of the files are. Builders may change them, and a process
# that cannot write would then compile everything at each start.
/opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib
