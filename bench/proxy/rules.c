/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a back end of the proxy costs by itself, in a network namespace of its own (needs root): building everything, the
 * kernel's part of it, and one Service more or one endpoint else when there are many.
 *   rules [nftables|iptables] [SERVICES] [ENDPOINTS-EACH] [MORE]
 */
#include "base/fiber.h"
#include "base/os.h"
#include "proxy/backend.h"

#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static struct node_side node = {.node_name = "here", .zone = "", .nodeports_all = true, .mark = 0x4000, .detect = {.kind = DETECT_CIDR}};
static const struct backend_settings settings = {.table = "cube-bench"};
static const char *mode = "nftables";
static unsigned n_services = 5000, n_each = 50, n_more = 5000;

static void number(struct ip *ip, uint32_t n)
{
    *ip = (struct ip){.family = AF_INET};
    n = htonl(n);
    memcpy(ip->b, &n, 4);
}

static void put(struct backend *b, unsigned i, unsigned each, uint32_t shift)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct service_port *p = ARENA_ARRAY(&a, struct service_port, 1);
    struct service_ports ports = {p, 1};
    *p = (struct service_port){.ns = STR("default"), .service = arena_printf(&a, "s%u", i), .port_name = STR("web"), .proto = "tcp", .l4 = IPPROTO_TCP};
    p->name = arena_printf(&a, "default/s%u:web", i);
    p->port = 80;
    number(&p->cluster_ip, 0x0a600001 + i);
    p->endpoints = ARENA_ARRAY(&a, struct endpoint, each);
    for (unsigned k = 0; k < each; k++) {
        p->endpoints[k] = (struct endpoint){.port = 8080, .ready = true, .serving = true, .in_cluster = true};
        number(&p->endpoints[k].ip, 0x0a6e0001 + i * 64 + k + shift);
    }
    p->n_endpoints = p->n_cluster = p->n_reachable = each;
    p->any = p->inside = p->outside = p->use_cluster = true;
    b->ops->service(b, arena_printf(&a, "default/s%u", i), &ports);
}

static double user(int who)
{
    struct rusage u;
    getrusage(who, &u);
    return (double)u.ru_utime.tv_sec + (double)u.ru_utime.tv_usec / 1e6;
}

static double sys(int who)
{
    struct rusage u;
    getrusage(who, &u);
    return (double)u.ru_stime.tv_sec + (double)u.ru_stime.tv_usec / 1e6;
}

static void commit(struct backend *b, const char *what, struct mono start)
{
    struct err e = {0};
    struct mono built = os_mono();
    double u = user(RUSAGE_SELF) + user(RUSAGE_CHILDREN), s = sys(RUSAGE_SELF) + sys(RUSAGE_CHILDREN);
    int r = b->ops->commit(b, &e);
    if (r < 0) {
        fprintf(stderr, "%s: %s\n", what, e.text);
        exit(1);
    }
    u = user(RUSAGE_SELF) + user(RUSAGE_CHILDREN) - u;
    s = sys(RUSAGE_SELF) + sys(RUSAGE_CHILDREN) - s;
    printf("%-28s built in %9.3f ms, committed in %9.3f ms (user %8.3f, system %8.3f)\n", what, (double)(built.ns - start.ns) / 1e6,
           (double)(os_mono().ns - built.ns) / 1e6, u * 1e3, s * 1e3);
}

static void range(struct backend *b, bool full, unsigned first, unsigned last, unsigned each, uint32_t shift, const char *what)
{
    struct mono start = os_mono();
    b->ops->begin(b, full);
    for (unsigned i = first; i < last; i++)
        put(b, i, each, shift);
    commit(b, what, start);
}

static void body(void *arg UNUSED)
{
    struct err e = {0};
    struct rusage u;
    prefix_parse(STR("10.0.0.0/8"), &node.detect.prefix);
    struct backend *b = !strcmp(mode, "nftables") ? backend_nftables(&node, &settings) : backend_iptables(&node, &settings);
    b->endpoints = (size_t)n_services * n_each;
    range(b, true, 0, n_services, n_each, 0, "all");
    range(b, false, n_services, n_services + n_more, 1, 0, "more");
    unsigned next = n_services + n_more;
    for (unsigned i = 0; i < 4; i++, next++)
        range(b, false, next, next + 1, 1, 0, "one Service more");
    for (unsigned i = 0; i < 3; i++)
        range(b, false, i, i + 1, n_each, 1, "one of its endpoints else");
    range(b, false, 0, MIN(100u, n_services), n_each, 7, "100 at once, one each");
    struct mono start = os_mono();
    int r = b->ops->verify(b, true, &e);
    printf("looked at in %.3f ms: %d %s\n", (double)(os_mono().ns - start.ns) / 1e6, r, e.text);
    range(b, true, 0, n_services, n_each, 0, "all anew");
    getrusage(RUSAGE_SELF, &u);
    printf("most memory %ld MiB\n", u.ru_maxrss / 1024);
    b->ops->free(b);
}

int main(int argc, char **argv)
{
    unsigned *const sizes[] = {&n_services, &n_each, &n_more};
    if (argc > 1)
        mode = argv[1];
    for (int i = 2; i < argc && i < 5; i++)
        *sizes[i - 2] = (unsigned)atoi(argv[i]);
    if (unshare(CLONE_NEWNET) < 0) {
        perror("a network namespace of our own");
        return 1;
    }
    loop_run(body, NULL);
    return 0;
}
