#!/usr/bin/env python3
"""Rooms call downwards only (docs/architecture.md): what each includes says whom it knows.

test_floors.py SOURCE_ROOT
"""
import glob
import os
import re
import sys

from tap import Tap

FLOORS = [
    ["base"],
    ["json", "crypto", "store", "http", "hub", "device", "comm"],
    ["text", "model"],
    ["engine", "poc", "registry"],
    ["openai"],
    ["serve", "inference_node", "network_node"],
]
# On the same floor only where it is said.
BESIDE = {("hub", "json"), ("http", "json"), ("comm", "device")}
# Public headers that are not named after their room. node.h is the face of the whole top floor.
PUBLIC = {"kernels": "device", "node": "serve", "gonkahost": "serve"}
INCLUDE = re.compile(r'^\s*#\s*include\s+["<](?:(gonkahost)/)?([a-z_]+)(?:/[a-z0-9_/]+)?\.h[">]',
                     re.MULTILINE)


def floor_of(room):
    for number, rooms in enumerate(FLOORS):
        if room in rooms:
            return number
    return None


def rooms_known(path, of_room):
    """Rooms whose headers a file of a room includes."""
    known = set()
    for public, name in INCLUDE.findall(open(path, encoding="utf-8").read()):
        if public and name == "node" and of_room in FLOORS[-1]:
            continue
        room = PUBLIC.get(name, name) if public else name
        if floor_of(room) is not None:
            known.add(room)
    return known


def main():
    root = sys.argv[1]
    tap = Tap()
    rooms = sorted(os.listdir(os.path.join(root, "lib")))
    for room in rooms:
        folder = os.path.join(root, "lib", room)
        if not os.path.isdir(folder):
            continue
        if floor_of(room) is None:
            tap.point(False, "%s has a floor" % room)
            continue
        wrong = []
        for path in sorted(glob.glob(folder + "/**/*.[ch]", recursive=True)):
            for other in sorted(rooms_known(path, room)):
                lower = floor_of(other) < floor_of(room)
                if other != room and not lower and (room, other) not in BESIDE:
                    wrong.append("%s uses %s" % (os.path.relpath(path, root), other))
        tap.point(not wrong, "%s uses lower floors only" % room, *wrong)
    inner = []
    for path in sorted(glob.glob(os.path.join(root, "examples", "*.c*"))):
        for line in re.findall(r'^#include ".*', open(path, encoding="utf-8").read(), re.MULTILINE):
            inner.append("%s: %s" % (os.path.relpath(path, root), line))
    tap.point(not inner, "examples use public headers only", *inner)
    tap.end()


main()
