#!/bin/sh
# Runs when the image with R is made; its root file system's path is $1. No user is added: a user's image has none of ours.
set -eu
root="$1"

# Where the builder mounts them (Docker does) they can't be removed and don't reach the image.
rm -f "$root/etc/hostname" "$root/etc/resolv.conf" 2>/dev/null || true

# Package sources and lists belong to the machine that built this, documentation and translations to nobody.
rm -rf "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* "$root"/etc/apt/apt.conf.d/99mmdebstrap
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/log/*
rm -rf "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/* "$root"/usr/lib/R/library/translations
