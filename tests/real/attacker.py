#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What one local user can do to the control socket, until stdin ends: a thousand connections that are held or waited
for at the same time. As soon as the daemon closes one, another is waited for. Some send a byte a second, some endless
messages, some ask for all there is and read none of it. At the end it says what it did.

attacker.py SOCKET
"""

import json
import queue
import random
import select
import socket
import sys
import threading
import time

CONNECTIONS = 1000
HUGE = b'{"method":"io.vsched.Daemon.ListVms","parameters":{"scope":"' + b"a" * (10 << 20) + b'"}}\0'
SLOW = b'{"method":"io.vsched.Daemon.GetStatus","parameters":{}}\0'
GREEDY = b'{"method":"io.vsched.Daemon.ListVms","parameters":{"scope":"all","detail":true}}\0' * 200


class Attack:
    def __init__(self, path):
        self.path = path
        self.open = []  # [socket, what it sends, how much of it was sent, when it last sent], of each
        self.counts = {"connected": 0, "refused": 0, "ended": 0, "bytes": 0}
        self.at_once = []  # how many were held or waited for, now and then
        self.places = threading.Semaphore(CONNECTIONS)
        self.fresh = queue.SimpleQueue()
        self.waiting = set()  # those who wait in connect(), each in a thread of its own: it has no other way to wait
        threading.stack_size(128 << 10)
        for _ in range(CONNECTIONS):
            threading.Thread(target=self.connect, daemon=True).start()

    def connect(self):
        while True:
            self.places.acquire()
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.waiting.add(sock)
            try:
                sock.connect(self.path)
            except OSError:
                self.waiting.discard(sock)
                self.counts["refused"] += 1
                self.places.release()
                time.sleep(0.1)
                continue
            sock.setblocking(False)
            one = [sock, random.choice((HUGE, SLOW, GREEDY, b"")), 0, 0.0]
            self.send(one, time.monotonic())  # at once: others are to take its place soon
            self.fresh.put(one)
            self.waiting.discard(sock)

    def take(self):
        """Those for whom the wait is over."""
        while not self.fresh.empty():
            one = self.fresh.get()
            self.counts["connected"] += 1
            self.counts["bytes"] += one[2]
            self.open.append(one)

    @staticmethod
    def send(one, now):
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
        return True

    def closed_by_daemon(self):
        """Those whose other end is gone."""
        poll = select.poll()
        for one in self.open:
            poll.register(one[0], select.POLLRDHUP)
        return {fd for fd, events in poll.poll(0) if events & (select.POLLHUP | select.POLLRDHUP | select.POLLERR)}

    def round(self):
        self.take()
        self.at_once.append(len(self.open) + len(self.waiting))
        now = time.monotonic()
        gone = self.closed_by_daemon()
        kept = []
        for one in self.open:
            sent = one[2]
            good = one[0].fileno() not in gone and self.send(one, now)
            self.counts["bytes"] += one[2] - sent
            if not good:
                one[0].close()
                self.counts["ended"] += 1
                self.places.release()
            else:
                kept.append(one)
        self.open = kept


def main():
    attack = Attack(sys.argv[1])
    while len(attack.waiting) + len(attack.open) < CONNECTIONS * 0.9:
        attack.round()
    print("ready", flush=True)
    attack.at_once.clear()
    while not select.select([sys.stdin], [], [], 0.01)[0]:
        attack.round()
    at_once = sorted(attack.at_once)
    print(json.dumps(dict(attack.counts, most=at_once[-1], middle=at_once[len(at_once) // 2])))


main()
