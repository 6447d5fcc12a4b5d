#!/usr/bin/env python3
"""Writes the plain manifests of this folder from the chart in ../helm/attnd and values.yaml beside this file: one file for each template, and kustomization.yaml.

    deploy/kubernetes/generate.py [--check | --check-sum]     HELM=program

--check writes nothing and fails when a file is not what would be written. --check-sum needs no Helm: it fails when the chart or these files are not those of the
last time, by the sums in kustomization.yaml. What only Helm needs is left out of the manifests.
SPDX-License-Identifier: Apache-2.0
"""
import hashlib
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
CHART = os.path.join(HERE, "..", "helm", "attnd")
KUBERNETES = "1.33.0"  # what templates are told; only the chart's kubeVersion looks at it
HEAD = "# Made by deploy/kubernetes/generate.py (make manifests) from the chart; edit that.\n# SPDX-License-Identifier: Apache-2.0\n"
KEPT = ("generate.py", "values.yaml")


def sum_of(texts):
    digest = hashlib.sha256()
    for name, text in sorted(texts.items()):
        digest.update(f"{name} {len(text)}\n{text}".encode())
    return digest.hexdigest()


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def sums(manifests):
    """Two comment lines: of what goes in, and of what came out."""
    inputs = {"values": read(os.path.join(HERE, "values.yaml")), "generate": read(os.path.abspath(__file__))}
    for folder, _, names in os.walk(CHART):
        for name in names:
            path = os.path.join(folder, name)
            inputs[os.path.relpath(path, CHART)] = read(path)
    return f"# in {sum_of(inputs)}\n# out {sum_of(manifests)}\n"


def render():
    command = [os.environ.get("HELM", "helm"), "template", "attnd", CHART, "--kube-version", KUBERNETES, "--values", os.path.join(HERE, "values.yaml")]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    files = {}
    for document in re.split(r"^---\n", text, flags=re.MULTILINE):
        source = re.match(r"# Source: attnd/templates/(\S+)\n", document)
        if not source:
            continue
        body = re.sub(r"^ *(app.kubernetes.io/managed-by|helm.sh/chart): .*\n", "", document[source.end():], flags=re.MULTILINE)
        files.setdefault(source[1], []).append(body)
    made = {name: HEAD + "---\n".join(bodies) for name, bodies in files.items()}
    resources = "".join(f"  - {name}\n" for name in sorted(made))
    made["kustomization.yaml"] = HEAD + sums(made) + "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n" + resources
    return made


def there_now():
    return {name for name in os.listdir(HERE) if name not in KEPT and not name.startswith((".", "__"))}


def check_sum():
    manifests = {name: read(os.path.join(HERE, name)) for name in there_now() - {"kustomization.yaml"}}
    if sums(manifests) in read(os.path.join(HERE, "kustomization.yaml")):
        return 0
    print("deploy/kubernetes is not of today's chart: make manifests", file=sys.stderr)
    return 1


def main():
    if "--check-sum" in sys.argv[1:]:
        return check_sum()
    made = render()
    there = there_now()
    stale = sorted(there - made.keys())
    for name, text in made.items():
        path = os.path.join(HERE, name)
        if not os.path.exists(path) or read(path) != text:
            stale.append(name)
    if "--check" in sys.argv[1:]:
        for name in stale:
            print(f"deploy/kubernetes/{name} is not what the chart makes today: make manifests", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        path = os.path.join(HERE, name)
        if name not in made:
            os.unlink(path)
            continue
        with open(path, "w", encoding="utf-8") as file:
            file.write(made[name])
    return 0


if __name__ == "__main__":
    sys.exit(main())
