#!/usr/bin/env python3
"""What the documents name exists: files of the tree, and targets of links.

test_documents.py SOURCE_ROOT
"""
import glob
import os
import re
import sys

from tap import Tap

FOLDERS = "lib include cli examples kernels tests docs deploy pkgconfig .ci".split()
NAMED = re.compile(r"(?<![\w./-])((?:%s)/[\w./-]*\w/?)(?![\w*<{])" %
                   "|".join(re.escape(f) for f in FOLDERS))
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def main():
    root = sys.argv[1]
    tap = Tap()
    documents = sorted(glob.glob(os.path.join(root, "*.md")) +
                       glob.glob(os.path.join(root, "docs", "*.md")))
    for path in documents:
        text = open(path, encoding="utf-8").read()
        folder = os.path.dirname(path)
        missing = [name for name in sorted(set(NAMED.findall(text)))
                   if not os.path.exists(os.path.join(root, name))]
        missing += [target for target in sorted(set(LINK.findall(text)))
                    if not re.match(r"[a-z]+:", target)
                    and not os.path.exists(os.path.join(folder, target))]
        tap.point(not missing, "%s names files that exist" % os.path.relpath(path, root),
                  *missing)
    tap.end()


main()
