/* SPDX-License-Identifier: Apache-2.0 */
/* Deleting objects, for delete, replace --force, apply --prune, run --rm. */
#pragma once

#include "cli/printer.h"
#include "cli/select.h"

struct deletion {
    const char *dry, *cascade, *output;
    const char *policy; /* "Background" ... */
    int dry_run;
    bool force, now, ignore_missing, wait, quiet;
    int64_t grace, timeout; /* grace -1: the object's own; timeout in ns, 0: none */
};

enum { DELETE_MISSING = -2 };

/* Checks the flags and works out what they mean together. 0 or 1. */
int delete_prepare(struct cli *c, struct deletion *d);
/* 0; DELETE_MISSING when that is to be ignored; or 1 after the error was said. */
int delete_one(struct cli *c, const struct deletion *d, const struct info *i, struct str *ret_uid);
/* All of them, and waits as asked. 0 or 1. */
int delete_all(struct cli *c, const struct deletion *d, const struct selection *sel, size_t *ret_found);
