"""A hub on 127.0.0.1 and a store on 127.0.0.2 that large files are redirected to, with the hub's protocol and, on demand, its bad days.

    hub = Hub(); hub.add("org/name", "main", {"config.json": b"..."})      commit = hub.commit("org/name", "main")
    hub.faults.append(f)    f(request) -> True when it has answered itself; asked first for every request, to hub and store alike
    hub.environment(home)   what a program needs to ask this hub alone, and to keep what comes below `home`
    hub.seen                every request, as (place, method, file, request): place is "hub", "small" (where small files are redirected to) or "store"

As the real one does: HEAD and GET of /org/name/resolve/REVISION/FILE; small files go by a relative redirect on the same host and are named by git's SHA-1; those
that end in .safetensors, .bin or .model go to the store, which knows no tokens, and are named by their SHA-256 in X-Linked-Etag.
SPDX-License-Identifier: Apache-2.0
"""
import hashlib
import http.server
import os
import re
import sys
import threading
import traceback
import urllib.parse

LARGE = (".safetensors", ".bin", ".model")
MODELS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "golden/models")


def files_of(name):
    """A small model's files, as somebody would upload them."""
    folder = os.path.join(MODELS, name)
    found = {}
    for file in sorted(os.listdir(folder)):
        if file != "golden.json":
            with open(os.path.join(folder, file), "rb") as f:
                found[file] = f.read()
    return found


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def is_large(name):
    return name.endswith(LARGE)


def etag(name, data):
    return hashlib.sha256(data).hexdigest() if is_large(name) else git_sha1(data)


class Request(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    place = ""

    def log_message(self, *_):
        pass

    def answer(self, status, headers=(), body=b"", length=None):
        """A head and, but for HEAD, a body. `length`: another Content-Length than the body's own."""
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            try:
                self.wfile.write(body)
            except OSError:
                self.close_connection = True

    def hang_up(self):
        self.wfile.flush()
        self.close_connection = True

    def range_start(self):
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found[1]) if found else None

    def serve(self, data, headers):
        start = self.range_start()
        if start is None:
            return self.answer(200, headers, data)
        if start >= len(data):
            return self.answer(416, {"Content-Range": f"bytes */{len(data)}"})
        return self.answer(206, dict(headers, **{"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}), data[start:])

    def do_GET(self):
        hub = self.server.hub
        self.parts = [urllib.parse.unquote(part) for part in self.path.split("/")[1:]]
        self.file = self.parts[-1]
        self.place = self.server.place or ("small" if self.parts[0] == "api" else "hub")
        with hub.lock:
            hub.seen.append((self.place, self.command, self.file, self))
        if any(fault(self) for fault in list(hub.faults)):
            return
        getattr(hub, "do_" + self.place)(self)

    do_HEAD = do_GET


class Hub:
    def __init__(self):
        self.lock = threading.Lock()
        self.models = {}  # repo -> {commit: {file: bytes}}
        self.refs = {}  # (repo, revision) -> commit
        self.gated = {}  # repo -> the token it takes
        self.seen, self.faults = [], []
        self.servers = [self.start("127.0.0.1", ""), self.start("127.0.0.2", "store")]
        self.url, self.store = (f"http://{s.server_address[0]}:{s.server_address[1]}" for s in self.servers)

    def start(self, host, place):
        server = http.server.ThreadingHTTPServer((host, 0), Request)
        server.handle_error = lambda *_: self.broken(sys.exc_info()[1])
        server.daemon_threads = True
        server.hub, server.place = self, place
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def stop(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def add(self, repo, revision, files):
        """A commit with these files, which the revision (a branch, a tag) names from now on. Returns it."""
        commit = hashlib.sha1(repr((repo, revision, sorted((n, hashlib.sha1(d).digest()) for n, d in files.items()))).encode()).hexdigest()
        self.models.setdefault(repo, {})[commit] = files
        self.refs[repo, revision] = commit
        return commit

    def environment(self, home, **more):
        """This process's without what is about attnd, hubs or proxies, then `more`, where None takes a variable away."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("ATTND_", "HF_", "HUGGING", "TRANSFORMERS_")) and not k.lower().endswith("_proxy")}
        kept.update(HF_HOME=home, HF_ENDPOINT=self.url)
        kept.update(more)
        return {k: v for k, v in kept.items() if v is not None}

    def broken(self, error):
        """Clients that hang up are part of the game; anything else is a fault of this file."""
        if not isinstance(error, OSError):
            traceback.print_exception(error)

    def count(self, method, place=None, file=None):
        return sum(1 for p, m, f, _ in self.seen if m == method and place in (None, p) and file in (None, f))

    # ---- answers -----------------------------------------------------------------------------------------------------------

    def do_hub(self, request):
        if len(request.parts) != 5 or request.parts[2] != "resolve":
            return request.answer(404, {}, b"no such page")
        repo, revision, file = "/".join(request.parts[:2]), request.parts[3], request.file
        if repo in self.gated and request.headers.get("Authorization") != "Bearer " + self.gated[repo]:
            status = 403 if "Authorization" in request.headers else 401
            return request.answer(status, {"X-Error-Code": "GatedRepo"}, b"Access to this model is restricted")
        if repo not in self.models:
            return request.answer(404, {"X-Error-Code": "RepoNotFound"}, b"Repository not found")
        commit = self.refs.get((repo, revision), revision)
        if commit not in self.models[repo]:
            return request.answer(404, {"X-Error-Code": "RevisionNotFound"}, b"Invalid rev id")
        headers = {"X-Repo-Commit": commit}
        data = self.models[repo][commit].get(file)
        if data is None:
            return request.answer(404, dict(headers, **{"X-Error-Code": "EntryNotFound"}), b"Entry not found")
        if not is_large(file):
            return request.answer(307, dict(headers, Location=f"/api/resolve-cache/models/{repo}/{commit}/{file}"), b"Temporary redirect")
        headers.update({"X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{etag(file, data)}"', "Location": f"{self.store}/{repo}/{commit}/{file}"})
        request.answer(302, headers, b"Found. Redirecting")

    def do_small(self, request):
        if request.parts[1:3] != ["resolve-cache", "models"]:
            return request.answer(404, {}, b"no such page")
        repo, commit, file = "/".join(request.parts[3:5]), request.parts[5], request.file
        data = self.models[repo][commit][file]
        request.serve(data, {"X-Repo-Commit": commit, "ETag": f'"{etag(file, data)}"'})

    def do_store(self, request):
        repo, commit, file = "/".join(request.parts[:2]), request.parts[2], request.file
        data = self.models[repo][commit][file]
        if "Authorization" in request.headers:
            return request.answer(400, {}, b"Only one auth mechanism allowed")
        request.serve(data, {"ETag": f'"{hashlib.md5(data).hexdigest()}"'})
