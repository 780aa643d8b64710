# SPDX-License-Identifier: Apache-2.0
"""Turns a file into a C array: embed.py NAME INPUT OUTPUT."""
import sys

name, source, target = sys.argv[1:]
data = open(source, "rb").read()
rows = (", ".join(f"0x{b:02x}" for b in data[i:i + 16]) for i in range(0, len(data), 16))
with open(target, "w") as out:
    out.write("#include <stddef.h>\n")
    out.write(f"extern const unsigned char {name}[];\nextern const size_t {name}_size;\n")
    out.write(f"const unsigned char {name}[] = {{\n    " + ",\n    ".join(rows) + "\n};\n")
    out.write(f"const size_t {name}_size = {len(data)};\n")
