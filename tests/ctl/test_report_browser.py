#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The page of "vasctl report" in a real browser: how long it takes to open, and
that nothing is asked for elsewhere.

test_report_browser.py VASCTL FAKE_DAEMON [--screenshots DIRECTORY]: skips where no
Chromium is. With --screenshots, pictures to be looked at: light, dark and printed.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

VASCTL, FAKE = sys.argv[1:3]
PICTURES = sys.argv[sys.argv.index("--screenshots") + 1] if "--screenshots" in sys.argv else None
OPEN_S = 2.0  # for 4,096 CPUs and 500 VMs; the scene "large" has twice as many
BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
ELSEWHERE = "http://127.0.0.1:9/"


class Wrong(Exception):
    """What was not as it should be."""


class Browser:
    """A headless browser that is told what to do through a pair of pipes."""

    def __init__(self, program, directory):
        to_it, self.out = os.pipe()
        self.inp, from_it = os.pipe()

        def descriptors():
            a, b = os.dup(to_it), os.dup(from_it)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--remote-debugging-pipe", "--user-data-dir=" + directory, "about:blank"],
            preexec_fn=descriptors, close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(to_it)
        os.close(from_it)
        self.buffer, self.number, self.events, self.session = b"", 0, [], None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Performance"):
            self.ask(domain + ".enable")

    def receive(self):
        while b"\0" not in self.buffer:
            chunk = os.read(self.inp, 1 << 20)
            if not chunk:
                raise Wrong("the browser has ended")
            self.buffer += chunk
        text, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(text)

    def ask(self, method, **parameters):
        self.number += 1
        call = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            call["sessionId"] = self.session
        os.write(self.out, json.dumps(call).encode() + b"\0")
        while True:
            message = self.receive()
            if message.get("id") == self.number:
                if "error" in message:
                    raise Wrong("%s: %s" % (method, message["error"]))
                return message["result"]
            self.events.append(message)

    def open(self, url):
        """Seconds until the page was loaded and drawn once."""
        self.events = []
        start = time.monotonic()
        self.ask("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self.receive())
        self.ask("Page.captureScreenshot")
        return time.monotonic() - start

    def requests(self):
        return [event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"]

    def complaints(self):
        return [event["params"]["entry"]["text"] for event in self.events if event["method"] == "Log.entryAdded"]

    def value_of(self, expression):
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def close(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def page_of(scene, directory):
    socket, path = os.path.join(directory, scene + ".s"), os.path.join(directory, scene + ".html")
    with subprocess.Popen([FAKE, socket, scene], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as fake:
        fake.stdout.readline()
        subprocess.run([VASCTL, "--socket", socket, "report", "-o", path], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "LC_ALL": "C.UTF-8"})
        fake.stdin.close()
    return path


def picture(browser, name, scheme, width=1280, height=1500, media="screen"):
    browser.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
    browser.ask("Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}])
    data = browser.ask("Page.captureScreenshot")["data"]
    if PICTURES:
        with open(os.path.join(PICTURES, name + ".png"), "wb") as f:
            f.write(base64.b64decode(data))


def background(browser, scheme, media="screen"):
    browser.ask("Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}])
    return browser.value_of("getComputedStyle(document.body).backgroundColor")


def opens_soon(browser, directory):
    path = page_of("large", directory)
    seconds = min(browser.open("file://" + path) for _ in range(5))
    cells = browser.value_of("document.querySelectorAll('svg rect').length")
    rows = browser.value_of("document.querySelectorAll('tr[id]').length")
    print("# %d kB, %d rectangles, %d VMs: opened and drawn in %.2f s" % (os.path.getsize(path) // 1000, cells, rows, seconds))
    if cells < 4096 or rows < 500:
        raise Wrong("only %d rectangles and %d rows" % (cells, rows))
    if seconds >= OPEN_S:
        raise Wrong("it took %.2f s, wanted are %.0f" % (seconds, OPEN_S))
    picture(browser, "large-light", "light", height=2400)


def asks_for_nothing(browser, directory):
    control = os.path.join(directory, "control.html")
    with open(control, "w", encoding="ascii") as f:
        f.write("<img src=%simage>" % ELSEWHERE)
    browser.open("file://" + control)
    if ELSEWHERE + "image" not in browser.requests():
        raise Wrong("a page that does ask is not noticed: %s" % browser.requests())
    for scene in ("mixed", "smt", "markup", "large"):
        url = "file://" + page_of(scene, directory)
        browser.open(url)
        others = [other for other in browser.requests() if other != url and not other.startswith("data:")]
        if others or browser.complaints():
            raise Wrong("%s asks for %s; %s" % (scene, others, browser.complaints()))
        if browser.value_of("document.scripts.length + document.images.length") != 0:
            raise Wrong("%s has scripts or images" % scene)


def is_light_and_dark(browser, directory):
    for scene in ("mixed", "smt", "pinned"):
        browser.open("file://" + page_of(scene, directory))
        for scheme in ("light", "dark"):
            picture(browser, "%s-%s" % (scene, scheme), scheme)
        picture(browser, scene + "-narrow", "dark", width=420, height=1200)
        picture(browser, scene + "-printed", "dark", width=800, height=1200, media="print")
    found = [background(browser, "light"), background(browser, "dark"), background(browser, "dark", "print")]
    if found[0] != "rgb(255, 255, 255)" or found[1] == found[0] or found[2] != found[0]:
        raise Wrong("backgrounds light, dark, printed: %s" % found)


def fits_a_narrow_window(browser, directory):
    browser.open("file://" + page_of("smt", directory))
    browser.ask("Emulation.setEmulatedMedia", media="screen")
    browser.ask("Emulation.setDeviceMetricsOverride", width=420, height=900, deviceScaleFactor=1, mobile=False)
    wide = browser.value_of("document.documentElement.scrollWidth")
    if wide > 420:
        raise Wrong("the page is %d pixels wide in a window of 420" % wide)


def main():
    program = next((found for found in map(shutil.which, BROWSERS) if found), None)
    if not program:
        print("1..0 # SKIP no Chromium here")
        return 0
    cases = (opens_soon, asks_for_nothing, is_light_and_dark, fits_a_narrow_window)
    print("1..%d" % len(cases))
    failed = False
    with tempfile.TemporaryDirectory(prefix="test-report-", ignore_cleanup_errors=True) as directory:
        browser = Browser(program, os.path.join(directory, "profile"))
        try:
            for number, case in enumerate(cases, 1):
                try:
                    case(browser, directory)
                    print("ok %d - %s" % (number, case.__name__.replace("_", " ")))
                except Wrong as wrong:
                    failed = True
                    print("not ok %d - %s\n# %s" % (number, case.__name__.replace("_", " "), wrong))
        finally:
            browser.close()
    return failed


sys.exit(main())
