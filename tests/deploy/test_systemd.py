"""The systemd unit: systemd's own checks of it, and attnd under the two rules that could break it, without a running systemd.

SPDX-License-Identifier: Apache-2.0
"""
import ctypes
import os
import re
import shlex
import sys
import unittest.mock

import case
from case import DEPLOY, Case, harness, read, run, tool

UNIT = os.path.join(DEPLOY, "systemd", "attnd.service")
MOST_EXPOSED = 1.1  # what deploy/README.md says
SET_MDWE, GET_MDWE = 65, 66  # of prctl: no page may be written and run, as MemoryDenyWriteExecute=yes has it
DENY = f"import ctypes, os, sys; ctypes.CDLL(None).prctl({SET_MDWE}, 1, 0, 0, 0) and sys.exit(9); os.execv(sys.argv[1], sys.argv[1:])"


def allowed_calls(analyze):
    """System calls that the unit's SystemCallFilter lines let through."""
    sets = {}
    for block in run(analyze, "syscall-filter")[1].split("\n\n"):
        lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", block).splitlines()]
        lines = [line for line in lines if line and not line.startswith("#")]
        if lines and lines[0].startswith("@"):
            sets[lines[0]] = lines[1:]

    def expand(name):
        return {call for part in sets[name] for call in expand(part)} if name.startswith("@") else {name}

    allowed = set()
    for value in re.findall(r"^SystemCallFilter=(.*)$", read("systemd", "attnd.service"), re.MULTILINE):
        calls = {call for name in value.lstrip("~").split() for call in expand(name)}
        allowed = allowed - calls if value.startswith("~") else allowed | calls
    return allowed


class Unit(Case):
    def test_systemd_understands_every_line(self):
        name = os.path.join(self.folder, "attnd.service")
        with open(name, "w", encoding="utf-8") as file:
            file.write(read("systemd", "attnd.service").replace("/usr/local/bin/attnd", harness.PROGRAM))
        self.assertEqual(self.ok(tool("systemd-analyze"), "verify", name).strip(), "")

    def test_its_exposure_is_what_the_readme_says(self):
        said = self.ok(tool("systemd-analyze"), "security", "--offline=true", "--no-pager", UNIT)
        exposure = float(re.search(r"Overall exposure level for attnd.service: ([0-9.]+)", said)[1])
        print(f"    systemd-analyze security: {exposure}")
        self.assertLessEqual(exposure, MOST_EXPOSED)
        self.assertIn(f"**{exposure}", read("README.md"))

    def test_options_of_the_environment_file_are_attnds(self):
        lines = [line.removeprefix("# ") for line in read("systemd", "attnd.env").splitlines()]
        names = {m[1] for m in (re.match(r"ATTND_([A-Z_]+)=", line) for line in lines) if m}
        self.assertGreater(len(names), 4)
        unknown = {name.lower().replace("_", "-") for name in names} - case.options()
        if unknown == {"unix-socket"}:
            self.skipTest("this build has no --unix-socket")
        self.assertEqual(unknown, set())

    def serve_by(self, *before):
        """A server that another program starts."""
        wrapper = os.path.join(self.folder, "wrapper")
        with open(wrapper, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\nexec " + " ".join(shlex.quote(word) for word in (*before, harness.PROGRAM)) + ' "$@"\n')
        os.chmod(wrapper, 0o755)
        with unittest.mock.patch.object(harness, "PROGRAM", wrapper):
            return self.serve()

    def test_without_pages_that_are_written_and_run_the_answers_are_the_same(self):
        if ctypes.CDLL(None).prctl(GET_MDWE, 0, 0, 0, 0) < 0:
            self.skipTest("this kernel has no PR_SET_MDWE")
        plain, denied = self.serve(), self.serve_by(sys.executable, "-c", DENY)
        with open(f"/proc/{plain.process.pid}/maps", encoding="utf-8") as file:
            self.assertIn("rwx", file.read(), "PCRE2 makes no use of its JIT any more: the README speaks of it")
        with open(f"/proc/{denied.process.pid}/maps", encoding="utf-8") as file:
            self.assertNotIn("rwx", file.read())
        for body in ({"text": "It's the 2nd test, isn't it?", "model": m} for m in ("attnd-bert", "attnd-gpt", "attnd-translate")):
            self.assertEqual(plain.attention(body), denied.attention(body))
        self.assertEqual(denied.stop(), 0)

    def test_attnd_makes_no_system_call_that_the_filter_refuses(self):
        allowed = allowed_calls(tool("systemd-analyze"))
        self.assertIn("futex", allowed)
        self.assertNotIn("reboot", allowed)
        log = os.path.join(self.folder, "calls")
        server = self.serve_by(tool("strace"), "-D", "-f", "-o", log)
        for accept in ("application/json", "application/x-ndjson", "image/png", "text/plain", "application/vnd.safetensors"):
            headers = {"Content-Type": "application/json", "Accept": accept, "Accept-Encoding": "zstd"}
            self.assertEqual(server.request("POST", "/v1/attention", '{"text": "a few words"}', headers)[0], 200)
        for path in ("/metrics", "/docs", "/readyz"):
            self.assertEqual(server.request("GET", path)[0], 200)
        self.assertEqual(server.stop(), 0)
        with open(log, encoding="utf-8") as file:
            made = set(re.findall(r"^(?:\d+ +)?([a-z_0-9]+)\(", file.read(), re.MULTILINE))
        print(f"    {len(made)} system calls, {len(allowed)} allowed")
        self.assertGreater(len(made), 25)
        self.assertEqual(made - allowed, set())
