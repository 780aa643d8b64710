/* SPDX-License-Identifier: Apache-2.0 */
/* The cluster's DNS server as a program. */
#include "dns/dns.h"

#include "client/daemon.h"

struct options {
    struct daemon_flags common;
    struct dns_config config;
    struct flag_list listen, forward;
    int64_t threads;
};

/* The lists of the flags as the NULL-terminated arrays that the configuration wants. */
static const char *const *terminated(struct arena *a, const struct flag_list *l)
{
    const char **out = ARENA_ARRAY(a, const char *, l->n + 1);
    for (size_t i = 0; i < l->n; i++)
        out[i] = l->items[i];
    return out;
}

static int run(void *arg, struct client *c, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct options *o = arg;
    static const char *const everywhere[] = {"0.0.0.0:53", NULL};
    o->config.client = c;
    o->config.listen = o->listen.n ? terminated(&a, &o->listen) : everywhere;
    o->config.forward = o->forward.n ? terminated(&a, &o->forward) : NULL;
    o->config.threads = (unsigned)o->threads;
    o->config.lame_duck = true;
    return dns_run(&o->config, e);
}

int dns_main(int argc, char **argv)
{
    struct options o = {0};
    struct flag flags[] = {
        DAEMON_FLAGS(&o.common),
        {"conf", 0, FLAG_STRING, &o.config.corefile, "Corefile (the ConfigMap kube-system/coredns)"},
        {"listen", 0, FLAG_STRINGS, &o.listen, "addresses to answer on (0.0.0.0:53)"},
        {"threads", 0, FLAG_INT, &o.threads, "threads that answer (as many as processors, four at most)"},
        {"cluster-domain", 0, FLAG_STRING, &o.config.cluster_domain, "the cluster's domain, without a Corefile (cluster.local)"},
        {"forward", 0, FLAG_STRINGS, &o.forward, "servers for all other names, without a Corefile (those of resolv.conf)"},
        {"resolv-conf", 0, FLAG_STRING, &o.config.resolv_conf, "where they stand (/etc/resolv.conf)"},
        {"ttl", 0, FLAG_DURATION, &o.config.ttl, "how long answers may be kept, without a Corefile (30s)"},
        {0},
    };
    struct daemon d = {"cube-dns", "The DNS server of a cluster.", flags, &o.common, run, &o};
    for (int i = 1; i < argc; i++) /* CoreDNS' own way to write it */
        if (!strcmp(argv[i], "-conf"))
            argv[i] = (char *)"--conf";
    int r = daemon_main(&d, argc, argv);
    flag_list_done(&o.listen);
    flag_list_done(&o.forward);
    return r;
}
