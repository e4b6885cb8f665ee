#!/usr/bin/env python3
"""Tests that docs/numerics.md names exist, in the files that it names; and so do its names.

test_numerics_doc.py SOURCE_ROOT
"""
import os
import re
import sys

from tap import Tap

LINKED = re.compile(r"\]\(\.\./(tests/[\w/.]+)\)((?:,? ?`\w+`)+)")
BASES = ["%s%s" % (base, inputs) for base in ("fp8-w8a8", "fp8-w8a16")
         for inputs in ("", "-bf16", "-f32")] + ["f32", "f16", "bf16"]
SUFFIXES = ["+shards", "+channels", "+kv8"]


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def main():
    root = sys.argv[1]
    text = read(root, "docs", "numerics.md")
    tap = Tap()
    missing, count = [], 0
    for path, names in LINKED.findall(text):
        source = read(root, path)
        for name in re.findall(r"`(\w+)`", names):
            count += 1
            if "START_TEST(%s)" % name not in source:
                missing.append("%s: %s" % (path, name))
    tap.point(count > 30 and not missing, "the %d tests named exist" % count, *missing)

    # The names that the code can make are those whose parts its header lists.
    header = read(root, "lib", "model", "numerics.h")
    parts = set(re.findall(r'"((?:f32|f16|bf16|fp8-w8a8|fp8-w8a16|-bf16|-f32|\+\w+))"', header))
    rows = re.findall(r"^\| ([^|]*`[^|]*) \|", text[:text.index("## What is rounded")], re.M)
    told = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    expected = {"f32", "f16", "bf16", "fp8-w8a8", "fp8-w8a16", "-bf16", "-f32"} | set(SUFFIXES)
    tap.point(parts == expected and told == set(BASES) | set(SUFFIXES), "names",
              sorted(parts ^ expected), sorted(told ^ (set(BASES) | set(SUFFIXES))))
    tap.end()


main()
