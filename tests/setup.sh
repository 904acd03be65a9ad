#!/bin/sh
# Installs what the end-to-end tests need beside cargo: programs of the system, two Python environments in tests/.cache
# (a WebSocket client and what makes components of Python; Autobahn's test suite, made Python 3), and the packages of the
# SignalR example, of socket.io and of what makes components of JavaScript.
# What is there already is left alone.
set -eu
cd "$(dirname "$0")"
cache=.cache
mkdir -p "$cache"

packages=""
for need in curl:curl docker-registry:docker-registry nginx:nginx nghttp:nghttp2-client h2load:nghttp2-client openssl:openssl pebble:pebble chromium:chromium node:nodejs npm:npm python3:python3; do
    PATH="$PATH:/usr/sbin" command -v "${need%%:*}" >/dev/null || packages="$packages ${need##*:}"
done
python3 -c 'import ensurepip, venv' 2>/dev/null || packages="$packages python3-venv"
if [ -n "$packages" ]; then
    echo "installing$packages"
    if [ "$(id -u)" = 0 ]; then sudo=""; else sudo=sudo; fi
    $sudo apt-get update -q
    # shellcheck disable=SC2086  # a list of words
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages
fi

# installed FOLDER STAMP: whether the folder was made from the files of the stamp, and by the Python that is here now.
stamp() { { python3 --version; cat "$@"; } | cksum; }
installed() { [ -f "$1/.installed" ] && [ "$(cat "$1/.installed")" = "$2" ]; }

now=$(stamp python/requirements.txt)
if ! installed "$cache/venv" "$now"; then
    python3 -m venv --clear "$cache/venv"
    "$cache/venv/bin/pip" install --quiet --disable-pip-version-check -r python/requirements.txt
    echo "$now" >"$cache/venv/.installed"
fi

for folder in ../examples/signalr/server ../examples/signalr/client socketio guests/conformance-js; do
    now=$(stamp "$folder/package-lock.json")
    if ! installed "$folder/node_modules" "$now"; then
        (cd "$folder" && npm ci --no-audit --no-fund --loglevel=error)
        echo "$now" >"$folder/node_modules/.installed"
    fi
done

now=$(stamp autobahn/requirements.txt autobahn/convert.py)
if ! installed "$cache/autobahn" "$now"; then
    python3 -m venv --clear "$cache/autobahn"
    # The suite is Python 2 until it is converted: nothing to compile yet.
    "$cache/autobahn/bin/pip" install --quiet --disable-pip-version-check --no-compile -r autobahn/requirements.txt
    "$cache/autobahn/bin/python" autobahn/convert.py "$cache/autobahn/suite"
    echo "$now" >"$cache/autobahn/.installed"
fi
