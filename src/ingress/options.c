/* SPDX-License-Identifier: Apache-2.0 */
/* The Ingress controller as a program. */
#include "ingress/ingress.h"

#include "client/daemon.h"

#include <malloc.h>
#include <unistd.h>

struct options {
    struct daemon_flags common;
    struct ingress_config config;
    struct flag_list publish;
};

static int run(void *arg, struct client *c, struct err *e)
{
    struct options *o = arg;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    char host[256] = {0};
    const char **publish = ARENA_ARRAY(&a, const char *, o->publish.n + 1);
    gethostname(host, sizeof(host) - 1);
    for (size_t i = 0; i < o->publish.n; i++)
        publish[i] = o->publish.items[i];
    o->config.publish = publish;
    o->config.node_name = host;
    o->config.client = c;
    mallopt(M_ARENA_MAX, 8); /* threads that serve allocate, too */
    return ingress_run(&o->config, e);
}

int ingress_main(int argc, char **argv)
{
    struct options o = {.config = {.http = ":80", .https = ":443"}};
    struct flag flags[] = {
        DAEMON_FLAGS(&o.common),
        {"http-address", 0, FLAG_STRING, &o.config.http, "where to listen for HTTP (:80)"},
        {"https-address", 0, FLAG_STRING, &o.config.https, "where to listen for HTTPS (:443)"},
        {"public-https-port", 0, FLAG_INT, &o.config.public_https_port, "the port that redirects to HTTPS name (that of --https-address)"},
        {"publish-address", 0, FLAG_STRINGS, &o.publish, "addresses or names for the Ingresses' status"},
        {"trusted-proxies", 0, FLAG_STRING, &o.config.trusted_proxies, "ranges of proxies whose X-Forwarded headers are believed (none)"},
        {"access-log", 0, FLAG_STRING, &o.config.access_log, "file for a line a request (none)"},
        {"header-timeout", 0, FLAG_DURATION, &o.config.header_timeout, "for all headers of a request, from its first byte on (10s)"},
        {"metrics-address", 0, FLAG_STRING, &o.config.metrics, "where to serve /metrics, /healthz and /readyz (nowhere)"},
        {"threads", 0, FLAG_INT, &o.config.threads, "threads that serve (one a processor, at most 8)"},
        {0},
    };
    struct daemon d = {"cube-ingress", "The Ingress controller.", flags, &o.common, run, &o};
    int code = daemon_main(&d, argc, argv);
    flag_list_done(&o.publish);
    return code;
}
