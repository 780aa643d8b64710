/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of objects: made here by type/print.h for kinds that are compiled in, or taken from a server's Table. */
#pragma once

#include "cli/kinds.h"
#include "cli/tab.h"

struct table_style {
    bool no_headers, wide, show_labels;
    bool with_namespace, with_kind;
    const struct flag_list *label_columns; /* NULL for none */
};

/* A table that grows. Text is kept with tabs until table_flush. */
struct table {
    struct table_style style;
    struct buf text;
    struct tab_widths widths; /* of what was flushed, when `remember` */
    bool remember;
    const struct kind *kind;  /* of the last rows; a new one starts with a new header */
    const struct val *columns; /* of the last server's Table */
    bool any;                  /* something was written since the start */
};

/* A row of an object (typed by its kind's type). event: "ADDED" ... in front, empty for none. */
void table_add(struct cli *c, struct table *t, const struct kind *k, const struct val *v, struct str event);
/* The rows of a server's Table. */
void table_add_server(struct cli *c, struct table *t, const struct kind *k, const struct val *server, struct str event);
/* Writes what there is. */
void table_flush(struct cli *c, struct table *t);

/* A cell as it is printed: cut at the first line end, escapes made harmless. */
void table_put_cell(struct buf *b, struct str s);
