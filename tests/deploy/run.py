#!/usr/bin/env python3
"""Holds deploy/ to the programs it is for. Ends in "N passed, N failed, N skipped"; what is skipped, for want of a program or a package, is named.

    tests/deploy/run.py [PROGRAM] [NAME ...]     PROGRAM: build/release/attnd; NAMEs pick the tests whose names contain one of them

tests/deploy/run.sh sets up what is missing and calls this.
SPDX-License-Identifier: Apache-2.0
"""
import os
import sys
import unittest

import case


class Result(unittest.TextTestResult):
    passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def flatten(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        else:
            yield test


def main():
    arguments = sys.argv[1:]
    if arguments and os.path.isfile(arguments[0]):
        case.harness.PROGRAM = os.path.abspath(arguments.pop(0))
    tests = flatten(unittest.defaultTestLoader.discover(case.HERE))
    broken = "unittest.loader."  # what a file that cannot be read becomes
    chosen = [t for t in tests if not arguments or t.id().startswith(broken) or any(name in t.id() for name in arguments)]
    result = unittest.TextTestRunner(verbosity=2, resultclass=Result, stream=sys.stdout).run(unittest.TestSuite(chosen))
    for test, why in result.skipped:
        print(f"SKIPPED {test.id() if hasattr(test, 'id') else test}: {why}")
    failed = len(result.failures) + len(result.errors)
    print(f"{result.passed} passed, {failed} failed, {len(result.skipped)} skipped")
    return 1 if failed or not chosen or (result.skipped and os.environ.get("CI")) else 0


if __name__ == "__main__":
    sys.exit(main())
