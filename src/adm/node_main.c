/* SPDX-License-Identifier: Apache-2.0 */
/* cube node: further nodes on this machine, by hand. */
#include "adm/adm.h"
#include "adm/nodes.h"
#include "adm/options.h"

#include "base/fiber.h"
#include "base/os.h"
#include "client/kubeconfig.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

#include <stdio.h>

struct node_call {
    struct cluster_config config;
    const struct node_verb *verb;
    const char *name; /* NULL: none was given */
    bool graceful;
    int64_t timeout;
    struct arena arena;
    int code;
};

static int api(struct node_call *c, struct client **ret, struct err *e)
{
    return kubeconfig_client(arena_printf(&c->arena, "%s/admin.conf", c->config.conf_dir).p, "cube-node", ret,
                             e);
}

static int find(struct node_call *c, struct node_list *all, struct node **ret, struct err *e)
{
    int r = nodes_read(&c->arena, &c->config, all, e);
    if (r < 0)
        return r;
    if (!strcmp(c->name, c->config.node_name))
        return err_set(e, -EINVAL,
                       "node %s is this machine itself: \"cube up\" and \"cube down\" start and stop it",
                       c->name);
    *ret = nodes_find(all, c->name);
    return *ret ? 0
                : err_set(e, -ENOENT,
                          "there is no further node %s on this machine; \"cube node list\" shows them",
                          c->name);
}

/* 1 ready, 0 not, negative when the API cannot be asked. What was said before `since` is of the node's life
 * before. */
static int is_ready(struct client *client, const char *name, struct wall since)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct val *node = NULL;
    struct status s;
    status_init(&s, &a);
    int r = client_get(client, CALL(.res = &resources[RES_NODES], .name = str_of(name)), &a, &node, &s);
    const struct val *ready =
        r == 0 ? condition_find(val_at(node, N_status, N_conditions), STR("Ready")) : NULL;
    return r < 0 ? r
                 : str_is(val_getstr(ready, N_status), "True") &&
                       val_time(val_get(ready, N_lastHeartbeatTime)).ns >= since.ns - since.ns % NSEC_PER_SEC;
}

static int wait_ready(struct node_call *c, const char *name, struct wall since, struct err *e)
{
    struct client *client;
    struct mono deadline = mono_add(os_mono(), c->timeout);
    int r = api(c, &client, e);
    if (r < 0)
        return r;
    while ((r = is_ready(client, name, since)) == 0 && os_mono().ns < deadline.ns)
        if ((r = fiber_sleep(MILLISECONDS(50))) < 0)
            break;
    client_free(client);
    return r > 0   ? 0
           : r < 0 ? r
                   : err_set(e, -ETIMEDOUT, "node %s is not ready after %lld s", name,
                             (long long)(c->timeout / NSEC_PER_SEC));
}

/* ---- the verbs ------------------------------------------------------------------------------------ */

static int start(struct node_call *c, struct node *n, struct err *e)
{
    if (!cluster_pid(&c->config)) {
        n->stopped = false;
        int r = node_save(n, e);
        if (r == 0)
            printf("node %s starts with \"cube up\"\n", n->name);
        return r;
    }
    struct wall since = os_wall();
    int r = node_start(&c->config, n, e);
    if (r == 0)
        r = wait_ready(c, n->name, since, e);
    if (r == 0)
        printf("node %s is ready at %s\n", n->name, n->cluster.advertise);
    return r;
}

static int do_add(struct node_call *c, struct err *e)
{
    struct node n;
    int r = nodes_add(&c->arena, &c->config, c->name, &n, e);
    return r < 0 ? r : start(c, &n, e);
}

static int do_start(struct node_call *c, struct err *e)
{
    struct node_list all;
    struct node *n;
    int r = find(c, &all, &n, e);
    return r < 0 ? r : start(c, n, e);
}

static int do_stop(struct node_call *c, struct err *e)
{
    struct node_list all;
    struct node *n;
    int r = find(c, &all, &n, e);
    if (r == 0)
        r = node_stop(&c->config, n, c->graceful, e);
    if (r == 0)
        printf("node %s is stopped\n", n->name);
    return r;
}

/* Nobody is left who could tell that its pods have ended: they are deleted without grace, rather than found
 * to be orphans by the pod garbage collector a minute later. */
static void forget_pods(struct node_call *c, struct client *client, const struct node *n)
{
    struct status s;
    const struct val *list = NULL;
    struct str selector = arena_printf(&c->arena, "spec.nodeName=%s", n->name);
    status_init(&s, &c->arena);
    if (client_list(client, CALL(.res = &resources[RES_PODS], .field_selector = selector), &c->arena, &list,
                    &s))
        return;
    VAL_EACH (val_get(list, N_items), pod)
        client_delete(client,
                      CALL(.res = &resources[RES_PODS], .ns = obj_namespace(pod), .name = obj_name(pod),
                           .uid = obj_uid(pod), .grace_seconds = 0),
                      &c->arena, NULL, &s);
}

