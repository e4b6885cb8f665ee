#!/usr/bin/env python3
"""count.py LOG... - add up Meson's testlog.json files and print "N passed, N failed, N skipped".

A test that speaks TAP counts as its test points, any other as one. What a log does not tell in
points (a crash, a timeout, a plan that was not kept) counts as one failure more. The exit status
is 1 when something failed or nothing passed.
"""
import json
import re
import sys

POINT = re.compile(r"^(not )?ok\b[^#]*(?:#\s*(skip|todo)\b)?", re.IGNORECASE)
PLAN = re.compile(r"^1\.\.(\d+)(?:\s*#\s*skip)?", re.IGNORECASE)
BAD = {"FAIL", "ERROR", "TIMEOUT", "INTERRUPT", "UNEXPECTEDPASS"}


def count_test(entry):
    """(passed, failed, skipped) of one line of the log; says what failed."""
    passed = failed = skipped = 0
    lines = (entry.get("stdout") or "").splitlines()
    if any(PLAN.match(line) for line in lines):
        for line in lines:
            point = POINT.match(line)
            if not point:
                continue
            directive = (point.group(2) or "").lower()
            if directive == "skip":
                skipped += 1
            elif point.group(1) and directive != "todo":
                failed += 1
                print("failed: %s: %s" % (entry["name"], line))
            else:
                passed += 1
        if entry["result"] == "SKIP" and passed + failed + skipped == 0:
            skipped = 1
    elif entry["result"] == "SKIP":
        skipped = 1
    elif entry["result"] not in BAD:
        passed = 1
    if entry["result"] in BAD and failed == 0:
        failed = 1
        print("failed: %s: %s" % (entry["name"], entry["result"]))
    return passed, failed, skipped


def main():
    total = [0, 0, 0]
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as log:
            for line in log:
                for i, n in enumerate(count_test(json.loads(line))):
                    total[i] += n
    print("%d passed, %d failed, %d skipped" % tuple(total))
    sys.exit(1 if total[1] or not total[0] else 0)


main()
