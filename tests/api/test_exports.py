#!/usr/bin/env python3
"""Four lists of the exported functions agree: the library, its version script,
docs/symbols-in-versions and the declarations in the public headers; and every declaration has the
comment that anchors the documentation.

test_exports.py SOURCE_ROOT LIBRARY
"""
import glob
import os
import re
import subprocess
import sys

from tap import Tap

SECTIONS = ["Owner", "Threads", "Errors", "Since"]
NAME = re.compile(r"\b(gh_[a-z0-9_]+)\s*\(")


def exported(library):
    """{symbol: version} of the dynamic symbol table."""
    symbols = {}
    text = subprocess.run(["nm", "-D", "--defined-only", "--with-symbol-versions", library],
                          capture_output=True, text=True, check=True).stdout
    for line in text.splitlines():
        kind, name = line.split()[-2:]
        if kind == "A":  # the version's own name
            continue
        symbol, _, version = name.partition("@@")
        symbols[symbol] = version
    return symbols


def in_script(path):
    """{symbol: version} of the version script, and the names in the order they stand there."""
    symbols, order, version, visible = {}, [], None, False
    for line in open(path, encoding="utf-8"):
        line = line.split("#")[0].strip()
        node = re.match(r"(GONKAHOST_[0-9.]+)\s*\{", line)
        if node:
            version = node.group(1)
        elif line in ("global:", "local:"):
            visible = line == "global:"
        elif visible and line.endswith(";"):
            symbols[line[:-1].strip()] = version
            order.append((version, line[:-1].strip()))
    return symbols, order


def in_document(path):
    symbols = {}
    for line in open(path, encoding="utf-8"):
        line = line.split("#")[0].split()
        if line:
            symbols[line[0]] = line[1]
    return symbols


def in_headers(folder):
    """{function: comment above it} of every GH_API declaration."""
    functions = {}
    for path in sorted(glob.glob(os.path.join(folder, "*.h"))):
        text = open(path, encoding="utf-8").read()
        for declaration in re.finditer(r"^GH_API\b[^;]*;", text, re.MULTILINE):
            above = text[:declaration.start()].rstrip()
            comment = ""
            if above.endswith("*/"):
                comment = above[above.rfind("/*"):]
            name = NAME.search(declaration.group(0))
            functions[name.group(1) if name else declaration.group(0)] = (path, comment)
    return functions


def difference(left, right):
    return ["only in the first: %s" % s for s in sorted(set(left) - set(right))] + \
           ["only in the second: %s" % s for s in sorted(set(right) - set(left))]


def main():
    root, library = sys.argv[1:]
    tap = Tap()
    library_symbols = exported(library)
    script, order = in_script(os.path.join(root, "lib/libgonkahost.map"))
    document = in_document(os.path.join(root, "docs/symbols-in-versions"))
    headers = in_headers(os.path.join(root, "include/gonkahost"))

    wanted = [s for s in library_symbols if not s.startswith("gh_") or s.startswith("gh__")]
    tap.point(library_symbols and not wanted, "the library exports gh_ names only", *wanted)
    pairs = [(library_symbols, "library"), (document, "docs/symbols-in-versions")]
    for symbols, name in pairs:
        gap = ["%s %s" % p for p in symbols.items()]
        own = ["%s %s" % p for p in script.items()]
        tap.point(set(gap) == set(own), "%s and version script agree" % name,
                  *difference(gap, own))
    tap.point(set(headers) == set(script), "headers and version script agree",
              *difference(headers, script))
    tap.point(order == sorted(order), "the version script is sorted")
    for function, (path, comment) in sorted(headers.items()):
        missing = [s for s in SECTIONS if not re.search(r"^ \* %s\s" % s, comment, re.MULTILINE)]
        documented = comment.startswith("/**")
        tap.point(documented and not missing, "%s has a full comment" % function, path,
                  "no /** comment" if not documented else "missing: " + " ".join(missing))
    tap.end()


main()
