/* SPDX-License-Identifier: Apache-2.0 */
/* The announcer as a program. */
#include "announce/announce.h"

#include "client/daemon.h"

#include <unistd.h>

struct options {
    struct daemon_flags common;
    struct announce_config config;
    struct flag_list links;
};

static int run(void *arg, struct client *c, struct err *e)
{
    struct options *o = arg;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    char host[256] = {0};
    gethostname(host, sizeof(host) - 1);
    o->config.client = c;
    o->config.node_name = o->config.node_name ? o->config.node_name : host;
    if (o->links.n) {
        const char **links = ARENA_ARRAY(&a, const char *, o->links.n + 1);
        memcpy(links, o->links.items, o->links.n * sizeof(*links));
        o->config.links = links;
    }
    return announce_run(&o->config, e);
}

int announce_main(int argc, char **argv)
{
    struct options o = {0};
    struct announce_config *c = &o.config;
    struct flag flags[] = {
        DAEMON_FLAGS(&o.common),
        {"node-name", 0, FLAG_STRING, &c->node_name, "name of this node (the host name)"},
        {"cluster-cidr", 0, FLAG_STRING, &c->pod_cidr, "all pods' ranges: links with such addresses are left out"},
        {"iface", 0, FLAG_STRINGS, &o.links, "links to announce addresses on (all with an address of their own)"},
        {"lease-duration", 0, FLAG_DURATION, &c->lease_ns, "after so much silence another node takes over (9s)"},
        {0},
    };
    struct daemon d = {"cube-announce", "Addresses of LoadBalancer Services on this node's links, by ARP and neighbour discovery.", flags,
                       &o.common, run, &o};
    int code = daemon_main(&d, argc, argv);
    flag_list_done(&o.links);
    return code;
}
