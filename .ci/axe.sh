#!/usr/bin/env bash
# axe-core, which tests/ui looks for what is hard to use on the web pages with; from npm, into .cache/, never in the wheel.
set -euo pipefail
cd "$(dirname "$0")/.."
VERSION=4.14.1
TARGET=.cache/axe-core-$VERSION
[ -f "$TARGET/axe.min.js" ] && exit 0
mkdir -p "$TARGET"
(cd "$TARGET" && npm pack --silent "axe-core@$VERSION" && tar xzf "axe-core-$VERSION.tgz" --strip-components=1 package/axe.min.js && rm "axe-core-$VERSION.tgz")
