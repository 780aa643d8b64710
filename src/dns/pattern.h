/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular expressions as Corefiles write them (Go's syntax), by the C library's. What it has no counterpart for, lazy
 * repetition and Unicode classes, is refused by name.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"

#include <regex.h>

enum { PATTERN_GROUPS = 16 };

struct pattern {
    regex_t regex;
    size_t n;                       /* groups, the whole match among them */
    unsigned at[PATTERN_GROUPS];    /* where the library counts each */
    struct str name[PATTERN_GROUPS]; /* (?P<name>...); empty: none */
};

/* pattern_done frees. -EINVAL with a sentence. */
int pattern_compile(struct arena *a, struct str text, struct pattern *ret, struct err *e);
void pattern_done(struct pattern *p);
/* Finds it anywhere in text (NUL-terminated); groups that took no part are empty. */
bool pattern_find(const struct pattern *p, const char *text, struct str ret_groups[static PATTERN_GROUPS]);
