#!/bin/sh
# Installs the litellm that tests compare our calls with, in an environment of its own (330 MB).
set -eu
cd "$(dirname "$0")/.."
folder=.cache/litellm
[ -e "$folder/ready" ] && exit 0
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check "litellm==1.110.2"
touch "$folder/ready"
