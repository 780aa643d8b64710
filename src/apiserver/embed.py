#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns the objects of api/bootstrap/*.jsonl into one C file: an array of JSON texts.

usage: embed.py OUTPUT INPUT...
"""
import json
import sys


def literal(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def main():
    out, inputs = sys.argv[1], sys.argv[2:]
    lines = []
    for name in inputs:
        with open(name, encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                if not line.strip():
                    continue
                try:
                    lines.append(json.dumps(json.loads(line), separators=(",", ":")))
                except ValueError as e:
                    sys.exit("%s:%d: %s" % (name, number, e))
    with open(out, "w", encoding="utf-8") as f:
        f.write('/* Made by embed.py of api/bootstrap. */\n#include "apiserver/bootstrap.h"\n\n')
        f.write("const char *const bootstrap_objects[] = {\n")
        for text in lines:
            f.write("    %s,\n" % literal(text))
        f.write("    NULL,\n};\n")


main()
