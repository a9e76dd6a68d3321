#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the settings file, but never over one that an operator may have
# edited: then it goes beside it, and the Makefile says so, because meson shows
# nothing of what this prints. Called by meson: install-settings.sh FILE DIR
set -eu
to="${DESTDIR:-}$2"
install -d -m 0755 "$to" "$to/vas-daemon.conf.d"
name=vas-daemon.conf
rm -f "$to/$name.new"
[ ! -e "$to/$name" ] || cmp -s "$1" "$to/$name" || name=$name.new
install -m 0644 "$1" "$to/$name"
