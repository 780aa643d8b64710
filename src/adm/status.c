/* SPDX-License-Identifier: Apache-2.0 */
/* cube status: is the cluster of this machine running, does it serve, is its node ready. Exit code 0 only when all is. */
#include "adm/adm.h"
#include "adm/nodes.h"
#include "adm/options.h"

#include "base/fiber.h"
#include "base/os.h"
#include "client/https.h"
#include "client/kubeconfig.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

#include <stdio.h>

struct status_call {
    struct cluster_config config;
    int code;
};

static const char *memory_of(struct arena *a, pid_t pid)
{
    struct str text, line;
    if (os_read_file(a, arena_printf(a, "/proc/%d/status", (int)pid).p, 65536, &text) < 0)
        return "?";
    while (str_next(&text, '\n', &line))
        if (str_starts(line, STR("VmRSS:")))
            return arena_cstr(a, str_trim(str_from(line, 6)));
    return "?";
}

static int print_nodes(struct arena *a, struct client *client, struct err *e)
{
    const struct val *list;
    struct status s;
    status_init(&s, a);
    int r = client_list(client, CALL(.res = &resources[RES_NODES]), a, &list, &s), not_ready = 0;
    if (r)
        return err_set(e, -EIO, "the API does not answer: " STR_FMT,
                       STR_ARG(r > 0 ? s.message : str_of(strerror(-r))));
    VAL_EACH(val_get(list, N_items), node)
    {
        bool ready = condition_is(val_at(node, N_status, N_conditions), STR("Ready"), "True");
        printf("node        " STR_FMT " is %s\n", STR_ARG(obj_name(node)), ready ? "ready" : "not ready");
        not_ready += !ready;
    }
    if (not_ready)
        return err_set(e, -EAGAIN, "%d of %zu nodes are not ready", not_ready, val_len(val_get(list, N_items)));
    return 0;
}

/* Nodes of ours that are not up: the API knows them only as not ready. */
static int print_stopped(struct arena *a, const struct cluster_config *c, struct err *e)
{
    struct node_list all;
    int r = nodes_read(a, c, &all, e);
    for (size_t i = 0; r == 0 && i < all.n; i++)
        if (!node_pid(&all.list[i]))
            printf("node        %s is %s\n", all.list[i].name,
                   all.list[i].stopped ? "stopped; \"cube node start\" starts it" : "down");
    return r;
}

static int report(struct arena *a, struct status_call *s, struct err *e)
{
    struct client *client;
    pid_t pid = cluster_pid(&s->config);
    if (!pid)
        return err_set(e, -ESRCH, "no cluster runs with --data-dir %s; start one with \"cube up\"", s->config.data_dir);
    printf("process     pid %d, %s resident\n", (int)pid, memory_of(a, pid));
    const char *path = arena_printf(a, "%s/admin.conf", s->config.conf_dir).p;
    int r = kubeconfig_client(path, "cube-status", &client, e);
    if (r < 0)
        return r;
    printf("kubeconfig  %s\n", path);
    r = print_stopped(a, &s->config, e);
    if (r == 0)
        r = print_nodes(a, client, e);
    client_free(client);
    return r;
}

static void run_report(void *arg)
{
    struct status_call *s = arg;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    int r = report(&a, s, &e);
    if (r < 0)
        s->code = complain(&e, r);
}

int status_main(int argc, char **argv)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status_call s = {0};
    struct err e = {0};
    int operands;
    struct flag flags[] = {CLUSTER_FLAGS(&s.config), {0}};
    int r = cluster_flags("cube status [flags]", "Tells how the cluster of this machine is.", flags, argc, argv,
                          &operands);
    if (r)
        return r - 1;
    r = cluster_config_load(&a, &s.config, &e);
    if (r == 0)
        r = cluster_config_complete(&a, &s.config, &e);
    if (r < 0)
        return complain(&e, r);
    loop_run(run_report, &s);
    return s.code;
}
