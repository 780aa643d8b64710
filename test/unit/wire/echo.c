/* SPDX-License-Identifier: Apache-2.0 */
/* A JSON text a line in, what we make of it out: "= " and the text, or "! " and the reason. */
#include "wire/json.h"

#include <stdio.h>

int main(void)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    while ((n = getline(&line, &size, stdin)) > 0) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct buf b CLEANUP_BUF = BUF_INIT;
        struct err e = {0};
        struct val *v;
        if (json_decode(&a, NULL, str_n(line, (size_t)n - 1), 0, NULL, &v, &e) < 0) {
            printf("! %s\n", e.text);
            continue;
        }
        json_encode(&b, NULL, v, 0);
        printf("= " STR_FMT "\n", STR_ARG(buf_str(&b)));
    }
    free(line);
    return 0;
}
