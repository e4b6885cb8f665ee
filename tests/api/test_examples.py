#!/usr/bin/env python3
"""The example programs build through pkg-config, as their comments say, and run.

test_examples.py SOURCE_ROOT BUILD_ROOT
"""
import os
import shlex
import subprocess
import sys
import tempfile

from tap import Tap

CHECKPOINT = "tests/data/checkpoints/llama3"


def run(command, **more):
    return subprocess.run(command, capture_output=True, text=True, timeout=100, **more)


def main():
    root, build = sys.argv[1:]
    tap = Tap()
    environment = {**os.environ, "PKG_CONFIG_PATH": os.path.join(build, "meson-uninstalled"),
                   "LD_LIBRARY_PATH": os.path.join(build, "lib")}
    flags = shlex.split(run(["pkg-config", "--cflags", "--libs", "gonkahost"],
                            env=environment).stdout)
    checkpoint = os.path.join(root, CHECKPOINT)
    with tempfile.TemporaryDirectory(prefix="gh-test-examples-") as scratch:
        programs = [
            ("embed.c", ["gcc"], [checkpoint, "What is"], lambda text: len(text) > 1),
            ("embed.cpp", ["g++", "-std=c++17"], [checkpoint, "What is"],
             lambda text: len(text) > 1),
            ("registry.c", ["gcc"], [os.path.join(scratch, "registry.db")],
             lambda text: text == "1 node1 at 10.0.0.7:5000, 500 at a time, serves Qwen/QwQ-32B\n"
                                  "removed: true\n"),
            ("fp8_linear.c", ["gcc"], ["cpu", "5", "100", "300"],
             lambda text: "largest difference" in text),
            ("attention.c", ["gcc"], ["cpu", "70", "9"], lambda text: "largest difference" in text),
        ]
        for source, compiler, arguments, good in programs:
            program = os.path.join(scratch, source.replace(".", "_"))
            built = run([*compiler, "-Wall", "-Wextra", "-Werror",
                         os.path.join(root, "examples", source), *flags, "-lm", "-o", program])
            tap.point(built.returncode == 0, source + " builds", built.stderr)
            if built.returncode:
                continue
            ran = run([program, *arguments], env=environment)
            tap.point(ran.returncode == 0 and good(ran.stdout), source + " runs", ran.stdout,
                      ran.stderr)
            usage = run([program], env=environment)
            tap.point(usage.returncode == 2 and "usage" in usage.stderr,
                      source + " says how it is used", usage.stderr)
    tap.end()


main()
