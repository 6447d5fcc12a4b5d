#!/usr/bin/env python3
"""The explorer as any HTTP client sees it: types, policy, tags, what is there and what is not. Usage: test_explorer.py [PATH/TO/attnd] [unittest arguments]

What it does in a browser is in tests/explorer/.
SPDX-License-Identifier: Apache-2.0
"""
import glob
import gzip
import os
import re

import harness
from harness import ROOT

FOLDER = os.path.join(ROOT, "api/explorer")
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
NOT_SERVED = {"README.md"}
FILES = sorted(name for name in os.listdir(FOLDER) if name not in NOT_SERVED)


def bytes_of(name):
    with open(os.path.join(FOLDER, name), "rb") as file:
        return file.read()


class Explorer(harness.ServerCase):
    def get(self, path, headers=None, method="GET"):
        return self.server.request(method, path, headers=headers)

    def paths(self):
        return [("/", "index.html"), *(("/explorer/" + name, name) for name in FILES)]

    def test_every_file_of_the_folder_is_served_byte_for_byte_with_its_type(self):
        for path, name in self.paths():
            status, headers, data = self.get(path)
            self.assertEqual((status, headers["content-type"]), (200, TYPES[os.path.splitext(name)[1]]), path)
            self.assertEqual(data, bytes_of(name), f"{path}: is the program built from these files?")
            self.assertEqual(int(headers["content-length"]), len(data))

    def test_nothing_else_is_there(self):
        for path in ("/explorer", "/explorer/", "/explorer/README.md", "/explorer/nobody.js", "/explorer/../api.h", "/explorer/%2e%2e/api.h", "/explorer//main.js", "/index.html"):
            status, headers, _ = self.get(path)
            self.assertEqual((status, headers["content-type"]), (404, "application/problem+json"), path)

    def test_the_policy_lets_in_this_server_alone(self):
        wanted = {
            "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self' data: blob:", "connect-src": "'self'", "base-uri": "'none'",
            "form-action": "'none'", "frame-ancestors": "'self'",
        }
        for path, _ in self.paths():
            headers = self.get(path)[1]
            policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
            self.assertEqual(policy, wanted, path)
            self.assertEqual(headers["x-content-type-options"], "nosniff")
            self.assertEqual(headers["referrer-policy"], "no-referrer")
            self.assertNotIn("set-cookie", headers)

    def test_a_browser_may_keep_what_has_not_changed(self):
        tags = set()
        for path, _ in self.paths():
            _, headers, data = self.get(path)
            self.assertEqual(headers["cache-control"], "no-cache")
            tag = headers["etag"]
            tags.add(tag)
            for known in (tag, tag.removeprefix("W/"), f'"x", {tag}', "*"):
                status, again, nothing = self.get(path, {"If-None-Match": known})
                self.assertEqual((status, nothing, again["etag"]), (304, b"", tag), path)
            self.assertEqual(self.get(path, {"If-None-Match": '"x"'})[2], data)
        self.assertEqual(len(tags), len(FILES))

    def test_head_says_what_get_says(self):
        for path, _ in self.paths():
            _, headers, data = self.get(path)
            status, same, nothing = self.get(path, method="HEAD")
            self.assertEqual((status, nothing, int(same["content-length"])), (200, b"", len(data)), path)
            self.assertEqual({k: same[k] for k in ("etag", "content-type", "content-security-policy")}, {k: headers[k] for k in ("etag", "content-type", "content-security-policy")})

    def test_other_methods_are_refused(self):
        for method in ("POST", "PUT", "DELETE"):
            status, headers, _ = self.get("/", method=method)
            self.assertEqual(status, 405)
            self.assertIn("GET", headers["allow"])

    def test_what_pays_is_compressed_and_the_same(self):
        for path, name in self.paths():
            _, headers, data = self.get(path, {"Accept-Encoding": "gzip"})
            if headers.get("content-encoding") == "gzip":
                self.assertLess(len(data), len(bytes_of(name)))
                data = gzip.decompress(data)
            self.assertEqual(data, bytes_of(name), path)

    def test_no_file_names_another_host_or_runs_markup(self):
        for name in FILES:
            text = bytes_of(name).decode()
            urls = set(re.findall(r"""(?:https?:)?//[\w-]+\.[\w.-]+""", text)) - {"//www.w3.org"} - {"http://www.w3.org"}
            self.assertFalse(urls, name)
            for banned in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "localStorage", "sessionStorage", "document.cookie", "setAttribute('style'"):
                self.assertNotIn(banned, text, name)
        page = bytes_of("index.html").decode()
        self.assertFalse(re.findall(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", page))

    def test_every_import_and_link_leads_to_a_file_of_the_page(self):
        for name in FILES:
            text = bytes_of(name).decode()
            for other in re.findall(r"""(?:from|import)\s+'\./([\w.]+)'""", text) + re.findall(r"""(?:href|src)="explorer/([\w.]+)\"""", text):
                self.assertIn(other, FILES, name)


if __name__ == "__main__":
    harness.main()
