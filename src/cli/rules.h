/* SPDX-License-Identifier: Apache-2.0 */
/* Policy rules broken down to a line for each resource, as describe and auth can-i --list show them. */
#pragma once

#include "cli/cli.h"

/* One line: a resource with the verbs of all rules that name it, or a URL with one verb. */
struct rule_line {
    struct str what, urls, names;
    struct str group, resource;
    struct buf verbs; /* with spaces between them */
    struct str order; /* upstream sorts by the text of the whole rule, verbs first */
};

struct rule_lines {
    struct cli *c;
    struct rule_line *items;
    size_t n;
};

void rules_add(struct rule_lines *l, const struct val *rule);
void rules_sort(struct rule_lines *l);
void rules_done(struct rule_lines *l);
