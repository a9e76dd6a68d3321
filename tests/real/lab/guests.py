# SPDX-License-Identifier: Apache-2.0
"""What a VM is made of on each architecture, and the code that guests run. Nothing but what a test needs is in them."""

import os
from typing import NamedTuple

# Of the VMs, where that is not the machine's own: any QEMU emulates it.
ARCH = os.environ.get("VAS_GUEST_ARCH") or os.uname().machine

X86, ARM64 = "x86_64", "aarch64"


def _x86(text):
    """Bytes of lines that are: hex; meaning."""
    return b"".join(bytes.fromhex(line.partition(";")[0]) for line in text.splitlines())


def _arm64(text):
    """The same of words, whose lowest byte comes first in memory."""
    return b"".join(bytes.fromhex(line.partition(";")[0])[::-1] for line in text.splitlines())


# Code by architecture: on x86 a boot sector in 16-bit mode, on arm64 a kernel's image without a header.

SPIN = {
    X86: _x86("ebfe          ; jmp ."),
    ARM64: _arm64("14000000    ; b ."),
}

HALT = {
    X86: _x86("""
        fa            ; cli
        f4            ; hlt
        ebfd          ; jmp .-1
        """),
    ARM64: _arm64("""
        d503207f      ; wfi
        17ffffff      ; b .-4
        """),
}

# Spins for three ticks of about 60 ms and sleeps for one: the firmware's ticks on x86, the virtual timer's on arm64,
# which wakes the CPU through a GICv3 though its interrupt stays masked.
THREE_QUARTERS = {
    X86: _x86("""
        fb            ; sti
        31c0          ; xor ax, ax
        8ed8          ; mov ds, ax
        f6066c0403    ; next: test byte [0x46c], 3
        75f9          ; jnz next
        f4            ; hlt
        ebf6          ; jmp next
        """),
    ARM64: _arm64("""
        d2a10140      ; mov x0, #0x80a0000              the redistributor
        b900141f      ; str wzr, [x0, #0x14]            GICR_WAKER: awake
        b9401401      ; ldr w1, [x0, #0x14]
        3717ffe1      ; tbnz w1, #2, .-4
        91404000      ; add x0, x0, #0x10000            its page of SGIs and PPIs
        52a10001      ; mov w1, #1 << 27                the virtual timer's
        b9008001      ; str w1, [x0, #0x80]             GICR_IGROUPR0
        b9010001      ; str w1, [x0, #0x100]            GICR_ISENABLER0
        d2a10000      ; mov x0, #0x8000000              the distributor
        52800261      ; mov w1, #0x13
        b9000001      ; str w1, [x0]                    GICD_CTLR: both groups, affinity routing
        d2801fe1      ; mov x1, #0xff
        d5184601      ; msr icc_pmr_el1, x1
        d2800021      ; mov x1, #1
        d518cce1      ; msr icc_igrpen1_el1, x1
        d5033fdf      ; isb
        d53be002      ; mrs x2, cntfrq_el0
        d344fc42      ; lsr x2, x2, #4                  x2: a tick
        8b020443      ; add x3, x2, x2, lsl #1          x3: three
        d53be044      ; busy: mrs x4, cntvct_el0
        8b030084      ; add x4, x4, x3
        d53be045      ; spin: mrs x5, cntvct_el0
        eb0400bf      ; cmp x5, x4
        54ffffc3      ; b.lo spin
        d51be302      ; msr cntv_tval_el0, x2
        d51be321      ; msr cntv_ctl_el0, x1
        d5033fdf      ; isb
        d503207f      ; wfi
        d51be33f      ; msr cntv_ctl_el0, xzr
        d5033fdf      ; isb
        17fffff5      ; b busy
        """),
}

# What a guest's ACPI code does when the host takes a vCPU away: it looks at each CPU's flags in QEMU's hot-plug
# registers and ejects the one that is to go. QEMU's arm64 machines cannot plug vCPUs.
UNPLUG = {
    X86: _x86("""
        fa            ; cli
        6631c9        ; xor ecx, ecx
        6689c8        ; next: mov eax, ecx
        ba00af        ; mov dx, 0xaf00          CPU selector
        66ef          ; out dx, eax
        ba04af        ; mov dx, 0xaf04          flags
        ec            ; in al, dx
        a804          ; test al, 4              removal asked for?
        7403          ; jz skip
        b008          ; mov al, 8               eject
        ee            ; out dx, al
        41            ; skip: inc cx
        83e10f        ; and cx, 15
        ebe7          ; jmp next
        """),
}


class Shape(NamedTuple):
    """What libvirt is told of a VM."""

    machine: str  # a type that starts fast and holds little
    features: str
    cpus: dict  # kind of domain -> which CPU
    plugs: bool  # vCPUs come and go
    idle: dict  # code for a guest that is to do nothing; None: its firmware idles


SHAPES = {
    X86: Shape("pc", "<acpi/>", {"qemu": "<cpu/>", "kvm": "<cpu/>"}, True, None),
    # ACPI would need UEFI there. Without a kernel it would run through empty flash.
    ARM64: Shape("virt", "<gic version='3'/>",
                 {"qemu": "<cpu mode='custom' match='exact' check='none'><model>cortex-a57</model></cpu>",
                  "kvm": "<cpu mode='host-passthrough'/>"}, False, HALT),
}


def boot_from(arch, code, path):
    """Writes code to path. Returns what of <os> and of <devices> has a VM start with it."""
    if arch == X86:
        image = code.ljust(510, b"\0") + b"\x55\xaa" + bytes(64 * 1024 - 512)
        found = "<boot dev='hd'/>", ("<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
                                     "<source file='%s'/><target dev='hda' bus='ide'/></disk>" % path)
    else:
        image, found = code, ("<kernel>%s</kernel>" % path, "")
    with open(path, "wb") as f:
        f.write(image)
    os.chmod(path, 0o666)
    return found
