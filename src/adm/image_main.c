/* SPDX-License-Identifier: Apache-2.0 */
/* cube image import FILE...: puts images from archives where kubelets find them, on every node that runs here or on one. */
#include "adm/adm.h"
#include "adm/nodes.h"
#include "adm/options.h"

#include "base/fiber.h"

#include <stdio.h>

struct image_call {
    struct cluster_config config;
    const char *node; /* NULL: all */
    char **files;
    int n, code;
};

static int import_into(struct image_call *c, const char *node, const char *socket, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *ctr = ctr_of(&a, c->config.containerd);
    for (int i = 0; i < c->n; i++) {
        int r = image_import(ctr, socket, c->files[i], e);
        if (r < 0)
            return err_wrap(e, r, "node %s", node);
        printf("imported %s on %s\n", c->files[i], node);
        fflush(stdout);
    }
    return 0;
}

static int import_further(struct image_call *c, struct arena *a, const struct node_list *all, struct err *e)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < all->n; i++) {
        const char *name = all->list[i].name, *socket = node_socket(a, &all->list[i]);
        if (c->node && strcmp(c->node, name))
            continue;
        if (socket)
            r = import_into(c, name, socket, e);
        else if (c->node)
            r = err_set(e, -ESRCH, "node %s does not run", name);
        else
            printf("node %s does not run: nothing imported there\n", name);
    }
    return r;
}

static int import_all(struct image_call *c, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct node_list all;
    const char *own = c->config.node_name;
    int r = nodes_read(&a, &c->config, &all, e);
    if (r == 0 && c->node && strcmp(c->node, own) && !nodes_find(&all, c->node))
        r = err_set(e, -ENOENT, "there is no node %s on this machine", c->node);
    if (r == 0 && (!c->node || !strcmp(c->node, own)))
        r = import_into(c, own, containerd_socket(&a, &c->config), e);
    return r < 0 ? r : import_further(c, &a, &all, e);
}

static void run(void *arg)
{
    struct image_call *c = arg;
    struct err e = {0};
    int r = import_all(c, &e);
    if (r < 0)
        c->code = complain(&e, r);
}

int image_main(int argc, char **argv)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct image_call c = {0};
    struct err e = {0};
    int operands;
    struct flag flags[] = {
        CLUSTER_FLAGS(&c.config),
        {"node", 0, FLAG_STRING, &c.node, "Only on this node (all that run here)"},
        {0},
    };
    int r = cluster_flags("cube image import FILE... [flags]", "Imports OCI or docker archives into the nodes' images.",
                          flags, argc, argv, &operands);
    if (r)
        return r - 1;
    if (operands < 2 || strcmp(argv[1], "import"))
        return complain(&e, err_set(&e, -EINVAL, "expected: cube image import FILE..."));
    r = cluster_config_load(&a, &c.config, &e);
    if (r == 0)
        r = cluster_config_complete(&a, &c.config, &e);
    if (r < 0)
        return complain(&e, r);
    c.files = argv + 2;
    c.n = operands - 1;
    loop_run(run, &c);
    return c.code;
}
