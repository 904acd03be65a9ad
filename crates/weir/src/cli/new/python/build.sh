#!/bin/sh
# Makes build/plugin.wasm; what it is made with, in build/venv.
set -eu
cd "$(dirname "$0")"
if ! [ -x build/venv/bin/componentize-py ]; then
    python3 -m venv build/venv
    build/venv/bin/pip install --quiet componentize-py==0.25.1
fi
build/venv/bin/componentize-py -d wit -w greeter componentize plugin -o build/plugin.part
mv build/plugin.part build/plugin.wasm
