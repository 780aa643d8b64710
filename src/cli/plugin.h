/* SPDX-License-Identifier: Apache-2.0 */
/* Plug-ins: programs in PATH named kubectl-WORD[-WORD...]. */
#pragma once

#include "cli/cli.h"

/* Runs the plug-in that the words from argv[at] on name, the longest name first: its exit code, or -1 when there is none. */
int plugin_run(struct cli *c, int at, int argc, char **argv);
