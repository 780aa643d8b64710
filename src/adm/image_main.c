/* SPDX-License-Identifier: Apache-2.0 */
/* cube image import FILE...: puts images from archives where the kubelet finds them. */
#include "adm/adm.h"
#include "adm/options.h"

#include "base/fiber.h"

#include <stdio.h>

struct image_call {
    struct cluster_config config;
    char **files;
    int n, code;
};

static void import_all(void *arg)
{
    struct image_call *c = arg;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    for (int i = 0; i < c->n && !c->code; i++) {
        struct err e = {0};
        int r = image_import(containerd_socket(&a, &c->config), c->files[i], &e);
        if (r < 0)
            c->code = complain(&e, r);
        else
            printf("imported %s\n", c->files[i]);
    }
}

int image_main(int argc, char **argv)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct image_call c = {0};
    struct err e = {0};
    int operands;
    struct flag flags[] = {CLUSTER_FLAGS(&c.config), {0}};
    int r = cluster_flags("cube image import FILE... [flags]", "Imports OCI or docker archives into the node's images.",
                          flags, argc, argv, &operands);
    if (r)
        return r - 1;
    if (operands < 2 || strcmp(argv[1], "import"))
        return complain(&e, err_set(&e, -EINVAL, "expected: cube image import FILE..."));
    r = cluster_config_complete(&a, &c.config, &e);
    if (r < 0)
        return complain(&e, r);
    c.files = argv + 2;
    c.n = operands - 1;
    loop_run(import_all, &c);
    return c.code;
}
