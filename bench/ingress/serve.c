/* SPDX-License-Identifier: Apache-2.0 */
/* The Ingress controller's data plane by itself, for bench/ingress/compare: serves HOSTS hosts of ten paths each, all by one endpoint. */
#include "ingress/plane.h"

#include "base/fiber.h"
#include "resources.h"
#include "type/meta.h"
#include "wire/json.h"

#include <signal.h>
#include <stdio.h>

struct args {
    const char *http, *https, *endpoint;
    int threads, hosts;
    int code;
};

static struct object *object_of(struct arena *a, unsigned res, struct str json)
{
    struct err e;
    struct val *v;
    if (json_decode(a, resources[res].type, json, 0, NULL, &v, &e) < 0)
        panic("%s", e.text);
    return object_new(&resources[res], v);
}

static struct str ingress_json(struct arena *a, int host)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_printf(&b, "{\"metadata\":{\"name\":\"i%d\",\"namespace\":\"a\"},\"spec\":{\"ingressClassName\":\"cube\",\"rules\":[{\"host\":\"h%d.test\",\"http\":{\"paths\":[", host, host);
    for (int i = 0; i < 10; i++) {
        buf_puts(&b, i ? ",{\"path\":\"/p" : "{\"path\":\"/");
        if (i)
            buf_printf(&b, "%d", i);
        buf_puts(&b, "\",\"pathType\":\"Prefix\",\"backend\":{\"service\":{\"name\":\"web\",\"port\":{\"number\":80}}}}");
    }
    buf_puts(&b, "]}}]}}");
    return arena_str(a, buf_str(&b));
}

static struct table *make_table(const struct args *g, struct maker *m)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct service_index services = {0};
    struct tree *ingresses = NULL, *classes = NULL;
    struct problem *problems;
    struct map secrets = MAP_INIT;
    size_t n, ours;
    struct str ip, port;
    str_cut(str_of(g->endpoint), ':', &ip, &port);
    classes = tree_put(classes, STR("cube"), object_of(&a, RES_INGRESSCLASSES, STR("{\"metadata\":{\"name\":\"cube\"},\"spec\":{\"controller\":\"" INGRESS_CONTROLLER "\"}}")));
    struct object *service = object_of(&a, RES_SERVICES, STR("{\"metadata\":{\"name\":\"web\",\"namespace\":\"a\",\"uid\":\"w\"},\"spec\":{\"ports\":[{\"port\":80}]}}"));
    struct object *slice = object_of(&a, RES_ENDPOINTSLICES,
        arena_printf(&a, "{\"metadata\":{\"name\":\"web-1\",\"namespace\":\"a\",\"uid\":\"s\",\"labels\":{\"kubernetes.io/service-name\":\"web\"}},\"addressType\":\"IPv4\","
                         "\"ports\":[{\"port\":" STR_FMT "}],\"endpoints\":[{\"addresses\":[\"" STR_FMT "\"]}]}", STR_ARG(port), STR_ARG(ip)));
    service_index_changed(&services, service->res, NULL, service, NULL, NULL);
    service_index_changed(&services, slice->res, NULL, slice, NULL, NULL);
    for (int i = 0; i < g->hosts; i++)
        ingresses = tree_put(ingresses, arena_printf(&a, "a/i%d", i), object_of(&a, RES_INGRESSES, ingress_json(&a, i)));
    struct mono start = os_mono();
    const struct table_input in = {ingresses, classes, &services, NULL, NULL};
    struct table *t = table_make(m, &in, &a, &problems, &n, &secrets, &ours);
    fprintf(stderr, "%d rules: %.1f ms, %zu problems\n", g->hosts * 10, (double)(os_mono().ns - start.ns) / 1e6, n);
    tree_unref(ingresses);
    tree_unref(classes);
    service_index_done(&services);
    map_done(&secrets);
    return t;
}

static void run(void *arg)
{
    struct args *g = arg;
    struct maker *m = maker_new();
    struct table *t = make_table(g, m);
    struct plane_config c = {.http = g->http, .https = g->https, .threads = (unsigned)g->threads, .access_log = -1, .no_rule = maker_no_rule(m)};
    struct plane *p;
    struct err e;
    if (plane_start(&c, t, &p, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        g->code = 1;
    } else {
        os_wait_signal(MONO_NEVER);
        plane_stop(p);
    }
    table_unref(t);
    maker_free(m);
}

int main(int argc, char **argv)
{
    struct args g = {0};
    signal(SIGPIPE, SIG_IGN);
    if (argc != 6) {
        fprintf(stderr, "usage: %s HTTP-ADDRESS HTTPS-ADDRESS ENDPOINT THREADS HOSTS\n", argv[0]);
        return 2;
    }
    g.http = argv[1];
    g.https = argv[2];
    g.endpoint = argv[3];
    g.threads = atoi(argv[4]);
    g.hosts = atoi(argv[5]);
    loop_run(run, &g);
    return g.code;
}
