/* SPDX-License-Identifier: Apache-2.0 */
/* How fast a container may receive (a token bucket on the host's end of its cable) and send (the same on a device of its own
 * that all it sends is led through). */
#include "cni/cni.h"

#include "base/os.h"
#include "netlink/rtnl.h"

#include <stdio.h>

enum { LEAST_BURST = 32 * 1024, LATENCY_MS = 25 };

uint32_t cni_bucket(uint64_t rate_bits, uint64_t burst_bits)
{
    uint64_t bytes = burst_bits ? burst_bits / 8 : rate_bits / 8 / 10; /* a tenth of a second's worth */
    bytes = MAX(bytes, (uint64_t)LEAST_BURST);
    return (uint32_t)MIN(bytes, (uint64_t)UINT32_MAX / 4);
}

static uint32_t backlog(uint64_t rate_bytes, uint32_t bucket)
{
    double n = (double)rate_bytes * LATENCY_MS / 1000 + bucket;
    return n > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)n;
}

static void limit(struct rtnl_batch *b, int link, uint64_t rate, uint64_t burst)
{
    uint32_t bucket = cni_bucket(rate, burst);
    rtnl_add_tbf(b, link, rate / 8, bucket, backlog(rate / 8, bucket));
}

static void device_name(const struct cni_request *r, char ret[static IFNAMSIZ])
{
    char key[512];
    int n = snprintf(key, sizeof(key), "%s@%s@" STR_FMT, r->container, r->ifname, STR_ARG(r->name));
    uint64_t hash = str_hash(str_n(key, MIN((size_t)n, sizeof(key) - 1)));
    snprintf(ret, IFNAMSIZ, "bwp%012llx", (unsigned long long)(hash & 0xffffffffffffull));
}

/* The host's end of the cable, as an earlier plug-in (or we) told it. */
static const char *host_end(const struct cni_result *result)
{
    for (size_t i = 0; i < result->n_interfaces; i++)
        if (!result->interfaces[i].sandbox && cni_is_host_link(result->interfaces[i].name))
            return result->interfaces[i].name;
    return NULL;
}

static bool is_limited(const struct cni_bandwidth *w)
{
    return w->ingress_rate || w->egress_rate;
}

static int limit_egress(struct rtnl *n, const struct cni_request *r, const struct rtnl_link *host, const char *name)
{
    struct rtnl_batch b CLEANUP_BATCH = {0};
    struct rtnl_link device;
    rtnl_add_link(&b, "ifb", name, host->mtu, NULL);
    int c = rtnl_run(n, &b, NULL);
    c = c == 0 || c == -EEXIST ? rtnl_link_read(n, name, &device) : c;
    if (c < 0)
        return c;
    limit(&b, device.index, r->bandwidth.egress_rate, r->bandwidth.egress_burst);
    rtnl_add_redirect(&b, host->index, device.index);
    return rtnl_run(n, &b, NULL);
}

void cni_bandwidth_notes(const struct cni_request *r, struct buf *notes)
{
    char name[IFNAMSIZ];
    device_name(r, name);
    if (r->bandwidth.egress_rate)
        buf_printf(notes, "link %s\n", name);
}

int cni_bandwidth_add(const struct cni_request *r, const struct cni_result *result, struct err *e)
{
    const struct cni_bandwidth *w = &r->bandwidth;
    struct rtnl_batch b CLEANUP_BATCH = {0};
    struct rtnl n = {0};
    struct rtnl_link host;
    char name[IFNAMSIZ];
    const char *end = host_end(result);
    if (!is_limited(w))
        return 0;
    if (!end)
        return err_set(e, CNI_BAD_CONFIG, "bandwidth: prevResult names no host's end of the cable");
    device_name(r, name);
    int c = rtnl_open(&n, -1);
    c = c ? c : rtnl_link_read(&n, end, &host);
    if (c == 0 && w->ingress_rate) {
        limit(&b, host.index, w->ingress_rate, w->ingress_burst);
        c = rtnl_run(&n, &b, NULL);
    }
    if (c == 0 && w->egress_rate)
        c = limit_egress(&n, r, &host, name);
    rtnl_close(&n);
    return c < 0 ? err_set(e, CNI_FAILED, "the bandwidth of %s cannot be limited: %s", end, strerror(-c)) : 0;
}

void cni_bandwidth_del(struct str notes)
{
    struct rtnl_batch b CLEANUP_BATCH = {0};
    struct rtnl n = {0};
    struct str line, word, name;
    while (notes.n && str_next(&notes, '\n', &line)) {
        char text[IFNAMSIZ];
        struct rtnl_link l;
        if (!str_cut(line, ' ', &word, &name) || !str_is(word, "link") || !str_starts(name, STR("bwp")) || name.n >= IFNAMSIZ)
            continue;
        snprintf(text, sizeof(text), STR_FMT, STR_ARG(name));
        if ((n.fd || rtnl_open(&n, -1) == 0) && rtnl_link_read(&n, text, &l) == 0 && !strcmp(l.kind, "ifb"))
            rtnl_delete_link(&b, l.index);
    }
    if (b.n)
        rtnl_run(&n, &b, NULL);
    rtnl_close(&n);
}

static int check_rate(struct rtnl *n, const char *name, uint64_t want, struct err *e)
{
    struct rtnl_link l;
    uint64_t rate;
    uint32_t burst;
    if (!want)
        return 0;
    if (rtnl_link_read(n, name, &l) < 0 || rtnl_tbf_read(n, l.index, &rate, &burst) < 0 || rate != MAX(want / 8, (uint64_t)1))
        return err_set(e, CNI_CHECK_FAILED, "the bandwidth of %s is not limited as it was", name);
    return 0;
}

int cni_bandwidth_check(const struct cni_request *r, const struct cni_result *result, struct err *e)
{
    struct rtnl n = {0};
    char name[IFNAMSIZ];
    const char *end = host_end(result);
    if (!is_limited(&r->bandwidth) || !end)
        return 0;
    device_name(r, name);
    if (rtnl_open(&n, -1) < 0)
        return err_set(e, CNI_IO, "no netlink socket");
    int c = check_rate(&n, end, r->bandwidth.ingress_rate, e);
    c = c ? c : check_rate(&n, name, r->bandwidth.egress_rate, e);
    rtnl_close(&n);
    return c;
}
