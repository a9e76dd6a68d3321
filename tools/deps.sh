#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs what is missing to build VSched and to run its tests and its demo,
# with apt or dnf. It is careful with the machine that it runs on:
#
#   - packages that are here already are neither upgraded nor reinstalled, and
#     nothing is pulled in that is only recommended;
#   - no service is started or restarted: the tests bring their own libvirtd up,
#     in namespaces of their own;
#   - when nothing is missing, nothing at all happens, and no root is needed.
#
# tools/deps.sh packages: also what packages are built and judged with;
# tools/deps.sh lint: also the checkers of `make lint` and
# `make analyze`; tools/deps.sh coverage: also what `make coverage` uses;
# tools/deps.sh sanitize: also what `make sanitize` and `make fuzz` use;
# tools/deps.sh cross: also what `make check-cross` uses, for ARCH (arm64); tools/deps.sh vhost: also what
# `make check-vhost` uses;
# tools/deps.sh browser: also a browser, in which the test of `vasctl report` looks.
set -eu

with=${1:-}
say() { printf '%s\n' "$*" >&2; }

# Debian's names. Nothing but what is essential there, make and apt is taken as
# present. Since Debian 13 libvirt-daemon only recommends the driver for QEMU.
apt_packages() {
	echo "meson ninja-build pkg-config python3 libvirt-dev libhwloc-dev libjansson-dev libinih-dev" \
		"libcmocka-dev libsystemd-dev libxml2-dev scdoc libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients" \
		"iproute2 xz-utils prometheus python3-prometheus-client zsh"
	command -v cc >/dev/null || echo gcc libc6-dev
	case $(dpkg --print-architecture) in
	amd64 | i386) echo qemu-system-x86 ;;
	arm64 | armhf) echo qemu-system-arm ;;
	*) echo qemu-system-misc ;;
	esac
	case $with in
	packages) echo build-essential debhelper dpkg-dev lintian rpm rpmlint mmdebstrap ;;
	lint) echo clang-format clang-tidy cppcheck shellcheck ;;
	coverage) echo gcovr ;;
	sanitize) echo clang valgrind ;;
	browser) echo chromium fonts-dejavu-core ;;
	vhost)
		echo mmdebstrap qemu-system-arm
		cross_packages arm64
		;;
	cross)
		echo mmdebstrap
		cross_packages "${ARCH:-arm64}"
		;;
	esac
}

# What builds and runs programs of another architecture; nothing where it is the machine's own.
cross_packages() {
	[ "$1" != "$(dpkg --print-architecture)" ] || return 0
	case $1 in
	arm64) echo qemu-user-static gcc-aarch64-linux-gnu libc6-dev-arm64-cross ;;
	s390x) echo qemu-user-static gcc-s390x-linux-gnu libc6-dev-s390x-cross ;;
	esac
}

apt_missing() {
	for p in $(apt_packages); do
		dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || echo "$p"
	done
}

# While packages are set up, policy-rc.d forbids them to start services. One
# that the machine's administrator wrote is left alone.
guard=/usr/sbin/policy-rc.d
guard_up() {
	[ -e $guard ] && return
	trap 'rm -f $guard' EXIT
	trap 'exit 130' INT TERM HUP
	printf '#!/bin/sh\n# VSched: tools/deps.sh is installing packages.\nexit 101\n' >$guard
	chmod 755 $guard
}

apt_install() {
	guard_up
	export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l NEEDRESTART_SUSPEND=1
	set -- apt-get -y -q -o DPkg::Lock::Timeout=300 --no-upgrade --no-install-recommends install "$@"
	# Package lists that are old or absent show in a failure: fetch them only then.
	"$@" || { apt-get -q -o DPkg::Lock::Timeout=300 update && "$@"; }
	# Of prometheus only promtool is wanted: its server is not to come with the next boot.
	case " $* " in *" prometheus "*) ! command -v systemctl >/dev/null || systemctl -q disable prometheus.service ;; esac
}

# Fedora's, RHEL's and openEuler's names; a/b: the first that exists.
dnf_packages() {
	echo "gcc make meson ninja-build pkgconf-pkg-config/pkgconf libvirt-devel hwloc-devel jansson-devel" \
		"inih-devel libcmocka-devel systemd-devel libxml2-devel python3 util-linux iproute xz tar gzip" \
		"libvirt-daemon libvirt-daemon-driver-qemu/libvirt-daemon-qemu libvirt-client" \
		"qemu-system-$(uname -m | sed 's/^x86_64$/x86/')-core/qemu-kvm/qemu"
	for p in scdoc python3-prometheus_client zsh; do
		dnf -q list "$p" >/dev/null 2>&1 && echo "$p" || :
	done
	case $with in
	packages) echo rpm-build rpmlint gzip findutils ;;
	lint) echo clang-tools-extra cppcheck ShellCheck/shellcheck ;;
	coverage) echo gcovr ;;
	sanitize) echo clang valgrind ;;
	esac
}

dnf_have() { rpm -q --quiet --whatprovides "$1" 2>/dev/null; }

dnf_missing() {
	for names in $(dnf_packages); do
		have=no first=
		for p in $(echo "$names" | tr / ' '); do
			if dnf_have "$p"; then
				have=yes
				break
			fi
			[ -n "$first" ] || ! dnf -q list "$p" >/dev/null 2>&1 || first=$p
		done
		[ $have = yes ] || echo "${first:-${names%%/*}}"
	done
}

# RPM scriptlets start no service that was not running.
dnf_install() { dnf -y -q --setopt=install_weak_deps=False install "$@"; }

if command -v apt-get >/dev/null; then
	tool=apt
elif command -v dnf >/dev/null; then
	tool=dnf
else
	say "deps: neither apt nor dnf is here. Needed: a C compiler, meson, ninja, pkg-config and the"
	say "deps: development files of libvirt, hwloc, jansson, inih, cmocka, libsystemd and libxml2; for"
	say "deps: the tests libvirtd, virsh and QEMU. Taken as present."
	exit 0
fi

missing=$(${tool}_missing | tr '\n' ' ')
[ -n "${missing% }" ] || exit 0
if [ "$(id -u)" != 0 ]; then
	say "deps: missing: $missing"
	say "deps: run as root: make deps"
	exit 1
fi
say "deps: installing $missing"
log=$(mktemp)
# shellcheck disable=SC2086 # a list of words
if ! ${tool}_install $missing >"$log" 2>&1; then
	cat "$log" >&2
	rm -f "$log"
	say "deps: could not install $missing"
	exit 1
fi
rm -f "$log"
