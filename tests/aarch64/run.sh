#!/bin/bash
# The kernels' tests on AArch64, cross-compiled and emulated: what NEON computes, not how fast.
#
#   tests/aarch64/run.sh FOLDER [ARGUMENTS OF cargo test...]
#
# FOLDER gets a Debian of its own (sid, for its Rust), 2 GB, once; as root, on Debian with debootstrap. The packages come from
# where this machine's come from, the crates from cargo's cache: build the project here first.
set -euo pipefail

if [ $# -lt 1 ] || [ "$(id -u)" != 0 ]; then
    sed -n '2,8s/^# \?//p' "$0" >&2
    exit 2
fi
root=$(realpath -m "$1")
shift
checkout=$(realpath "$(dirname "$0")/../..")

if ! [ -e "$root/made" ]; then
    mirror=$(cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk '/^URIs:/{print $2; exit}')
    debootstrap --variant=minbase --include=ca-certificates sid "$root" ${mirror:+"$mirror"}
    # A mirror of an older day is as good.
    echo 'Acquire::Check-Valid-Until "false";' >"$root/etc/apt/apt.conf.d/any-day"
    cp /etc/resolv.conf /etc/hosts "$root/etc/"
    chroot "$root" bash -ec '
        export DEBIAN_FRONTEND=noninteractive
        dpkg --add-architecture arm64
        apt-get update -q
        apt-get install -y -q --no-install-recommends \
            rustc cargo libstd-rust-dev:arm64 gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user'
    touch "$root/made"
fi

shared=$(realpath -m "$checkout/../shared")
mkdir -p "$root/project/checkout" "$root/project/shared" "$root/root/.cargo/registry"
mounted=()
trap 'for place in "${mounted[@]}"; do umount "$root/$place"; done' EXIT
bind() {
    mount --bind "$1" "$root/$2"
    mounted=("$2" "${mounted[@]}")
}
bind "$checkout" project/checkout
bind "${CARGO_HOME:-$HOME/.cargo}/registry" root/.cargo/registry
bind /proc proc
bind /dev dev
if [ -d "$shared" ]; then
    bind "$shared" project/shared
fi
chroot "$root" env -C /project/checkout HOME=/root CARGO_TARGET_DIR=/target \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu" \
    cargo test -p kinestream-kernels --target aarch64-unknown-linux-gnu --offline --locked "$@"
