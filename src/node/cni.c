/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network configuration (CNI) that works out of the box: a bridge with the node's pod CIDR, addresses by host-local,
 * host ports by portmap. Written when the node knows its range, into the folder that the container runtime watches;
 * until then the runtime's network is not ready, and neither is the node.
 */
#include "node/kubelet-internal.h"
#include "wire/json.h"

#include <stdio.h>

#define FILE_NAME "10-cube.conflist"

static void put(struct buf *b, const char *before, const char *text, const char *after)
{
    buf_puts(b, before);
    json_encode_str(b, str_of(text), 0);
    buf_puts(b, after);
}

/* One list of one subnet for each family. */
static void put_ranges(struct buf *b, const struct str *cidrs, size_t n)
{
    buf_puts(b, "\"ranges\":[");
    for (size_t i = 0; i < n; i++) {
        buf_puts(b, i ? ",[{\"subnet\":" : "[{\"subnet\":");
        json_encode_str(b, cidrs[i], 0);
        buf_puts(b, "}]");
    }
    buf_putc(b, ']');
}

/* Ours does in one call what the reference plug-ins do in three, and bandwidth. */
static void make_conflist(struct buf *b, const struct kubelet_config *c, const struct str *cidrs, size_t n)
{
    bool ours = c->cni_plugin && *c->cni_plugin;
    buf_puts(b, "{\"cniVersion\":\"0.4.0\",\"name\":\"cube\",\"plugins\":[{");
    put(b, "\"type\":", ours ? c->cni_plugin : "bridge", ",");
    if (ours)
        buf_puts(b, "\"capabilities\":{\"portMappings\":true,\"bandwidth\":true},\"snat\":true,");
    if (ours && c->cni_subnet_file && *c->cni_subnet_file)
        put(b, "\"subnetFile\":", c->cni_subnet_file, ",");
    put(b, "\"bridge\":", c->cni_bridge, ",");
    buf_puts(b, "\"isGateway\":true,\"isDefaultGateway\":true,\"hairpinMode\":true,\"ipMasq\":false,"
                "\"ipam\":{\"type\":\"host-local\",");
    if (c->cni_data_dir && *c->cni_data_dir)
        put(b, "\"dataDir\":", c->cni_data_dir, ",");
    put_ranges(b, cidrs, n);
    buf_puts(b, ours ? "}}]}\n"
                     : "}},{\"type\":\"portmap\",\"capabilities\":{\"portMappings\":true},\"snat\":true}]}\n");
}

/* The node's ranges: the API's, or those configured. */
static size_t pod_cidrs(struct kubelet *k, struct arena *a, struct str **ret)
{
    const struct object *node =
        k->world ? replica_get(k->world, &resources[RES_NODES], STR_NULL, str_of(k->cfg.node_name)) : NULL;
    const struct val *list = node ? val_at(node->val, N_spec, N_podCIDRs) : NULL;
    struct str one = node ? val_str(val_at(node->val, N_spec, N_podCIDR)) : STR_NULL, rest, part;
    size_t n = 0;
    if (!one.n && k->cfg.pod_cidr)
        one = str_of(k->cfg.pod_cidr);
    *ret = ARENA_ARRAY(a, struct str, val_len(list) + one.n + 1);
    VAL_EACH (list, v)
        (*ret)[n++] = arena_str(a, val_str(v));
    for (rest = one; n == 0 && one.n && str_next(&rest, ',', &part);) {
        (*ret)[n++] = arena_str(a, part);
        for (; str_next(&rest, ',', &part);)
            (*ret)[n++] = arena_str(a, part);
    }
    return n;
}

/* 1 when it was written, 0 when it is there already, negative when it cannot be. */
static int write_conflist(struct kubelet *k, struct arena *a, const struct str *cidrs, size_t n, struct err *e)
{
    struct host *h = k->host;
    struct buf b = BUF_INIT;
    struct str have = STR_NULL, path = arena_printf(a, "%s/" FILE_NAME, k->cfg.cni_conf_dir);
    make_conflist(&b, &k->cfg, cidrs, n);
    bool same = h->ops->read_file(h, a, path.p, 1 << 20, &have, NULL) == 0 && str_eq(have, buf_str(&b));
    int r = same ? 0 : h->ops->make_dir(h, k->cfg.cni_conf_dir, 0755, e);
    if (!same && r == 0) {
        /* Beside it first: the runtime reads the folder whenever something in it changes. */
        struct str tmp = arena_printf(a, "%s/.cube.tmp", k->cfg.cni_conf_dir);
        r = h->ops->write_file(h, tmp.p, buf_str(&b), 0644, e);
        if (r == 0)
            r = os_rename(tmp.p, path.p);
    }
    buf_done(&b);
    return r < 0 ? r : !same;
}

void cni_update(struct kubelet *k)
{
    struct arena a = ARENA_INIT;
    struct str *cidrs;
    struct err e = {{0}};
    size_t n = k->cfg.cni_conf_dir ? pod_cidrs(k, &a, &cidrs) : 0;
    int r = n ? write_conflist(k, &a, cidrs, n, &e) : 0;
    if (r > 0) {
        k->masqueraded = false;
        node_touch(k);
    }
    if (k->masqueraded && k->host->ops->masquerade_lost && k->host->ops->masquerade_lost(k->host, k->cfg.cni_bridge, &k->rules_seen)) {
        log_warn(LOG, "somebody took away the rule that hides pods behind the node: it is set again");
        k->masqueraded = false;
    }
    if (n && r >= 0 && !k->masqueraded && k->host->ops->masquerade) {
        r = k->host->ops->masquerade(k->host, k->cfg.cni_bridge, cidrs, n, k->cfg.cluster_cidr, &e);
        k->masqueraded = r == 0;
    }
    if (r < 0 && strcmp(e.text, k->network_trouble) != 0) {
        snprintf(k->network_trouble, sizeof(k->network_trouble), "%s", e.text); /* said once */
        log_warn(LOG, "the network of the pods: %s", err_text(&e, r));
    }
    arena_done(&a);
}
