#!/usr/bin/env bash
# htmx and its extension for server-sent events anew, from npm, into the web pages' package; `make ui-assets`. A new version
# changes the SHA-256 in tests/ui/test_budgets.py too: look at what changed before.
set -euo pipefail
cd "$(dirname "$0")/.."
VERSION=4.0.1
TARGET=plugins/batchmeter_ui/static
FOLDER=$(mktemp -d)
trap 'rm -rf "$FOLDER"' EXIT
(cd "$FOLDER" && npm pack --silent "htmx.org@$VERSION" >/dev/null && tar xzf "htmx.org-$VERSION.tgz")
cp "$FOLDER/package/dist/htmx.min.js" "$TARGET/htmx.js"
cp "$FOLDER/package/dist/ext/hx-sse.min.js" "$TARGET/hx-sse.js"
cp "$FOLDER/package/LICENSE" "$TARGET/LICENSE.htmx"
