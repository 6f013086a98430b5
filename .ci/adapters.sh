#!/bin/sh
# Installs the frameworks that tests/adapters runs its pages with, in an environment of their own (390 MB).
set -eu
cd "$(dirname "$0")/.."
folder=.cache/adapters
[ -e "$folder/ready" ] && exit 0
"${PYTHON:-python3}" -m venv "$folder"
for package in instructor==1.17.0 langchain-core==1.8.3 langchain-openai==1.7.4 'pydantic-ai-slim[openai]==2.68.0' \
    llama-index-core==0.14.25 llama-index-llms-openai==0.8.3; do # their pins of jiter and openai clash
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$package"
done
touch "$folder/ready"
