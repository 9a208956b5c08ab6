#!/usr/bin/env bash
# install.sh [DIR]: Neovim, Helix and Emacs' lsp-mode from newer suites of Debian, unpacked under DIR (build/editors)
# with the libraries they need, beside the system and without touching its own packages. Emacs itself, tmux and patchelf
# are installed by apt-get. Uses the mirror that this machine's apt is set up with. What is there already is left alone.
set -Eeuo pipefail
dir=$(realpath -m "${1:-$(dirname "$0")/../../build/editors}")
next=${NEXT_SUITE:-forky}  # Neovim 0.12, Helix 25, lsp-mode 10
older=${OLDER_SUITE:-trixie}  # Neovim 0.10
done=$dir/done-$next-$older
[ ! -e "$done" ] || exit 0

command -v apt-get > /dev/null || { echo "install.sh needs a Debian machine (apt-get)" >&2; exit 1; }
mkdir -p "$dir"
exec > "$dir/install.log"
trap 'echo "install.sh failed; $dir/install.log says more" >&2' ERR

if ! command -v tmux > /dev/null || ! command -v patchelf > /dev/null || ! command -v emacs > /dev/null; then
    [ "$(id -u)" = 0 ] || { echo "run install.sh as root, or: apt-get install tmux patchelf emacs-nox" >&2; exit 1; }
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends tmux patchelf emacs-nox
fi
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirrors=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' "Codename: $codename")
mirror=${mirrors%%$'\n'*}
[ -n "$mirror" ] || { echo "install.sh knows no Debian mirror: run apt-get update" >&2; exit 1; }

# An apt of its own for a suite: nothing is installed there yet, so that every package comes with all that it needs.
use_suite() {
    local apt=$dir/apt-$1
    mkdir -p "$apt"/{lists/partial,archives/partial,state,etc}
    : > "$apt/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $1 main" > "$apt/sources.list"
    cat > "$apt/apt.conf" <<EOF
Dir::Etc::sourcelist "$apt/sources.list"; Dir::Etc::sourceparts "$apt/etc"; Dir::Etc::preferencesparts "$apt/etc";
Dir::State "$apt/state"; Dir::State::lists "$apt/lists"; Dir::State::status "$apt/status";
Dir::Cache "$apt"; Dir::Cache::archives "$apt/archives"; Acquire::Languages "none"; APT::Sandbox::User "root";
EOF
    export APT_CONFIG=$apt/apt.conf
    apt-get update
}

# unpack SUITE PROGRAM PACKAGE: a package and everything that it needs, the C library included.
unpack() {
    local root=$dir/$1 program=$2 deb loader
    mkdir -p "$root"
    apt-get install -y --download-only --no-install-recommends "$3"
    for deb in "$dir/apt-$1"/archives/*.deb; do dpkg-deb -x "$deb" "$root"; done
    rm "$dir/apt-$1"/archives/*.deb
    loader=$(find "$root/usr/lib" -name 'ld-linux*.so.*' | head -1)
    patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$(dirname "$loader")" "$(realpath "$root/usr/$program")"
}

# start NAME VARIABLE FOLDER PROGRAM: a script that starts a program with the folder of its run-time files.
start() {
    mkdir -p "$dir/bin"
    printf '#!/bin/sh\n%s=%s exec %s "$@"\n' "$2" "$dir/$3" "$dir/$4" > "$dir/bin/$1"
    chmod +x "$dir/bin/$1"
}

use_suite "$older"
unpack "$older" bin/nvim neovim
start nvim-0.10 VIMRUNTIME "$older/usr/share/nvim/runtime" "$older/usr/bin/nvim"
use_suite "$next"
unpack "$next" bin/nvim neovim
start nvim VIMRUNTIME "$next/usr/share/nvim/runtime" "$next/usr/bin/nvim"
unpack "$next" lib/hx/hx hx
start hx HELIX_RUNTIME "$next/usr/lib/hx/runtime" "$next/usr/lib/hx/hx"

# lsp-mode and the packages that it needs, installed as Emacs installs packages.
rm -rf "$dir/emacs"
mkdir -p "$dir/emacs/src"
cd "$dir/emacs/src"
apt-get download elpa-{dash,f,ht,lsp-mode,lv,markdown-mode,s,spinner}
for deb in *.deb; do dpkg-deb -x "$deb" .; done
cat > install.el <<'EOF'
(setq package-user-dir (expand-file-name "../elpa") byte-compile-warnings nil)
(package-initialize)
(dolist (name '("s" "dash" "ht" "f" "spinner" "lv" "markdown-mode" "lsp-mode"))
  (package-install-file (car (file-expand-wildcards (format "usr/share/emacs/site-lisp/elpa-src/%s-[0-9]*" name) t))))
EOF
env -u APT_CONFIG emacs --quick --batch --load install.el 2>&1
cd "$dir"
rm -rf emacs/src "$dir"/apt-*
touch "$done"
