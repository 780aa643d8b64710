/* SPDX-License-Identifier: Apache-2.0 */
/* The overlay as a program. */
#include "overlay/overlay.h"

#include "client/daemon.h"

#include <unistd.h>

struct options {
    struct daemon_flags common;
    struct overlay_config config;
};

static int run(void *arg, struct client *c, struct err *e)
{
    struct options *o = arg;
    char host[256] = {0};
    gethostname(host, sizeof(host) - 1);
    o->config.client = c;
    o->config.node_name = o->config.node_name ? o->config.node_name : host;
    return overlay_run(&o->config, e);
}

int overlay_main(int argc, char **argv)
{
    struct options o = {0};
    struct flag flags[] = {
        DAEMON_FLAGS(&o.common),
        {"node-name", 0, FLAG_STRING, &o.config.node_name, "name of this node (the host name)"},
        {"cluster-cidr", 0, FLAG_STRING, &o.config.cluster_cidr, "all pods' ranges, comma separated (any)"},
        {"backend", 0, FLAG_STRING, &o.config.backend, "how packets travel: host-gw"},
        {0},
    };
    struct daemon d = {
        "cube-overlay", "The network between the pods of different nodes.", flags, &o.common, run, &o};
    return daemon_main(&d, argc, argv);
}
