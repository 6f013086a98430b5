#!/bin/sh
# Installs the Arize Phoenix that tests/loggers/real/test_phoenix.py sends to, in an environment of its own (850 MB).
set -eu
cd "$(dirname "$0")/.."
folder=.cache/phoenix
[ -e "$folder/ready" ] && exit 0
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check "arize-phoenix==20.26.1"
touch "$folder/ready"
