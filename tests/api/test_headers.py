#!/usr/bin/env python3
"""Each public header alone, as C11 and as C++17, by every compiler that is here.

test_headers.py INCLUDE_FOLDER
"""
import os
import re
import shutil
import subprocess
import sys

from tap import Tap

STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
COMPILERS = [
    ("gcc", ["-x", "c", "-std=c11", "-Wstrict-prototypes"]),
    ("g++", ["-x", "c++", "-std=c++17"]),
    ("clang", ["-x", "c", "-std=c11", "-Wstrict-prototypes"]),
    ("clang++", ["-x", "c++", "-std=c++17"]),
]


def initialisers(path):
    """Types that the header offers an initialiser for: GH_ERROR of GH_ERROR_INIT."""
    text = open(path, encoding="utf-8").read()
    return re.findall(r"^#define (GH_\w+)_INIT\b(?!\()", text, re.MULTILINE)


def padded_options(path, include):
    """Option structs with holes that their author did not see: a later field might fall in."""
    run = subprocess.run(["gcc", "-x", "c", "-std=c11", "-fsyntax-only", "-Wpadded", "-I", include,
                          path], capture_output=True, text=True)
    lines = open(path, encoding="utf-8").read().splitlines()
    found = []
    for number in re.findall(r"^%s:(\d+):.*-Wpadded" % re.escape(path), run.stderr, re.MULTILINE):
        above = "\n".join(lines[:int(number)])
        struct = re.findall(r"^typedef struct (\w+) \{", above, re.MULTILINE)
        if struct and struct[-1].endswith("_options"):
            found.append("%s, line %s" % (struct[-1], number))
    return found


def main():
    include = sys.argv[1]
    tap = Tap()
    headers = sorted(os.listdir(os.path.join(include, "gonkahost")))
    tap.point("base.h" in headers, "public headers are found", headers)
    for compiler, flags in COMPILERS:
        if not shutil.which(compiler):
            tap.skip(compiler, "not installed")
            continue
        for header in headers:
            # Twice: the guard works. Every INIT macro names each field, so none is warned about.
            source = "#include <gonkahost/%s>\n" % header * 2
            for i, prefix in enumerate(initialisers(os.path.join(include, "gonkahost", header))):
                source += "extern %s v%d;\n%s v%d = %s_INIT;\n" % (
                    prefix.lower(), i, prefix.lower(), i, prefix)
            run = subprocess.run([compiler, *flags, *STRICT, "-I", include, "-"], input=source,
                                 capture_output=True, text=True)
            tap.point(run.returncode == 0, "%s with %s" % (header, compiler), run.stderr)
    for header in headers:
        holes = padded_options(os.path.join(include, "gonkahost", header), include)
        tap.point(not holes, "option structs of %s have no implicit padding" % header, *holes)
    every = open(os.path.join(include, "gonkahost", "gonkahost.h"), encoding="utf-8").read() \
        if "gonkahost.h" in headers else ""
    for header in headers:
        if header != "gonkahost.h":
            tap.point("#include <gonkahost/%s>" % header in every,
                      "gonkahost.h includes " + header)
    tap.end()


main()
