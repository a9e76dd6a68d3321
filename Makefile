# SPDX-License-Identifier: Apache-2.0
#
# The thin front of the meson build: a handful of commands that anyone guesses.
#
#   make demo      see it work on small virtual machines of its own (root)
#   make try       a shell beside the same: vasctl and virsh by hand (root)
#   make check     every test; the last line says "N passed, N failed" (root)
#   make           build
#   make unit      the tests that take seconds, for the developer's loop
#   make check-vhost     on emulated hosts: 64 CPUs of x86-64, 32 of arm64 with KVM: some minutes (root)
#   make check-cross     built for another ARCH (arm64; or s390x), unit tests by qemu-user: some minutes (root)
#   make demo-vhost      the same for the eye
#   make soak      200 real VMs, churned for SOAK_MINUTES (30): what the daemon costs (root)
#   make check-packages  the packages in a fresh system: a minute (root)
#   make check-distros   the README's words in fresh systems of other releases: an hour (root)
#   make check-debian13  Debian 13 alone: build, unit tests and demo: some minutes (root)
#   make faults    calls of our own code fail one by one, and a kill at each: half an hour (root)
#   make analyze   clang-tidy and cppcheck: minutes
#   make coverage  how much of the code the tests run: minutes (root)
#   make sanitize  the tests under ASan, UBSan, TSan and valgrind: half an hour (root)
#   make fuzz      random input for every parser: FUZZ_SECONDS (180) for each
#   make install   PREFIX=/usr DESTDIR=...
#   make deb       a Debian package, into build/packages; make rpm: an RPM
#   make dist      the source of a release, into build/dist: see docs/releasing.md
#   make release-check   all that a release consists of, built twice and tried: a quarter of an hour (root)
#
# `make check` and `make demo` first install what is missing (tools/deps.sh).

BUILD   ?= build
PREFIX  ?= /usr
DESTDIR ?=
PYTHON  ?= /usr/bin/python3
MESON   ?= meson
CLANG   ?= clang
ARCH    ?= arm64
JOBS    ?= $(shell nproc 2>/dev/null || echo 1)

# For the shell, whatever is in it. make itself takes a space for the end of a name, so no file is a target here.
quote = '$(subst ','\'',$(1))'
B := $(call quote,$(BUILD))

.DEFAULT_GOAL := all
.NOTPARALLEL:
.PHONY: all configured deps demo try demo-vhost check check-vhost check-cross unit real slow bench soak faults install deb rpm dist \
	check-packages check-distros check-debian13 release-check analyze coverage sanitize fuzz lint clean check-clang

all: configured
	@$(MESON) compile -C $B -j $(JOBS)

configured:
	@[ -e $B/build.ninja ] || $(MESON) setup $B --prefix=$(call quote,$(PREFIX))

deps:
	@tools/deps.sh

# Builds only what it shows: a first look should not wait for the tests.
demo: deps configured
	@$(MESON) compile -C $B -j $(JOBS) vas-daemon vasctl vas-sim count_writes
	@$(PYTHON) tests/real/demo.py --build $B

try: deps configured
	@$(MESON) compile -C $B -j $(JOBS) vas-daemon vasctl count_writes
	@$(PYTHON) tests/real/try.py --build $B

# Every test but the slow ones, and once more a build with the other compiler.
check: deps all check-clang
	@tools/run-tests $B --no-suite slow

# Kernels, and arm64's programs, are unpacked into the build directory.
check-vhost: deps all
	@tools/deps.sh vhost
	@tools/run-tests $B --suite vhost

# Another machine's architecture: ARCH=arm64 or s390x.
check-cross:
	@ARCH=$(ARCH) tools/deps.sh cross
	@$(PYTHON) tests/systems/cross.py --build $B --arch $(ARCH)

demo-vhost: deps all
	@tools/deps.sh vhost
	@$(PYTHON) tests/vhost/run.py --build $B demo

unit: all
	@tools/run-tests $B --suite unit

real: all
	@tools/run-tests $B --suite real

# What takes minutes to an hour.
slow: all
	@tools/run-tests $B --suite slow --no-suite vhost

check-clang:
	@if command -v $(CLANG) >/dev/null; then \
		[ -e $B-clang/build.ninja ] || CC=$(CLANG) $(MESON) setup $B-clang -Doptimization=0 >/dev/null && \
		$(MESON) compile -C $B-clang -j $(JOBS) && \
		$(PYTHON) tests/sim/test_figures.py --quick $B-clang/src/sim/vas-sim; \
	else echo "$(CLANG) is not here: built with $${CC:-cc} only"; fi

bench: all
	@$(MESON) test -C $B --no-rebuild --benchmark --verbose

soak: all
	@$(PYTHON) tests/real/soak.py --build $B

# Every call that can fail, fails once; killed before and after each. Of the real daemon:
# of each place that calls something, the first call and three later ones.
faults: all
	@tools/run-tests $B --suite faults
	@FAULT_CALLS=$${FAULT_CALLS:-0} $(PYTHON) tests/real/test_faults.py --build $B

# A DESTDIR that is no absolute path begins here; meson's would begin in the build directory.
install: configured
	@$(MESON) configure $B -Dprefix=$(call quote,$(PREFIX))
	@$(MESON) compile -C $B -j $(JOBS)
	@to=$(call quote,$(DESTDIR)); case $$to in '' | /*) ;; *) to=$$PWD/$$to ;; esac; \
		DESTDIR=$$to $(MESON) install -C $B --no-rebuild && kept=$$to/etc/vas/vas-daemon.conf && \
		{ [ ! -e "$$kept.new" ] || echo "$$kept differs: kept; the new one is $$kept.new"; }

# clang-tidy and cppcheck: minutes.
analyze: all
	@tools/deps.sh lint
	@tools/analyze $B

# What the tests run of the code, in a build of its own (as root: some minutes).
coverage:
	@tools/deps.sh coverage
	@tools/coverage $B-coverage

# One after the other, also where one finds something.
sanitize:
	@tools/deps.sh sanitize
	@bad=0; for c in address thread valgrind; do tools/sanitize $$c $B-$$c || bad=1; done; exit $$bad

fuzz:
	@tools/deps.sh sanitize
	@tools/fuzz $B-fuzz

# A copy of the source is built, by the distribution's own tools.
deb rpm:
	@tools/package $@ $B/packages

# Installed into a fresh system, upgraded, removed, purged: what is left?
check-packages:
	@tools/deps.sh packages
	@$(MAKE) deb rpm
	@tests/packages/test_packages.py $B/packages

# The source of a release, with its man pages, of HEAD: no git is needed to build it.
dist:
	@tools/dist $B/dist

# From a tag of this version; RELEASE=HEAD: from any commit, to try it.
release-check:
	@tools/deps.sh packages
	@$(PYTHON) tests/packages/test_release.py $(if $(RELEASE),--commit $(call quote,$(RELEASE))) $B/release

# Format, names, scripts: whatever of the tools is here.
lint:
	@tools/lint

# HEAD in fresh systems of mmdebstrap's, which are kept in the build directory.
check-distros:
	@command -v mmdebstrap >/dev/null || tools/deps.sh packages
	@$(PYTHON) tests/systems/distros.py --directory $B/systems

check-debian13:
	@command -v mmdebstrap >/dev/null || tools/deps.sh packages
	@$(PYTHON) tests/systems/distros.py --directory $B/systems --system trixie --part unit --part demo

clean:
	@rm -rf $B $B-clang $B-coverage $B-address $B-thread $B-valgrind $B-fuzz
