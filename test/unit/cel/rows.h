/* SPDX-License-Identifier: Apache-2.0 */
/* Files with a JSON object a line, for tests that ask the same of each. */
#pragma once

#include "wire/json.h"

#include <stdio.h>
#include <stdlib.h>

static inline struct str file_text(const char *path, struct buf *b)
{
    FILE *f = fopen(path, "r");
    char chunk[65536];
    size_t n;
    if (!f) {
        perror(path);
        exit(2);
    }
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        buf_put(b, chunk, n);
    fclose(f);
    return buf_str(b);
}

/* The next row, in the arena; NULL at the end. */
static inline struct val *next_row(struct arena *a, struct str *rest)
{
    struct str line;
    struct val *row;
    while (str_next(rest, '\n', &line)) {
        if (!line.n)
            continue;
        if (json_decode(a, NULL, line, 0, NULL, &row, NULL) == 0)
            return row;
        printf("no row: " STR_FMT "\n", STR_ARG(line));
        exit(2);
    }
    return NULL;
}
