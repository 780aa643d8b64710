/* SPDX-License-Identifier: Apache-2.0 */
/* kube-proxy as a program. */
#include "proxy/proxy.h"

#include "client/daemon.h"

#include <unistd.h>

struct options {
    struct daemon_flags common;
    struct proxy_config config;
    const char *mode, *node_name;
    bool cleanup;
};

static int run(void *arg, struct client *c, struct err *e)
{
    struct options *o = arg;
    char host[256] = {0};
    if (o->cleanup)
        return proxy_cleanup(o->config.table, e);
    if (strcmp(o->mode, "nftables"))
        return err_set(e, -EINVAL, "--proxy-mode %s is not there yet; nftables is", o->mode);
    gethostname(host, sizeof(host) - 1);
    o->config.client = c;
    o->config.node_name = o->node_name ? o->node_name : host;
    return proxy_run(&o->config, e);
}

int proxy_main(int argc, char **argv)
{
    struct options o = {.mode = "nftables"};
    struct flag flags[] = {
        DAEMON_FLAGS(&o.common),
        {"proxy-mode", 0, FLAG_STRING, &o.mode, "nftables (others are not there yet)"},
        {"hostname-override", 0, FLAG_STRING, &o.node_name, "name of this node (the host name)"},
        {"cluster-cidr", 0, FLAG_STRING, &o.config.cluster_cidr, "range of the pods"},
        {"cleanup", 0, FLAG_BOOL, &o.cleanup, "remove all rules and end"},
        {"nftables-table", 0, FLAG_STRING, &o.config.table, "name of our table (cube-proxy)"},
        {"healthz-bind-address", 0, FLAG_IGNORED, NULL, NULL},
        {"metrics-bind-address", 0, FLAG_IGNORED, NULL, NULL},
        {0},
    };
    struct daemon d = {"kube-proxy", "The service proxy of a node.", flags, &o.common, run, &o};
    return daemon_main(&d, argc, argv);
}
