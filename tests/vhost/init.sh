#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
#
# The emulated host's first process, from its initramfs: makes a root file
# system that is the build host's own, read-only, with what was built laid over
# it and a tmpfs on top for what is written; then becomes that system's init.
/bin/busybox mkdir -p /proc /sys /dev /root /stage /write /new
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev

# A dead end must not wait for the time limit.
give_up() {
	echo "vhost: $*"
	echo b >/proc/sysrq-trigger
}

. /settings
for module in $MODULES; do
	insmod "/modules/$module.ko" || give_up "no module $module"
done

options=trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000
mount -t 9p -o $options root /root || give_up "no root file system"
mount -t 9p -o $options stage /stage || give_up "no stage"
mount -t tmpfs -o mode=755 write /write
mkdir /write/upper /write/work
mount -t overlay -o lowerdir=/stage:/root,upperdir=/write/upper,workdir=/write/work overlay /new ||
	give_up "no overlay"
for place in proc sys dev; do
	mount -o move /$place /new/$place || give_up "can not move /$place"
done
# shellcheck disable=SC2086 # a command and its words
exec switch_root /new $INIT
