#!/bin/sh
# Installs what the end-to-end tests need beside cargo: programs of the system, a Python environment and Autobahn's
# test suite in tests/.cache, and the packages of the SignalR example. What is there already is left alone.
set -eu
cd "$(dirname "$0")"
cache=.cache
mkdir -p "$cache"

packages=""
for need in curl:curl nginx:nginx nghttp:nghttp2-client h2load:nghttp2-client openssl:openssl node:nodejs npm:npm python3:python3; do
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

# installed FOLDER FILES...: whether the folder was made from these files as they are now.
stamp() { cat "$@" | cksum; }
installed() { [ -f "$1/.installed" ] && [ "$(cat "$1/.installed")" = "$2" ]; }

now=$(stamp python/requirements.txt)
if ! installed "$cache/venv" "$now"; then
    python3 -m venv "$cache/venv"
    "$cache/venv/bin/pip" install --quiet --disable-pip-version-check -r python/requirements.txt
    echo "$now" >"$cache/venv/.installed"
fi

for folder in ../examples/signalr/server ../examples/signalr/client; do
    now=$(stamp "$folder/package-lock.json")
    if ! installed "$folder/node_modules" "$now"; then
        (cd "$folder" && npm ci --no-audit --no-fund --loglevel=error)
        echo "$now" >"$folder/node_modules/.installed"
    fi
done

# Autobahn is Python 2: one of the PATH, of $PYTHON2, or of pyenv.
python2=""
for candidate in "${PYTHON2:-python2.7}" "$HOME"/.pyenv/versions/2.7*/bin/python2.7; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (2, 7))' >/dev/null 2>&1; then
        python2=$candidate
        break
    fi
done
if [ -z "$python2" ]; then
    echo "Autobahn's test suite needs Python 2.7: set PYTHON2, or run \`pyenv install 2.7.18\`" >&2
    exit 1
fi
now=$(stamp autobahn/requirements.txt)
if ! installed "$cache/autobahn" "$now"; then
    rm -rf "$cache/autobahn"
    PIP_NO_PYTHON_VERSION_WARNING=1 "$python2" -W ignore -m pip install --quiet --disable-pip-version-check \
        --target "$cache/autobahn" --no-deps -r autobahn/requirements.txt
    echo "$now" >"$cache/autobahn/.installed"
fi
command -v "$python2" >"$cache/python2"
