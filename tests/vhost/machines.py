# SPDX-License-Identifier: Apache-2.0
"""
The kinds of emulated hosts. Their CPUs are QEMU's own (TCG), so that they need
no KVM and no particular machine.

x86      64 CPUs: 2 packages, 4 NUMA nodes, 16 L3 clusters of 4 CPUs
kunpeng  32 arm64 CPUs: 2 packages, 4 NUMA nodes, 8 clusters of the kernel's,
         without an L3 cache. They have EL2, the level of hypervisors, so
         that KVM works in there.
arm64    4 arm64 CPUs in 2 clusters
pages    4 arm64 CPUs, with a kernel whose pages have 16 KiB
"""

# In the order in which they are loaded; a kernel may have some of them built in.
MODULES = ["drivers/virtio/virtio", "drivers/virtio/virtio_ring", "drivers/virtio/virtio_pci_modern_dev",
           "drivers/virtio/virtio_pci_legacy_dev", "drivers/virtio/virtio_pci", "fs/netfs/netfs", "fs/fscache/fscache",
           "net/9p/9pnet", "net/9p/9pnet_virtio", "fs/9p/9p", "fs/overlayfs/overlay"]


class Missing(Exception):
    """Why an emulated host cannot be had on this machine."""


class Machine:
    """One kind. arch: Debian's name; kernel: the package with its kernel, and the release that has it where this
    machine's own may not; cpus, memory_mib: of each of the nodes; console, words: the guest's names of the ports for
    the kernel's messages and for the scenario's; ports: QEMU's options for both, with %s for a file."""

    def __init__(self, arch, qemu, kernel, options, nodes, cpus, memory_mib, console, words, ports, append="", suite=None):
        self.arch, self.qemu, self.kernel, self.suite, self.words = arch, qemu, kernel, suite, words
        self._options, self._count, self._cpus, self._memory = options, nodes, cpus, memory_mib
        self._console, self._ports, self._append = console, ports, append

    def _nodes(self):
        for node in range(self._count):
            first = node * self._cpus
            yield from ("-object", "memory-backend-ram,id=m%d,size=%dM" % (node, self._memory),
                        "-numa", "node,nodeid=%d,cpus=%d-%d,memdev=m%d" % (node, first, first + self._cpus - 1, node))

    @staticmethod
    def _shares(shares, results):
        for tag, path, access in [(tag, path, ",readonly=on") for tag, path in shares.items()] + [("results", results, "")]:
            yield from ("-fsdev", "local,id=%s,path=%s,security_model=none,multidevs=remap%s" % (tag, path, access),
                        # Legacy devices do not work with this many CPUs.
                        "-device", "virtio-9p-pci,fsdev=%s,mount_tag=%s,disable-legacy=on" % (tag, tag))

    def command(self, image, initramfs, shares, results, console):
        """QEMU's command line. shares: read-only directories by their tags."""
        append = ("console=%s panic=-1 quiet mitigations=off nokaslr init_on_alloc=0 numa_balancing=disable "
                  "transparent_hugepage=never lsm= audit=0 %s" % (self._console, self._append))
        return [self.qemu, *self._options, "-accel", "tcg,thread=multi", "-m", "%dM" % (self._memory * self._count),
                *self._nodes(), *self._shares(shares, results), "-nodefaults", "-display", "none", "-no-reboot",
                "-kernel", image, "-initrd", initramfs, "-append", append,
                *(word.replace("%s", console) for word in self._ports)]


X86_PORTS = {"console": "ttyS0", "words": "/dev/ttyS1", "ports": ["-serial", "file:%s", "-serial", "stdio"]}
ARM64_PORTS = {"console": "ttyAMA0", "words": "/dev/ttyS0",
               "ports": ["-serial", "file:%s", "-chardev", "stdio,id=words", "-device", "pci-serial,chardev=words"]}
MACHINES = {
    "x86": Machine(
        "amd64", "qemu-system-x86_64", "linux-image-amd64",
        ["-M", "q35", "-cpu", "Skylake-Server,vendor=GenuineIntel", "-smp", "64,sockets=2,dies=8,cores=4,threads=1"],
        nodes=4, cpus=16, memory_mib=1024, append="no_timer_check", **X86_PORTS),
    "kunpeng": Machine(
        "arm64", "qemu-system-aarch64", "linux-image-arm64",
        ["-M", "virt,gic-version=3,virtualization=on", "-cpu", "max,pauth-impdef=on",
         "-smp", "32,sockets=2,clusters=4,cores=4"],
        nodes=4, cpus=8, memory_mib=1024, **ARM64_PORTS),
    "arm64": Machine(
        "arm64", "qemu-system-aarch64", "linux-image-arm64",
        ["-M", "virt,gic-version=3", "-cpu", "max,pauth-impdef=on", "-smp", "4,sockets=1,clusters=2,cores=2"],
        nodes=1, cpus=4, memory_mib=4096, **ARM64_PORTS),
    "pages": Machine(
        "arm64", "qemu-system-aarch64", "linux-image-arm64-16k",
        ["-M", "virt,gic-version=3", "-cpu", "max,pauth-impdef=on", "-smp", "4"],
        nodes=1, cpus=4, memory_mib=4096, suite="trixie", **ARM64_PORTS),
}
