# SPDX-License-Identifier: Apache-2.0
"""
The few calls of libvirt that a scenario needs, through ctypes: starting virsh
for each of them would cost an emulated host half a second a time.
"""

import ctypes

START_PAUSED = 1
AFFECT_LIVE = 1


class Failed(Exception):
    """What libvirt says went wrong."""


class Libvirt:
    def __init__(self, uri):
        self._library = ctypes.CDLL("libvirt.so.0")
        self._silence = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(lambda *_: None)
        self._library.virSetErrorFunc(None, self._silence)
        self._connection = self._pointer("virConnectOpen", uri.encode())

    def _error(self, name):
        message = self._library.virGetLastErrorMessage
        message.restype = ctypes.c_char_p
        return Failed("%s: %s" % (name, message().decode("utf-8", "replace")))

    def _pointer(self, name, *args):
        function = getattr(self._library, name)
        function.restype = ctypes.c_void_p
        found = function(*args)
        if not found:
            raise self._error(name)
        return ctypes.c_void_p(found)

    def _with_domain(self, domain, name, *args):
        result = getattr(self._library, name)(self._pointer("virDomainLookupByName", self._connection, domain.encode()),
                                              *args)
        if result < 0:
            raise self._error("%s %s" % (name, domain))

    def create(self, xml, paused=True):
        self._pointer("virDomainCreateXML", self._connection, xml.encode(), START_PAUSED if paused else 0)

    def destroy(self, domain):
        self._with_domain(domain, "virDomainDestroy")

    def resume(self, domain):
        self._with_domain(domain, "virDomainResume")

    def suspend(self, domain):
        self._with_domain(domain, "virDomainSuspend")

    @staticmethod
    def _map(cpus):
        bits = bytearray(max(cpus) // 8 + 1)
        for cpu in cpus:
            bits[cpu // 8] |= 1 << cpu % 8
        return bytes(bits), len(bits)

    def pin_vcpu(self, domain, vcpu, cpus):
        self._with_domain(domain, "virDomainPinVcpuFlags", vcpu, *self._map(cpus), AFFECT_LIVE)
