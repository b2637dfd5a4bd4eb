#!/bin/sh
# Runs inside a fresh root file system (its path is $1) when the base image is made.
set -eu
root="$1"

# The user of every Perennial process; numeric, so that runAsNonRoot can check it.
chroot "$root" groupadd --gid 65532 perennial
chroot "$root" useradd --uid 65532 --gid 65532 --create-home --home-dir /home/perennial --shell /usr/sbin/nologin perennial

# Where a build mounts the machine's own pip, uv and wheel settings. They exist here so that
# mounting leaves no trace in the images built on this one.
mkdir -p "$root/etc/xdg/pip" "$root/etc/uv" "$root/var/cache/build" "$root/var/cache/find-links"

# A name and resolvers are given to each container by its runtime; these are the building machine's.
# Where the builder mounts them (Docker does) they can't be removed and don't reach the image.
rm -f "$root/etc/hostname" "$root/etc/resolv.conf" 2>/dev/null || true

# Package sources and lists belong to the machine that built this, documentation to nobody.
rm -rf "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* "$root"/etc/apt/apt.conf.d/99mmdebstrap
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/log/*
rm -rf "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/*
