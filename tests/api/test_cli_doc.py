#!/usr/bin/env python3
"""docs/cli.md tells what the command does: the arguments of serve as lib/openai/args_table.c has them,
the options of every command as its --help has them, outputs that are JSON, exit codes, and what is read
from config.env.

test_cli_doc.py SOURCE_ROOT GONKAHOST
"""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile

from tap import Tap

FATES = {
    "HONOURED": "### Honoured",
    "SILENT": "### Accepted, and nothing to do",
    "IGNORED": "### Accepted with a warning",
    "REFUSED": "### Refused",
}
MACROS = {"HONOUR": "HONOURED", "CHOICE": "HONOURED", "NUMBER": "HONOURED", "SILENT": "SILENT",
          "IGNORE": "IGNORED", "IGNORE_IF": "IGNORED", "REFUSE": "REFUSED"}
CODE = re.compile(r"`([^`]+)`")
COMMANDS = ["inference-node", "network-node", "nodes", "chat", "generate", "model", "poc", "poc round",
            "bench", "tokenize", "template"]
OF_A_MODEL = "### Options of a model"  # what chat, generate and model share


def section(text, heading):
    """The lines below a heading, up to the next one of any level."""
    lines = text.split("\n")
    start = lines.index(heading) + 1
    end = start
    while end < len(lines) and not lines[end].startswith("#"):
        end += 1
    return lines[start:end]


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def table(text, heading):
    """{name: the other cells} of the rows below a heading; names are code in the first cell."""
    names = {}
    for line in section(text, heading):
        if line.startswith("|"):
            row = cells(line)
            for name in CODE.findall(row[0]):
                names[name] = row[1:]
    return names


# ---- the arguments of serve ----

def options_of_table(root):
    """{name: (fate, aliases, allowed values)} of the table in the source."""
    text = open(os.path.join(root, "lib/openai/args_table.c"), encoding="utf-8").read()
    body = text[text.index("gh__options[] = {"):text.index("\n};")]
    body = re.sub(r" */\*.*?\*/", "", body, flags=re.S)
    options = {}
    for entry in re.findall(r"^\t(?:\{|\w+\().*?[)}],$", body, re.M | re.S):
        macro = re.match(r"\t(\w*)", entry).group(1)
        fate = MACROS[macro] if macro else re.search(r"GH__OPTION_(\w+), 0, ", entry).group(1)
        strings = re.findall(r'"([^"]*)"', entry)
        allowed = [s for s in strings[1:] if s.startswith("|")]
        options[strings[0]] = (fate, [s for s in strings[1:] if s.startswith("-")],
                               allowed[0].strip("|").split("|") if allowed else None)
    return options, len(re.findall(r'^\t(?:\{|\w+\()\s*"', body, re.M))


def check_arguments(tap, root, text):
    options, entries = options_of_table(root)
    tap.point(entries == len(options) > 100, "the table of arguments was read whole",
              "%d entries, %d names" % (entries, len(options)))
    for fate, heading in FATES.items():
        told = table(text, heading)
        want = {}
        for name, (its, aliases, allowed) in options.items():
            if its == fate:
                want["--" + name] = allowed
                want.update((alias, allowed) for alias in aliases)
        wrong = ["not told: %s" % n for n in sorted(set(want) - set(told))]
        wrong += ["not so: %s" % n for n in sorted(set(told) - set(want))]
        for name in set(want) & set(told):
            values = set(CODE.findall(told[name][0])) if told[name] else set()
            if want[name] and values != set(want[name]):
                wrong.append("%s: %s are allowed" % (name, want[name]))
        tap.point(not wrong, "arguments: %s" % heading.strip("# "), *wrong)


# ---- the options of the other commands ----

def run(program, *args, text=""):
    return subprocess.run([program, *args], input=text, capture_output=True, text=True, timeout=60)


def check_options(tap, program, text):
    shared = {name.split()[0] for name in table(text, OF_A_MODEL)}
    for command in COMMANDS:
        told = {name.split()[0] for name in table(text, "## gonkahost " + command)
                if name.startswith("--")}
        if command in ("chat", "generate", "model"):
            told |= shared
        shown = set(re.findall(r"^ +(?:-\S, +)?(--[\w-]+)", run(program, *command.split(), "--help").stdout,
                               re.M)) - {"--help", "--usage"}
        tap.point(shown and told == shown, "options of %s" % command,
                  "not told: %s" % sorted(shown - told), "not so: %s" % sorted(told - shown))
    listed = set(re.findall(r"^  (\w[\w-]*) +\w", run(program, "--help").stdout, re.M))
    told = {name.split()[0] for name in table(text, "# The command") if not name.startswith("-")}
    tap.point(listed == told, "commands", sorted(listed ^ told))


