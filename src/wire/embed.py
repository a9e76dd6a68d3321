#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a text file as a C string: embed.py INPUT NAME OUTPUT [HEADER that declares it]"""

import json
import sys

source, name, target = sys.argv[1:4]
header = sys.argv[4] if len(sys.argv) > 4 else "wire/names.h"
with open(source, encoding="ascii") as f, open(target, "w", encoding="ascii") as out:
    out.write(f'#include "{header}"\n\nconst char {name}[] =\n')
    out.write("".join(f"        {json.dumps(line)}\n" for line in f))
    out.write("        ;\n")
