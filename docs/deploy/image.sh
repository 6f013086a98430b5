#!/bin/sh
# Steps of the image, which run anywhere with Python 3.11 or newer: batchmeter of SOURCE into the environment TARGET.
#   sh docs/deploy/image.sh SOURCE TARGET [EXTRAS]
set -eu
source=$1 target=$2 extras=${3:-all}
"${PYTHON:-python3}" -m venv "$target"
"$target/bin/python" -m pip install --quiet --no-cache-dir --disable-pip-version-check "$source[$extras]"
"$target/bin/python" -m compileall -q "$target/lib"
"$target/bin/batchmeter" version
