#!/bin/sh
# autogen.sh - make configure and what it needs from the tree.  Run it again when a file was
# added or removed; `./dev build` does so by itself.
cd "$(dirname "$0")" || exit 1
build-aux/sources > sources.mk.new || exit 1
mv sources.mk.new sources.mk
exec autoreconf --force --install --warnings=all
