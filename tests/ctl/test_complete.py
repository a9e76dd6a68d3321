#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The completions of bash and zsh, run by those shells: all that --help names is offered.

test_complete.py VASCTL FAKE_DAEMON VASCTL.BASH _VASCTL
"""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

VASCTL, FAKE, BASH_FILE, ZSH_FILE = (os.path.abspath(path) for path in sys.argv[1:5])
NAMES = ["web1", "db1", "legacy"]
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
CASES = []

# As bash does it: the function that "complete -p" tells, the words, COMPREPLY.
BASH = """
source "$1"; shift
function=$(complete -p vasctl | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
compopt() { echo "<files>"; }
$function "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
[ ${#COMPREPLY[@]} = 0 ] || printf '%s\\n' "${COMPREPLY[@]}"
"""

# As zsh's completion system calls it, but for what it does with the answer.
ZSH = """
file=$1; shift
words=("$@") CURRENT=$#
_files() { print -r -- "<files>" }
compadd() {
	[[ "$1 $2 $3 $4" == "-d shown -a --" && $#shown == $#names ]] || print -r -- "compadd $*"
	print -rl -- ${(P)5}
}
source $file
true
"""


class Wrong(Exception):
    """What was not as it should be."""


def case(function):
    CASES.append(function)
    return function


def equal(found, wanted, what):
    if found != wanted:
        raise Wrong("%s: found %r, wanted %r" % (what, found, wanted))


class Fake:
    """A fake daemon while it lives."""

    def __init__(self, scene="mixed"):
        self.dir = tempfile.TemporaryDirectory(prefix="test-complete-")
        self.socket = os.path.join(self.dir.name, "s")
        self.process = subprocess.Popen([FAKE, self.socket, scene, ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.process.stdout.readline() != b"ready\n":
            raise Wrong("the fake daemon does not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()
        self.dir.cleanup()


def output(*command, socket="/nonexistent/vas.sock"):
    done = subprocess.run(command, env=dict(os.environ, VAS_SOCKET=socket, LC_ALL="C.UTF-8"), check=False, timeout=60,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    equal((done.returncode, done.stderr), (0, ""), " ".join(command[-3:]))
    return done.stdout


def bash(*words, **more):
    """What is offered for the last word; '=' is a word of its own for bash."""
    return output("bash", "--norc", "-c", BASH, "bash", BASH_FILE, VASCTL, *words, **more).splitlines()


def zsh(*words, **more):
    return output("zsh", "-f", "-c", ZSH, "zsh", ZSH_FILE, VASCTL, *words, **more).splitlines()


SHELLS = [bash] + ([zsh] if shutil.which("zsh") else [])


def all_verbs():
    """[words] of each verb, and the options of vasctl itself, from its help."""
    text = output(VASCTL, "--help")
    commands = re.search(r"\nCommands:\n(.*?)\n\n", text, re.S).group(1)
    documented = re.search(r"\nCommands as VSched documents them:\n(.*?)\n\n", text, re.S).group(1)
    verbs = [[line.split()[0]] for line in commands.splitlines()]
    verbs += [line.split()[:2] for line in documented.splitlines()[::2]]
    options = re.search(r"\nOptions:\n(.*?)\n\n", text, re.S).group(1)
    return verbs, {name for line in options.splitlines() for name in OPTION.findall(line[:18])} - {"--json"}


@case
def all_verbs_are_offered():
    verbs, options = all_verbs()
    if len(verbs) < 18 or "--socket" not in options:
        raise Wrong("the help was not understood: %r %r" % (verbs, options))
    for shell in SHELLS:
        found = shell("")
        equal(sorted(found), sorted({verb[0] for verb in verbs} | options), shell.__name__)
        for verb in verbs:
            if len(verb) == 2:
                equal([word for word in shell(verb[0], verb[1][:3]) if word == verb[1]], [verb[1]], verb)


@case
def all_options_are_offered():
    for verb in all_verbs()[0]:
        lines = output(VASCTL, *verb, "--help").splitlines()
        options = set(OPTION.findall(lines[0]))
        for line in lines[1:]:
            if line.startswith("  -"):
                options |= set(OPTION.findall(line[2:].split("  ")[0]))
        for shell in SHELLS:
            missing = options - set(shell(*verb, "-"))
            equal(missing, set(), "%s: %s: not offered" % (shell.__name__, " ".join(verb)))


@case
def vms_are_offered():
    with Fake() as fake:
        for shell in SHELLS:
            for words in (["show"], ["explain"], ["reassign"], ["opt", "reassign", "-s"], ["plan", "--remove"],
                          ["query", "affinity", "--scope"], ["plan", "--add", "2", "--reassign"]):
                found = shell(*words, "", socket=fake.socket)
                for name in NAMES:
                    equal(found.count(name), 1, "%s: %r: %s" % (shell.__name__, words, name))
            equal(shell("show", "we", socket=fake.socket), ["web1"], "begun")
            equal(shell("--socket", fake.socket, "show", "we"), ["web1"], "the socket in front of the verb")
            equal(shell("show", "--socket", fake.socket, "we"), ["web1"], "the socket behind the verb")
            equal("all" in shell("reassign", "", socket=fake.socket), True, "all")
            equal([word for word in shell("show", "web1", "", socket=fake.socket) if word[0] != "-"], [], "a 2nd VM")


@case
def names_harm_nobody():
    """What a terminal would obey is not offered, what a shell would obey is quoted."""
    with Fake() as fake:
        found = bash("show", "", socket=fake.socket)
        equal([word for word in found if not word.isprintable()], [], "raw control characters")
        equal([word for word in found if word.startswith("evil")], [], "a name with control characters")
    with tempfile.TemporaryDirectory(prefix="test-complete-") as path:
        stand_in = os.path.join(path, "vasctl")
        with open(stand_in, "w", encoding="ascii") as f:
            f.write("#!/bin/sh\nprintf '%s\\n' 'a b;c$(d)'\n")
        os.chmod(stand_in, 0o755)
        equal(output("bash", "--norc", "-c", BASH, "bash", BASH_FILE, stand_in, "show", ""), "a\\ b\\;c\\$\\(d\\)\n",
              "a name that a shell would obey")


@case
def values_are_offered():
    with Fake() as fake:
        for shell in SHELLS:
            equal(shell("get", "smt", socket=fake.socket), [], "no key in the middle")
            equal(shell("get", "placement.sm", socket=fake.socket), ["placement.smt"], "a key")
            equal(shell("set", "placement.sm", socket=fake.socket), ["placement.smt"], "a key to set")
            equal(shell("set", "con", socket=fake.socket), ["config"], "set config")
            equal(shell("set", "placement.smt", "auto", "--p"), ["--persist"], "behind the words")
            equal(shell("set", "config", "-sp", "a"), ["affinity"], "policy")
            equal(shell("plan", "--policy", ""), ["static", "dynamic", "cluster"], "the policies")
            equal(shell("plan", "--add", ""), [], "a number")
            equal(shell("--socket", ""), ["<files>"], "a file")
            equal(shell("status", "--socket", "/t"), ["<files>"], "a file, behind the verb")
            equal(shell("capture", ""), ["<files>"], "a file as a word")
            equal("--hash-names" in shell("capture", "--h"), True, "an option where a file may be")
            equal(shell("nonsense", ""), [], "an unknown verb")
            equal([word for word in shell("show", "--", "") if word[0] == "-"], [], "options behind --")
        equal(bash("plan", "--policy", "=", "sta"), ["static"], "--policy=sta")
        equal(bash("plan", "--policy", "="), ["static", "dynamic", "cluster"], "--policy=")
        if zsh in SHELLS:
            equal(zsh("plan", "--policy=sta"), ["--policy=static"], "--policy=sta")


@case
def without_a_daemon_nothing_is_said():
    for shell in SHELLS:
        equal([word for word in shell("show", "") if word[0] != "-"], [], shell.__name__)


@case
def at_a_prompt():
    """The tab key of an interactive bash."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(PATH=os.path.dirname(VASCTL) + ":" + os.environ["PATH"], TERM="dumb", PS1="$ ")
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
    os.write(terminal, b"source '%s'; echo re''ady\n" % BASH_FILE.encode())
    seen, stage, end = b"", 0, time.monotonic() + 30
    wanted = [(b"ready\r\n", b"vasctl exp\t"), (b"vasctl explain ", b"\x15vasctl plan --pol\t"),
              (b"vasctl plan --policy ", b"\x15exit\n")]
    while stage < len(wanted) and time.monotonic() < end:
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 4096)
        if wanted[stage][0] in seen:
            os.write(terminal, wanted[stage][1])
            stage += 1
    os.close(terminal)
    os.waitpid(pid, 0)
    equal(stage, len(wanted), "seen on the terminal: %r" % seen)


def main():
    print("1..%d" % len(CASES))
    failed = False
    if zsh not in SHELLS:
        print("# zsh is not here: only bash is asked")
    for number, function in enumerate(CASES, 1):
        name = function.__name__.replace("_", " ")
        try:
            function()
            print("ok %d - %s" % (number, name))
        except Wrong as wrong:
            failed = True
            print("not ok %d - %s" % (number, name))
            print("# " + str(wrong).replace("\n", "\n# "))
        sys.stdout.flush()
    sys.exit(failed)


main()
