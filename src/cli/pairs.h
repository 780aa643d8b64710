/* SPDX-License-Identifier: Apache-2.0 */
/* "KEY=VALUE" and "KEY-" operands of label, annotate, taint, set env. */
#pragma once

#include "cli/cli.h"

struct pair {
    struct str key, value;
    bool remove; /* "KEY-" */
};

struct pairs {
    struct pair *items; /* in the arena */
    size_t n;
    int n_operands; /* argc without the pairs, which stand at the end */
};

/* Splits operands into what comes before the first pair and the pairs. what: "label", "annotation". 0 or 1. */
int pairs_split(struct cli *c, int argc, char **argv, const char *what, struct pairs *ret);
