#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Ingress data plane beside HAProxy and nginx: see ingress/compare."""
import os
import pathlib
import sys

compare = pathlib.Path(__file__).resolve().parent / "ingress" / "compare"
os.execv(compare, [str(compare), *sys.argv[1:]])
