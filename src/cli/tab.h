/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Columns from tabs, as Go's text/tabwriter aligns them: a cell ends with a tab, a column is a run of lines that have
 * a cell there, text after the last tab of a line belongs to no column. Widths count characters.
 */
#pragma once

#include "base/str.h"

struct tab_style {
    unsigned min_width, padding;
};
#define TAB_TABLE ((struct tab_style){6, 3})    /* kubectl get */
#define TAB_DESCRIBE ((struct tab_style){0, 2}) /* kubectl describe */

/* Widths that later texts must not fall below: a table that grows while it is watched. Zeroed is none. */
struct tab_widths {
    unsigned *w;
    size_t n;
};

void tab_align(struct buf *out, struct str text, struct tab_style style, struct tab_widths *remember);
void tab_widths_done(struct tab_widths *w);

/* How many characters a text has (UTF-8). */
unsigned text_width(struct str s);
