#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the settings file, but never over one that an operator may have
# edited: then it goes beside it. Called by meson: install-settings.sh FILE DIR
set -eu
to="${DESTDIR:-}$2"
mkdir -p "$to" "$to/vas-daemon.conf.d"
name=vas-daemon.conf
if [ -e "$to/$name" ] && ! cmp -s "$1" "$to/$name"; then
	name=vas-daemon.conf.new
	echo "$to/vas-daemon.conf differs: kept; the new one is $name"
fi
install -m 0644 "$1" "$to/$name"
