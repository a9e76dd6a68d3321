#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Process 1 of the emulated host where systemd is not: runs the scenario (guest-init.sh TTY SCRIPT), buries
# the dead (dash's wait reaps whatever ends), and switches the machine off.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
words=$1
shift
/usr/bin/python3 "$@" >"$words" 2>&1 </dev/null &
wait $!
echo b >/proc/sysrq-trigger
