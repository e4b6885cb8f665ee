#!/usr/bin/env python3
"""Programs outside the tree find the library through pkg-config: installed under a prefix, and
uninstalled in the build folder.

test_consumer.py SOURCE_ROOT BUILD_ROOT VERSION
"""
import glob
import os
import shlex
import subprocess
import sys
import tempfile

from tap import Tap

STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
PROGRAMS = [("consumer.c", ["gcc", "-std=c11"]), ("consumer.cpp", ["g++", "-std=c++17"])]


def run(command, **more):
    return subprocess.run(command, capture_output=True, text=True, **more)


def pkg_config(environment, *arguments):
    answer = run(["pkg-config", *arguments, "gonkahost"], env=environment)
    return answer.returncode, answer.stdout.strip(), answer.stderr


def build_and_run(tap, what, environment, library_folder, sources, version, scratch):
    code, text, err = pkg_config(environment, "--modversion")
    tap.point(code == 0 and text == version, "%s: pkg-config says version %s" % (what, version),
              text, err)
    code, flags, err = pkg_config(environment, "--cflags", "--libs")
    tap.point(code == 0 and "-lgonkahost" in flags, "%s: pkg-config gives flags" % what, flags,
              err)
    for other in ("jansson", "microhttpd", "sqlite3", "curl"):
        if "-l" + other in flags.split():
            tap.point(False, "%s: flags name %s" % (what, other), flags)
    for source, compiler in PROGRAMS:
        program = os.path.join(scratch, "program")
        built = run([*compiler, *STRICT, os.path.join(sources, source), "-o", program,
                     *shlex.split(flags)])
        tap.point(built.returncode == 0, "%s: %s builds" % (what, source), built.stderr)
        if built.returncode:
            continue
        ran = run([program], env={**environment, "LD_LIBRARY_PATH": library_folder})
        tap.point(ran.returncode == 0 and ran.stdout.splitlines()[-1:] == [version],
                  "%s: %s runs" % (what, source), ran.returncode, ran.stdout, ran.stderr)


def main():
    root, build, version = sys.argv[1:]
    sources = os.path.join(root, "tests/api")
    tap = Tap()
    with tempfile.TemporaryDirectory(prefix="gh-test-consumer-") as scratch:
        # The prefix is the build's own; the tree below scratch stands for the file system.
        stage = os.path.join(scratch, "root")
        installed = run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", stage])
        tap.point(installed.returncode == 0, "meson install", installed.stdout, installed.stderr)
        package = glob.glob(stage + "/**/gonkahost.pc", recursive=True)
        tap.point(len(package) == 1, "gonkahost.pc is installed", *package)
        library = glob.glob(stage + "/**/libgonkahost.so.0", recursive=True)
        tap.point(len(library) == 1, "libgonkahost.so.0 is installed", *library)
        if package and library:
            environment = {**os.environ, "PKG_CONFIG_PATH": os.path.dirname(package[0]),
                           "PKG_CONFIG_SYSROOT_DIR": stage}
            build_and_run(tap, "installed", environment, os.path.dirname(library[0]), sources,
                          version, scratch)
        environment = {**os.environ, "PKG_CONFIG_PATH": os.path.join(build, "meson-uninstalled")}
        build_and_run(tap, "uninstalled", environment, os.path.join(build, "lib"), sources,
                      version, scratch)
    tap.end()


main()