def check_json(tap, text):
    wrong = []
    for block in re.findall(r"^```json\n(.*?)^```$", text, re.M | re.S):
        for line in block.splitlines():
            try:
                json.loads(line)
            except ValueError as problem:
                wrong.append("%s: %.60s" % (problem, line))
    tap.point(not wrong, "JSON in the document is JSON", *wrong)


# ---- behaviour ----

def check_exit_codes(tap, program):
    cases = [(0, ["version"]), (0, ["--help"]), (0, ["generate", "--help"]), (2, []),
             (2, ["no-such-command"]), (2, ["--no-such-option"]), (2, ["--log-level=loud", "version"]),
             (2, ["generate"]), (2, ["model", "inspect", "m", "--dtype", "int8"]),
             (1, ["model", "inspect", "nobody/nothing"]),
             (2, ["serve", "--no-such-option"]), (1, ["serve", "m", "--enable-lora"]),
             (1, ["serve", "m", "--quantization", "awq"]), (2, ["serve", "m", "--port", "-1"]),
             (2, ["bench"]), (2, ["bench", "lift"]), (2, ["bench", "linear", "--model", "9b"]),
             (2, ["bench", "attention", "--dtype", "int8"]), (2, ["bench", "linear", "--rows", ","]),
             (2, ["-m", "other.module"]), (2, ["nodes", "enable"]),
             (1, ["nodes", "list", "--admin", "http://127.0.0.1:1"])]
    wrong = []
    for code, args in cases:
        result = run(program, *args)
        if result.returncode != code or (code and not result.stderr):
            wrong.append("%s: %d, not %d" % (args, result.returncode, code))
    tap.point(not wrong, "exit codes", *wrong)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def network_node(program, folder, config, *args):
    """(the line it prints or None, exit code, standard error) with this config.env."""
    path = os.path.join(folder, "config.env")
    with open(path, "w", encoding="utf-8") as file:
        file.write(config)
    node = subprocess.Popen(
        [program, "network-node", "--config", path, "--host", "127.0.0.1", "--admin-port", "0",
         "--callback-port", "0", "--data-dir", os.path.join(folder, "dapi"), *args],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = node.stdout.readline()
    if line:
        node.send_signal(signal.SIGTERM)
    _, errors = node.communicate(timeout=60)
    return json.loads(line) if line else None, node.returncode, errors


def check_config_env(tap, program):
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        good = ["export API_PORT=%d # mine\nexport KEY_NAME=x\nNODE_CONFIG=\n" % port,
                "# a comment\nAPI_PORT=1\n\n  export API_PORT=\"%d\"\r\n" % port]
        for config in good:
            line, code, errors = network_node(program, folder, config)
            tap.point(line and line["public_port"] == port and code == 0,
                      "config.env is read: %r" % config, line, code, errors)
        line, code, errors = network_node(program, folder, good[0], "--public-port", "0")
        tap.point(line and line["public_port"] != port and code == 0,
                  "the command line goes before config.env", line, code, errors)
        for value in "0", "70000", "80a", "-1":
            line, code, errors = network_node(program, folder, "API_PORT=%s\n" % value)
            tap.point(not line and code == 2 and "API_PORT" in errors and "'%s'" % value in errors,
                      "config.env: API_PORT=%s is refused" % value, line, code, errors)
        line, code, errors = network_node(program, folder, "NODE_CONFIG='%s/no file'\n" % folder)
        tap.point(not line and code == 1 and folder + "/no file" in errors,
                  "config.env: a NODE_CONFIG that is not there is named", line, code, errors)


def main():
    root, program = sys.argv[1:]
    with open(os.path.join(root, "docs", "cli.md"), encoding="utf-8") as file:
        text = file.read()
    tap = Tap()
    check_arguments(tap, root, text)
    check_options(tap, program, text)
    check_json(tap, text)
    check_exit_codes(tap, program)
    check_config_env(tap, program)
    tap.end()


main()
