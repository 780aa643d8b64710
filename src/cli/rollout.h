/* SPDX-License-Identifier: Apache-2.0 */
/* Between cmd_rollout.c and rollout_history.c. */
#pragma once

#include "cli/select.h"

/* The objects that a rollout command is about. 0 or 1. */
int rollout_select(struct cli *c, int argc, char **argv, const struct file_flags *files, const char *labels,
                   struct selection *ret);
int cmd_rollout_history(struct cli *c, int argc, char **argv);
int cmd_rollout_undo(struct cli *c, int argc, char **argv);
