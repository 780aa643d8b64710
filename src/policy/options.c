/* SPDX-License-Identifier: Apache-2.0 */
/* Network policy as a program. */
#include "policy/policy.h"

#include "client/daemon.h"

#include <unistd.h>

struct options {
    struct daemon_flags common;
    struct policy_config config;
    bool cleanup;
};

static int run(void *arg, struct client *c, struct err *e)
{
    struct options *o = arg;
    char host[256] = {0};
    if (o->cleanup)
        return policy_cleanup(o->config.table, e);
    gethostname(host, sizeof(host) - 1);
    o->config.client = c;
    if (!o->config.node_name)
        o->config.node_name = host;
    return policy_run(&o->config, e);
}

int policy_main(int argc, char **argv)
{
    struct options o = {0};
    struct flag flags[] = {
        DAEMON_FLAGS(&o.common),
        {"node-name", 0, FLAG_STRING, &o.config.node_name, "name of this node (the host name)"},
        {"nftables-table", 0, FLAG_STRING, &o.config.table, "name of our table (cube-policy)"},
        {"cleanup", 0, FLAG_BOOL, &o.cleanup, "remove all rules and end"},
        {0},
    };
    struct daemon d = {"cube-policy", "NetworkPolicy on a node.", flags, &o.common, run, &o};
    return daemon_main(&d, argc, argv);
}
