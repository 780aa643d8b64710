#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the JSON walkers with Python's json: json_against_python.py ECHO [SEED]

Values made at random must come back as the same values; texts broken at random must be refused by both or by neither.
"""

import json
import random
import subprocess
import sys

ODD = ["", "a", "\u00e9", "\u65e5\u672c", "\U0001f600", "<&>", "\u2028", '"', "\\", "/", "\b\f\n\r\t", "\x01", "\x7f", " " * 9]
NUMBERS = [0, -1, 1.5, 1e21, 1e-7, 5e-324, 1.7976931348623157e308, 2**63 - 1, -(2**63), 0.1, 123456.789]
SCRAPS = ["{", "}", "[", "]", '"', ",", ":", "1", "-", ".", "e", "0", "t", "null", "\\", "\\u12", " ", "\x01", "x"]


def text(rng):
    return "".join(rng.choice(ODD) for _ in range(rng.randint(0, 5)))


def value(rng, depth):
    kind = rng.randint(0, 6 if depth else 4)
    if kind == 5:
        return [value(rng, depth - 1) for _ in range(rng.randint(0, 5))]
    if kind == 6:
        return {text(rng): value(rng, depth - 1) for _ in range(rng.randint(0, 12))}
    return [None, True, False, rng.choice(NUMBERS) if rng.random() < 0.5 else rng.uniform(-1e9, 1e9), text(rng)][kind]


def broken(rng, doc):
    for _ in range(rng.randint(1, 3)):
        at = rng.randint(0, len(doc))
        doc = doc[:at] + rng.choice(SCRAPS) + doc[at + rng.randint(0, 2):]
    return doc


def strict(doc):
    def refuse(word):
        raise ValueError(word)
    return json.loads(doc, parse_constant=refuse)


def check(doc, answer):
    try:
        want = strict(doc)
    except ValueError:
        return answer.startswith("! ")
    if answer.startswith("! "):
        return "number" in answer and "e" in doc  # Python reads 1e999 as infinite
    return strict(answer[2:]) == want


def main():
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    rng = random.Random(seed)
    docs = [json.dumps(value(rng, 5), ensure_ascii=rng.random() < 0.5) for _ in range(3000)]
    docs += [broken(rng, d) for d in docs if len(d) < 400]
    docs = [d for d in docs if "\n" not in d and "\\ud" not in d]  # halves of surrogates differ on purpose
    run = subprocess.run([sys.argv[1]], input="\n".join(docs + [""]).encode(), stdout=subprocess.PIPE, check=True)
    answers = run.stdout.decode().split("\n")[:-1]
    if len(answers) != len(docs):
        sys.exit("%d answers to %d texts" % (len(answers), len(docs)))
    wrong = [(d, a) for d, a in zip(docs, answers) if not check(d, a)]
    for doc, answer in wrong[:5]:
        print("%s\n  %s" % (doc, answer))
    print("seed %d: %d texts, %d differ" % (seed, len(docs), len(wrong)))
    sys.exit(1 if wrong else 0)


main()
