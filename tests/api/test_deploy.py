#!/usr/bin/env python3
"""What deploy/ offers to copy fits the command: units that systemd accepts and whose command lines
gonkahost has, arguments of node configurations that serve honours, and a config.env that a shell reads.

test_deploy.py SOURCE_ROOT GONKAHOST
"""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from tap import Tap

INSTALLED = "/usr/local/bin/gonkahost"


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def check_unit(tap, path, program, folder):
    name, text = os.path.basename(path), read(path)
    command = re.search(r"^ExecStart=%s (?:--\S+ )*([\w-]+) (.*)$" % INSTALLED, text, re.M)
    shown = subprocess.run([program, command.group(1), "--help"], capture_output=True, text=True,
                           timeout=60).stdout
    unknown = [o for o in re.findall(r"--[\w-]+", command.group(2)) if o + "=" not in shown]
    tap.point(not unknown, "%s starts what there is" % name, *unknown)
    if not shutil.which("systemd-analyze"):
        tap.skip("%s is accepted by systemd" % name, "no systemd-analyze")
        return
    # It also looks whether the program is there.
    copy = os.path.join(folder, name)
    with open(copy, "w", encoding="utf-8") as file:
        file.write(text.replace(INSTALLED, program))
    result = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True,
                            text=True, timeout=60)
    complaints = [line for line in (result.stdout + result.stderr).splitlines() if name in line]
    tap.point(result.returncode == 0 and not complaints, "%s is accepted by systemd" % name,
              result.stdout + result.stderr)


def honoured(root):
    """Arguments that docs/cli.md calls honoured (which its own test compares with the source)."""
    text = read(root, "docs", "cli.md")
    part = text[text.index("### Honoured"):]
    part = part[:part.index("\n### ", 1)]
    return {name for row in re.findall(r"^\| ([^|]*) \|", part, re.M)
            for name in re.findall(r"`([^`]*)`", row)}


def check_configuration(tap, path, known):
    wrong = [arg for node in json.loads(read(path)) for model in node["models"].values()
             for arg in model["args"] if arg.startswith("-") and arg not in known]
    tap.point(not wrong, "%s has arguments that are honoured" % os.path.basename(path), *wrong)


def check_template(tap, root):
    template = os.path.join(root, "deploy", "config.env.template")
    filled = re.sub(r"<[^>]*>", "x", read(template))
    result = subprocess.run(["env", "-i", "/bin/sh", "-euc", filled + "\n/usr/bin/env"],
                            capture_output=True, text=True, timeout=60)
    names = set(re.findall(r"^(\w+)=", result.stdout, re.M)) - {"PWD", "_", "SHLVL", "OLDPWD"}
    expected = set(re.findall(r"^export (\w+)=", filled, re.M))
    wanted = {"KEY_NAME", "API_PORT", "PUBLIC_URL", "P2P_EXTERNAL_ADDRESS", "HF_HOME"}
    tap.point(result.returncode == 0 and names == expected and wanted <= names,
              "config.env.template can be sourced", result.stderr, sorted(names ^ expected))


def main():
    root, program = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    tap = Tap()
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(glob.glob(os.path.join(root, "deploy", "*.service"))):
            check_unit(tap, path, program, folder)
    known = honoured(root)
    for path in sorted(glob.glob(os.path.join(root, "deploy", "*.json"))):
        check_configuration(tap, path, known)
    check_template(tap, root)
    tap.end()


main()
