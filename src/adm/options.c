/* SPDX-License-Identifier: Apache-2.0 */
#include "adm/options.h"

#include <stdio.h>
#include <unistd.h>

int cluster_flags(const char *usage, const char *about, struct flag *flags, int argc, char **argv, int *ret_operands)
{
    struct err e = {0};
    int r = flags_parse(flags, argc, argv, ret_operands, NULL, &e);
    if (r == FLAGS_HELP) {
        struct buf b CLEANUP_BUF = BUF_INIT;
        flags_help(flags, &b);
        printf("%s\n\nUsage:\n  %s\n\nFlags:\n%s", about, usage, b.p);
        return 1;
    }
    if (r < 0) {
        fprintf(stderr, "cube: %s; \"cube %s --help\" lists the flags\n", err_text(&e, r), argv[0]);
        return 3;
    }
    return 0;
}

int require_root(const char *command)
{
    if (geteuid() == 0)
        return 0;
    fprintf(stderr, "cube: %s needs root: sudo cube %s\n", command, command);
    return 1;
}

int complain(const struct err *e, int r)
{
    fprintf(stderr, "cube: %s\n", err_text(e, r));
    return 1;
}
