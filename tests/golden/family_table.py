#!/usr/bin/env python3
"""The README's table of families: which models each was held against, and the worst error there, as the unit programs print it. Python's standard library alone.

    python3 tests/golden/family_table.py [build/release]           rewrites the last two columns (`make family-table` builds what it needs first)
    python3 tests/golden/family_table.py --list [build/release]    names the unit programs that it runs

The table stands between two marks in README.md. Its rows and their first two columns are written by hand; a model_type that the program knows and no row has gets
one at the end. It is an error when a row names a type that the program does not know, or when nothing was held against transformers for a row. The program itself
says what it knows: it is asked for a type that nobody has. tests/snippets/test_readme.py holds the README to the same.
SPDX-License-Identifier: Apache-2.0
"""
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
README = os.path.join(ROOT, "README.md")
SHARED = os.environ.get("ATTND_SHARED", os.path.join(ROOT, "..", "shared"))
MINILM = os.environ.get("ATTND_MINILM")
BEGIN, END = "<!-- families: the last two columns are written by `make family-table` -->\n", "<!-- end of families -->\n"
HEAD = "| `model_type` | what is its own | held against transformers 5.23 in float64 | worst error: maps; hidden states |\n|---|---|---|---|\n"


def known_types(program):
    """Every model_type that the program knows, by its own word."""
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "config.json"), "w", encoding="ascii") as f:
            f.write('{"model_type": "?"}')
        done = subprocess.run([program, "--check", "--model", folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
    found = re.search(r"known are: (.*)$", done.stderr.decode().strip())
    if not found:
        raise ValueError(f"{program} does not say which types it knows: {done.stderr}")
    return found[1].split(", ")


def rows(readme):
    """[(list of types, the row's cells)] of the table in the text of the README."""
    table = readme.split(BEGIN)[1].split(END)[0]
    lines = [line.strip("|\n ") for line in table.splitlines()[2:]]
    return [(re.findall(r"`([^`]+)`", cells[0]), cells) for cells in ([c.strip() for c in line.split(" |")] for line in lines)]


def programs():
    """The unit programs that hold models against goldens, by name."""
    names = []
    for path in sorted(glob.glob(os.path.join(ROOT, "tests/unit/test_*.c"))):
        with open(path, encoding="utf-8") as f:
            if re.search(r'#include "(golden|seq2seq)_case.h"', f.read()):
                names.append(os.path.basename(path)[:-2])
    return names


def folder_of(source):
    """(name, whether it was trained, the folder with its config.json) of a model as a unit program names it: by source, by path, or by name alone."""
    name = source.split(":")[-1]
    if MINILM and source == MINILM:
        return "all-MiniLM-L6-v2", True, source
    for trained, folder in ((False, "tests/golden/models"), (True, "core/builtin"), (True, os.path.join(SHARED, "data/models"))):
        folder = os.path.join(ROOT, folder, os.path.basename(name))
        if os.path.exists(os.path.join(folder, "config.json")):
            return os.path.basename(name), trained, folder
    raise ValueError(f"{source} is nowhere")


def measured(build):
    """{model_type: {model: (trained, worst error of maps, of hidden states)}} over every table of kernels that this machine has"""
    found = {}
    for name in programs():
        done = subprocess.run([os.path.join(build, "tests/unit", name)], cwd=ROOT, stdout=subprocess.PIPE, timeout=600, check=True)
        said = done.stdout.decode()
        skipped = re.search(r"^SKIPPED.*", said, re.M)
        if skipped:
            raise ValueError(f"{name}: {skipped[0]}")
        for source, numbers in re.findall(r"^(\S+) .*?worst:(.*)$", said, re.M):
            model, trained, folder = folder_of(source)
            with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
                models = found.setdefault(json.load(f)["model_type"], {})
            maps, states = models.get(model, (trained, 0.0, 0.0))[1:]
            for output, error in re.findall(r"(\w+) ([\d.e+-]+)", numbers):
                maps = max(maps, float(error)) if output.endswith("attentions") else maps
                states = max(states, float(error)) if output.endswith("hidden_states") else states
            models[model] = (trained, maps, states)
    return found


def figure(x):
    return f"{x:.1e}".replace("e-0", "e-") if x else "-"


def row_of(types, cells, found):
    models = {name: what for t in types for name, what in found.get(t, {}).items()}
    if not models:
        raise ValueError(f"nothing holds {', '.join(types)} against transformers")
    drawn = sum(not trained for trained, _, _ in models.values())
    said = [f"{drawn} small random"] * (drawn > 0) + sorted(name for name, what in models.items() if what[0])
    worst = [figure(max(what[i] for what in models.values())) for i in (1, 2)]
    return "| " + " | ".join([cells[0], cells[1] if len(cells) > 1 else "", ", ".join(said), "; ".join(worst)]).replace("|  |", "| |") + " |\n"


def main(arguments):
    names = "--list" in arguments
    build = ([a for a in arguments if a != "--list"] or [os.path.join(ROOT, "build/release")])[0]
    if names:
        print(*(os.path.join(build, "tests/unit", name) for name in programs()))
        return
    with open(README, encoding="utf-8") as f:
        readme = f.read()
    known, listed = known_types(os.path.join(build, "attnd")), rows(readme)
    strange = {t for types, _ in listed for t in types} - set(known)
    if strange:
        raise ValueError(f"the program does not know {', '.join(sorted(strange))}")
    listed += [([t], [f"`{t}`", ""]) for t in known if not any(t in types for types, _ in listed)]
    found = measured(os.path.abspath(build))
    table = HEAD + "".join(row_of(types, cells, found) for types, cells in listed)
    before, rest = readme.split(BEGIN)
    with open(README, "w", encoding="utf-8") as f:
        f.write(before + BEGIN + table + END + rest.split(END)[1])
    print(f"{len(listed)} rows, {len(known)} types, {sum(len(m) for m in found.values())} models")


if __name__ == "__main__":
    main(sys.argv[1:])
