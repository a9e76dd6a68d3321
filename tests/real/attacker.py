#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What one local user can do to the control socket, until stdin ends: a thousand
connections, some of which send a byte a second, some endless messages, some
that ask for all there is and read none of it. At the end it says what it did.

attacker.py SOCKET
"""

import json
import select
import socket
import sys
import time

CONNECTIONS = 1000
HUGE = b'{"method":"io.vsched.Daemon.ListVms","parameters":{"scope":"' + b"a" * (10 << 20) + b'"}}\0'
SLOW = b'{"method":"io.vsched.Daemon.GetStatus","parameters":{}}\0'
GREEDY = b'{"method":"io.vsched.Daemon.ListVms","parameters":{"scope":"all","detail":true}}\0' * 200


class Attack:
    def __init__(self, path):
        self.path = path
        self.open = []  # [socket, what it sends, how much of it was sent, when it last sent]
        self.counts = {"connected": 0, "refused": 0, "ended": 0, "bytes": 0, "most": 0}

    def connect(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            sock.connect(self.path)
        except OSError:
            self.counts["refused"] += 1
            sock.close()
            return False
        text = (HUGE, SLOW, GREEDY, b"")[self.counts["connected"] % 4]
        self.counts["connected"] += 1
        self.open.append([sock, text, 0, 0.0])
        return True

    def send(self, one, now):
        """False: its connection is no more."""
        sock, text, sent, last = one
        slow = text is SLOW
        if sent >= len(text) or (slow and now - last < 1):
            return True
        try:
            done = sock.send(text[sent:sent + 1] if slow else memoryview(text)[sent:])
        except BlockingIOError:
            return True
        except OSError:
            return False
        one[2], one[3] = sent + done, now
        self.counts["bytes"] += done
        return True

    def closed_by_daemon(self):
        """Those whose other end is gone."""
        poll = select.poll()
        for one in self.open:
            poll.register(one[0], select.POLLRDHUP)
        return {fd for fd, events in poll.poll(0) if events & (select.POLLHUP | select.POLLRDHUP | select.POLLERR)}

    def round(self):
        for _ in range(100):
            if len(self.open) >= CONNECTIONS or not self.connect():
                break
        now = time.monotonic()
        gone = self.closed_by_daemon()
        kept = []
        for one in self.open:
            if one[0].fileno() in gone or not self.send(one, now):
                one[0].close()
                self.counts["ended"] += 1
            else:
                kept.append(one)
        self.open = kept
        self.counts["most"] = max(self.counts["most"], len(kept))


def main():
    attack = Attack(sys.argv[1])
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0.01)[0]:
        attack.round()
    print(json.dumps(attack.counts))


main()
