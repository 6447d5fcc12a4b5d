#!/usr/bin/python3
"""Writes api/openapi.json from api/openapi.yaml; with --check, only says whether it is up to date.

Needs python3-yaml, which building the program does not: both files are kept in the repository.
SPDX-License-Identifier: Apache-2.0
"""
import json
import pathlib
import sys

import yaml

API = pathlib.Path(__file__).resolve().parents[2] / "api"


def main():
    contract = yaml.safe_load((API / "openapi.yaml").read_text(encoding="utf-8"))
    text = json.dumps(contract, ensure_ascii=False, indent=1) + "\n"
    target = API / "openapi.json"
    if sys.argv[1:] == ["--check"]:
        if target.read_text(encoding="utf-8") != text:
            sys.exit("api/openapi.json is not what api/openapi.yaml says: run tests/http/make_openapi.py")
        return
    target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
