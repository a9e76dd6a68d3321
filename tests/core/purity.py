#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that the planner's archive needs nothing from the outside world."""

import re
import shutil
import subprocess
import sys

ALLOWED = re.compile(r"^(mem(cpy|set|cmp|move)|__mem(cpy|set|move)_chk|__assert_fail|__stack_chk_\w+|"
                     r"__(popcount|clz|ctz|u?div|u?mod|u?mul|ash|lsh)\w*|_GLOBAL_OFFSET_TABLE_)$")
INSTRUMENTED = re.compile(r"^(__asan_|__ubsan_|__gcov_|__llvm_|__sanitizer_|__sancov_|__tsan_)")


def main():
    nm = shutil.which("nm") or shutil.which("llvm-nm")
    if not nm:
        print("no nm here")
        return 77
    text = subprocess.run([nm, sys.argv[1]], check=True, capture_output=True, text=True).stdout
    defined, wanted = set(), set()
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 2 and fields[0] in "Uw":
            wanted.add(fields[1])
        elif len(fields) == 3:
            defined.add(fields[2])
    outside = wanted - defined
    if any(INSTRUMENTED.match(name) for name in outside):
        print("an instrumented build shows its tool's needs, not the planner's")
        return 77
    foreign = sorted(name for name in outside if not ALLOWED.match(name))
    for name in foreign:
        print(f"core/ uses {name}")
    return 1 if foreign or not defined else 0


sys.exit(main())
