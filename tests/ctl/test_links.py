#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A program needs at run time no library but these: test_links.py PROGRAM LIBRARY...

vasctl and vas-sim must start where there is no libvirt, and fast."""

import re
import shutil
import subprocess
import sys

ALWAYS = ["libc", "ld-linux", "libm", "libgcc_s"]
INSTRUMENTS = ["libasan", "libubsan", "libtsan", "libclang_rt"]


def main():
    readelf = shutil.which("readelf") or shutil.which("llvm-readelf")
    if not readelf:
        print("no readelf here")
        return 77
    text = subprocess.run([readelf, "-d", sys.argv[1]], check=True, capture_output=True, text=True).stdout
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", text)
    allowed = sys.argv[2:] + ALWAYS + INSTRUMENTS
    foreign = [name for name in needed if not any(re.match(re.escape(one) + r"[.-]", name) for one in allowed)]
    for name in foreign:
        print("%s needs %s" % (sys.argv[1], name))
    if not needed:
        print("%s: needs nothing at all? %r" % (sys.argv[1], text))
    return bool(foreign) or not needed


sys.exit(main())
