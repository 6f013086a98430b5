#!/bin/sh
# Installs the receivers that tests/loggers/real sends to: servers that nobody on this project wrote. They go to
# .cache/receivers, in environments of their own (their pins clash with ours). Safe to run again; nothing is started.
set -eu
cd "$(dirname "$0")/.."
home=.cache/receivers
python=${PYTHON:-python3}
mkdir -p "$home"

if [ ! -x "$home/bin/ddapm-test-agent" ] || [ ! -x "$home/bin/oteltap" ]; then
    "$python" -m venv "$home"
    "$home/bin/python" -m pip install --quiet --disable-pip-version-check 'ddapm-test-agent==1.69.1' 'oteltap==1.0.0'
fi

if [ ! -x "$home/victoria-metrics" ] && command -v apt-get >/dev/null; then
    deb=$(mktemp -d)
    if (cd "$deb" && apt-get download -qq victoria-metrics >/dev/null 2>&1 && dpkg -x ./victoria-metrics_*.deb .); then
        cp "$deb/usr/bin/victoria-metrics" "$home/victoria-metrics"
    else
        echo "receivers: victoria-metrics is not in this system's package lists; its test will be skipped" >&2
    fi
    rm -rf "$deb"
fi

if [ ! -d "$home/node_modules/statsd" ] && command -v npm >/dev/null; then
    npm install --silent --no-audit --no-fund --omit=optional --ignore-scripts --prefix "$home" statsd@0.9.0 >/dev/null ||
        echo "receivers: npm could not install statsd; its test will be skipped" >&2
fi
