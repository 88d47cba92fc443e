#!/bin/sh
# Build the images of Holdfast with docker, podman or buildah, whichever is there; print their sizes.
# Called by `make images`. Arguments go to every build; these may be set:
#   ENGINE=podman          instead of the first of the three that answers
#   PARTS="store worker"   instead of all; `postgresql`, for development, only where it is named
#   REGISTRY=example.org/team TAG=1.0    the names become example.org/team/holdfast-store:1.0
set -eu

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
tag=${TAG:-$version}
created=$(date -u +%Y-%m-%dT%H:%M:%SZ)
revision=unknown
if git rev-parse --git-dir >/dev/null 2>&1; then
    revision=$(git describe --always --dirty --abbrev=40 --exclude '*')
fi

engine=${ENGINE:-}
if [ -z "$engine" ]; then
    for candidate in docker podman buildah; do
        # A docker without its daemon is there and does not answer.
        if "$candidate" info >/dev/null 2>&1; then
            engine=$candidate
            break
        fi
    done
fi
if [ -z "$engine" ]; then
    echo "images: docker (with a running daemon), podman or buildah is needed, and none answers" >&2
    exit 1
fi
cached=
[ "${engine##*/}" != buildah ] || cached=--layers # what the others do by default

parts=${PARTS:-store gateway worker db operator e2e}
name() { echo "${REGISTRY:+$REGISTRY/}holdfast-$1:$tag"; }
for part in $parts; do
    echo "images: building $(name "$part") with $engine"
    "$engine" build $cached --target "$part" --tag "$(name "$part")" --build-arg "VERSION=$version" \
        --build-arg "REVISION=$revision" --build-arg "CREATED=$created" "$@" .
done
for part in $parts; do
    printf '%-40s %s\n' "$(name "$part")" "$("$engine" images --format '{{.Size}}' "$(name "$part")")"
done
