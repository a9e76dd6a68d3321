# SPDX-License-Identifier: Apache-2.0
"""Writes a cpio archive of the form that the kernel unpacks as its initramfs."""

import gzip
import stat


class Archive:
    def __init__(self):
        self.parts = []
        self.directories = set()
        self.entries = 0

    def _add(self, name, mode, data):
        self.entries += 1
        fields = [self.entries, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        head = b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
        for part in (head, data):
            self.parts.append(part + b"\0" * (-len(part) % 4))

    def add_directory(self, name):
        if name and name not in self.directories:
            self.add_directory(name.rpartition("/")[0])
            self.directories.add(name)
            self._add(name, stat.S_IFDIR | 0o755, b"")

    def add_file(self, name, data, mode=0o644):
        self.add_directory(name.rpartition("/")[0])
        self._add(name, stat.S_IFREG | mode, data)

    def write(self, path):
        self._add("TRAILER!!!", 0, b"")
        with gzip.open(path, "wb", compresslevel=1) as f:
            f.write(b"".join(self.parts))