static int forget(struct node_call *c, const struct node *n, struct err *e)
{
    struct client *client = NULL;
    struct status s;
    int r = api(c, &client, e);
    if (r < 0)
        return r;
    status_init(&s, &c->arena);
    r = client_delete(client, CALL(.res = &resources[RES_NODES], .name = str_of(n->name)), &c->arena, NULL,
                      &s);
    r = r == 0 || r == 404 ? 0
                           : err_set(e, -EIO, "the Node object cannot be deleted: " STR_FMT,
                                     STR_ARG(r > 0 ? s.message : str_of(strerror(-r))));
    if (r == 0)
        forget_pods(c, client, n);
    client_free(client);
    return r;
}

static int do_remove(struct node_call *c, struct err *e)
{
    struct node_list all;
    struct node *n;
    int r = find(c, &all, &n, e);
    if (r == 0)
        r = node_remove(&c->config, n, e);
    if (r == 0 && cluster_pid(&c->config))
        r = forget(c, n, e);
    else if (r == 0)
        printf("the cluster does not run: later, \"cube kubectl delete node %s\" removes it from the API\n",
               n->name);
    if (r == 0)
        printf("node %s is removed\n", n->name);
    return r;
}

static int do_list(struct node_call *c, struct err *e)
{
    struct node_list all;
    int r = nodes_read(&c->arena, &c->config, &all, e);
    if (r < 0)
        return r;
    printf("%-24s %-16s %s\n", "NAME", "ADDRESS", "STATE");
    printf("%-24s %-16s %s\n", c->config.node_name, c->config.advertise,
           cluster_pid(&c->config) ? "running" : "down");
    for (size_t i = 0; i < all.n; i++) {
        const struct node *n = &all.list[i];
        printf("%-24s %-16s %s\n", n->name, n->cluster.advertise,
               node_pid(n)  ? "running"
               : n->stopped ? "stopped"
                            : "down");
    }
    return 0;
}

static const struct node_verb {
    const char *name;
    int (*run)(struct node_call *c, struct err *e);
    int names_min, names_max;
    bool root;
} verbs[] = {
    {"add", do_add, 0, 1, true},     {"remove", do_remove, 1, 1, true}, {"stop", do_stop, 1, 1, true},
    {"start", do_start, 1, 1, true}, {"list", do_list, 0, 0, false},
};

static const struct node_verb *find_verb(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        if (!strcmp(verbs[i].name, name))
            return &verbs[i];
    return NULL;
}

static void call(void *arg)
{
    struct node_call *c = arg;
    struct err e = {0};
    int r = c->verb->run(c, &e);
    if (r < 0)
        c->code = complain(&e, r);
}

#define USAGE "cube node add [NAME] | remove NAME | stop [--graceful] NAME | start NAME | list"

/* Not for people: what a node's own processes are started as. */
static bool is_inner(int argc, char **argv, const char *what)
{
    return argc == 4 && !strcmp(argv[1], what) && !strcmp(argv[2], "--dir");
}

int node_main(int argc, char **argv)
{
    struct node_call c = {.timeout = SECONDS(60)};
    struct err e = {0};
    int operands;
    if (is_inner(argc, argv, "run"))
        return node_run_main(argv[3]);
    if (is_inner(argc, argv, "agent"))
        return node_agent_main(argv[3]);
    struct flag flags[] = {
        CLUSTER_FLAGS(&c.config),
        {"graceful", 0, FLAG_BOOL, &c.graceful, "stop: let containers end first, each within its grace"},
        {"timeout", 0, FLAG_DURATION, &c.timeout, "How long to wait until a node is ready (1m)"},
        {0},
    };
    int r = cluster_flags(USAGE " [flags]", "Further nodes on this machine, in namespaces of their own.",
                          flags, argc, argv, &operands);
    if (r)
        return r - 1;
    c.verb = operands ? find_verb(argv[1]) : NULL;
    if (!c.verb || operands - 1 < c.verb->names_min || operands - 1 > c.verb->names_max)
        return complain(&e, err_set(&e, -EINVAL, "expected: " USAGE));
    if (c.verb->root && (r = require_root("node")))
        return r;
    c.name = operands > 1 ? argv[2] : NULL;
    r = cluster_config_load(&c.arena, &c.config, &e);
    if (r == 0)
        r = cluster_config_complete(&c.arena, &c.config, &e);
    if (r == 0)
        r = cluster_config_check(&c.config, &e);
    if (r < 0)
        c.code = complain(&e, r);
    else
        loop_run(call, &c);
    arena_done(&c.arena);
    return c.code;
}
