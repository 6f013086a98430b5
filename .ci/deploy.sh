#!/bin/sh
# Checks docs/deploy by what this machine has: the image's steps in a fresh folder, and what they made serving; the chart by
# Helm's own engine; the units by systemd-analyze; nginx's file by nginx. Docker itself is not run.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "image: its steps, in a fresh folder"
mkdir "$work/src"
git archive HEAD | tar -x -C "$work/src"
sh "$work/src/docs/deploy/image.sh" "$work/src" "$work/opt"
mkdir "$work/data"
(
  cd "$work/data"
  export PATH="$work/opt/bin:$PATH" BATCHMETER_LEDGER="$work/data/batches.db" OPENAI_API_KEY=none
  batchmeter keys create --name ops --admin > key
  batchmeter serve --host 0.0.0.0 --port 0 --no-track > said 2>&1 &
  server=$!
  trap 'kill $server; wait $server || true' EXIT
  until grep -q 'batchmeter serves' said; do kill -0 $server; sleep 0.2; done
  port=$(sed -n 's/.*serves http:[^ ]*:\([0-9]*\)\/v1.*/\1/p' said)
  python3 -c "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:$port/health/readiness').read())"
)

echo "chart: helm lint and helm template, of the SDK that has Helm's engine"
python3 -m venv "$work/helm"
if "$work/helm/bin/python" -m pip install --quiet --disable-pip-version-check 'helm-python-sdk>=0.2'; then
"$work/helm/bin/python" - <<'PY'
from helm_python.chart import Chart, lint

found = lint("docs/deploy/chart")
assert not found["errors"], found
for values in ({}, {"ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls"}}):
    shown = Chart.load("docs/deploy/chart").render(values, name="bm", namespace="default")
    assert ("kind: Ingress" in "".join(shown.values())) == bool(values)
print(len(shown), "templates")
PY
else
  echo "chart: NOT checked, Helm's engine cannot be had here" >&2
fi

if command -v systemd-analyze >/dev/null; then
  echo "units: systemd-analyze verify"
  for unit in batchmeter-serve batchmeter-track@; do
    sed "s,/opt/batchmeter/bin,$work/opt/bin," "docs/deploy/systemd/$unit.service" > "$work/$unit.service"
  done
  cp "$work/batchmeter-track@.service" "$work/batchmeter-track@1.service"
  systemd-analyze verify "$work/batchmeter-serve.service" "$work/batchmeter-track@1.service"
fi

if command -v nginx >/dev/null; then
  echo "nginx: nginx -t"
  openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout "$work/privkey.pem" -out "$work/fullchain.pem" 2>/dev/null
  sed "s,/etc/ssl/batches.example.com,$work," docs/deploy/nginx.conf > "$work/site.conf"
  temp=$(for kind in client_body proxy fastcgi uwsgi scgi; do printf '%s_temp_path %s/%s; ' $kind "$work" $kind; done)
  printf 'pid %s/pid; error_log stderr; events {} http { access_log off; %s include %s/site.conf; }\n' "$work" "$temp" "$work" > "$work/nginx.conf"
  nginx -t -p "$work" -c "$work/nginx.conf"
fi
echo "deploy: good"
