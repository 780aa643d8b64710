/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/gen.h"

#include "names.h"
#include "resources.h"
#include "type/meta.h"

struct expose {
    struct write w;
    struct overrides o;
    struct file_flags files;
    const char *name, *port, *target_port, *protocol, *type, *selector, *labels, *external_ip, *lb_ip, *affinity, *cluster_ip;
    bool save;
};

/* ---- what the object tells ------------------------------------------------------------------------------------- */

static const struct val *pod_spec_of(const struct info *i)
{
    if (i->kind->res->index == RES_PODS)
        return val_get(i->v, N_spec);
    return val_at(i->v, N_spec, N_template, N_spec);
}

static int selector_of(struct cli *c, const struct info *i, struct val **ret)
{
    const struct val *spec = val_get(i->v, N_spec), *selector = val_get(spec, N_selector);
    unsigned res = i->kind->res->index;
    const struct val *map = res == RES_PODS ? obj_labels(i->v)
                            : res == RES_DEPLOYMENTS || res == RES_REPLICASETS ? val_get(selector, N_matchLabels)
                                                                               : selector;
    if ((res == RES_DEPLOYMENTS || res == RES_REPLICASETS) && val_len(val_get(selector, N_matchExpressions)))
        return cli_fail(c, "couldn't retrieve selectors via --selector flag or introspection: couldn't convert expressions - to "
                           "map-based selector format");
    if (!val_len(map))
        return cli_fail(c, "couldn't retrieve selectors via --selector flag or introspection: the %s has no %s and cannot be "
                           "exposed", res == RES_PODS ? "pod" : "object", res == RES_PODS ? "labels" : "selector");
    *ret = val_new(&c->a, VAL_MAP);
    VAL_EACH_ENTRY(map, k, v)
    {
        val_put_str(&c->a, *ret, val_str(k), val_str(v));
    }
    return 0;
}

struct found_port {
    int64_t port;
    struct str protocol;
};

/* Every port once, with the protocols it has: --port alone decides which of them. */
static size_t ports_of(struct cli *c, const struct info *i, struct found_port **ret)
{
    bool service = i->kind->res->index == RES_SERVICES;
    struct found_port *all = NULL;
    size_t n = 0;
    if (service) {
        const struct val *ports = val_at(i->v, N_spec, N_ports);
        all = ARENA_ARRAY(&c->a, struct found_port, val_len(ports) + 1);
        VAL_EACH(ports, p)
        {
            all[n++] = (struct found_port){val_int(val_get(p, N_port), 0), val_getstr(p, N_protocol)};
        }
    } else {
        const struct val *containers = val_get(pod_spec_of(i), N_containers);
        size_t max = 1;
        VAL_EACH(containers, v)
        {
            max += val_len(val_get(v, N_ports));
        }
        all = ARENA_ARRAY(&c->a, struct found_port, max);
        VAL_EACH(containers, v)
        VAL_EACH(val_get(v, N_ports), p)
            all[n++] = (struct found_port){val_int(val_get(p, N_containerPort), 0), val_getstr(p, N_protocol)};
    }
    *ret = all;
    return n;
}

/* ---- the service -------------------------------------------------------------------------------------------------- */

static void add_port(struct cli *c, struct expose *x, struct val *ports, struct str name, int64_t port, struct str protocol)
{
    struct arena *a = &c->a;
    struct val *p = val_add_obj(a, ports);
    if (name.n)
        val_set_str(a, p, N_name, name);
    val_set_str(a, p, N_protocol, protocol.n ? protocol : STR("TCP"));
    val_set_int(a, p, N_port, port);
    val_set(a, p, N_targetPort, x->target_port ? gen_port(c, str_of(x->target_port)) : val_of_int(port));
}

/* The protocols that the object gives a port; TCP when it says nothing. */
static void add_with_protocols(struct cli *c, struct expose *x, struct val *ports, int64_t port, bool several, size_t at,
                               const struct found_port *found, size_t n)
{
    struct str only = STR_NULL, name = several ? cli_printf(c, "port-%zu", at + 1) : STR_NULL;
    size_t protocols = 0;
    for (size_t i = 0; i < n; i++)
        if (found[i].port == port)
            only = found[i].protocol, protocols++;
    if (x->protocol || protocols < 2) {
        add_port(c, x, ports, name, port, x->protocol ? str_of(x->protocol) : only);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        char low[16];
        size_t k = 0;
        for (; k < found[i].protocol.n && k + 1 < sizeof(low); k++)
            low[k] = (char)(found[i].protocol.p[k] | 0x20);
        low[k] = 0;
        if (found[i].port == port)
            add_port(c, x, ports, cli_printf(c, "port-%zu-%s", at + 1, low), port, found[i].protocol);
    }
}

static int set_ports(struct cli *c, struct expose *x, const struct info *i, struct val *spec)
{
    struct found_port *found;
    size_t n = ports_of(c, i, &found), at = 0;
    struct val *ports = val_sub_list(&c->a, spec, N_ports);
    struct str rest = str_of(x->port), text;
    bool headless = x->cluster_ip && !strcmp(x->cluster_ip, "None");
    if (!x->port && !n && !headless)
        return cli_fail(c, "couldn't find port via --port flag or introspection");
    for (size_t k = 0; !x->port && k < n; k++) {
        bool seen = false;
        for (size_t j = 0; j < k; j++)
            seen |= found[j].port == found[k].port;
        if (!seen)
            add_with_protocols(c, x, ports, found[k].port, n > 1, at++, found, n);
    }
    bool several = x->port && strchr(x->port, ',');
    while (x->port && str_next(&rest, ',', &text)) {
        int64_t port;
        if (str_to_i64(text, &port) < 0)
            return cli_fail(c, "strconv.Atoi: parsing \"" STR_FMT "\": invalid syntax", STR_ARG(text));
        add_with_protocols(c, x, ports, port, several, at++, found, n);
    }
    if (!ports->n)
        val_del(spec, N_ports);
    return 0;
}

static void set_options(struct cli *c, const struct expose *x, struct val *spec)
{
    struct arena *a = &c->a;
    if (x->external_ip)
        val_add_str(a, val_sub_list(a, spec, N_externalIPs), str_of(x->external_ip));
    if (x->type)
        val_set_str(a, spec, N_type, str_of(x->type));
    if (x->type && !strcmp(x->type, "LoadBalancer") && x->lb_ip)
        val_set_str(a, spec, N_loadBalancerIP, str_of(x->lb_ip));
    if (x->affinity)
        val_set_str(a, spec, N_sessionAffinity, str_of(x->affinity));
    if (x->cluster_ip)
        val_set_str(a, spec, N_clusterIP, str_of(x->cluster_ip));
}

static bool can_expose(const struct kind *k)
{
    static const unsigned kinds[] = {RES_PODS, RES_SERVICES, RES_REPLICATIONCONTROLLERS, RES_DEPLOYMENTS, RES_REPLICASETS};
    for (size_t i = 0; k->res && i < ARRAY_SIZE(kinds); i++)
        if (k->res->index == kinds[i])
            return true;
    return false;
}

static int set_labels(struct cli *c, const struct expose *x, const struct info *i, struct val *v)
{
    struct val *labels = NULL;
    int r = 0;
    if (x->labels)
        r = gen_labels(c, x->labels, &labels);
    else
        labels = (struct val *)obj_labels(i->v);
    if (r == 0 && val_len(labels))
        val_set_ref(&c->a, val_sub_obj(&c->a, v, N_metadata), N_labels, labels);
    return r;
}

static int expose_one(struct cli *c, struct expose *x, const struct info *i)
{
    const struct kind *services = kind_at(c, RES_SERVICES);
    struct val *selector;
    if (!can_expose(i->kind))
        return cli_fail(c, "cannot expose a " STR_FMT, STR_ARG(i->kind->kind));
    int r = x->selector ? gen_labels(c, x->selector, &selector) : selector_of(c, i, &selector);
    if (r)
        return r;
    struct val *v = gen_object(c, services, x->name ? str_of(x->name) : str_slice(i->name, 0, 63));
    r = set_labels(c, x, i, v);
    if (r)
        return r;
    struct val *spec = val_sub_obj(&c->a, v, N_spec);
    r = set_ports(c, x, i, spec);
    if (r)
        return r;
    val_set(&c->a, spec, N_selector, *selector);
    set_options(c, x, spec);
    r = gen_override(c, &x->o, services->type, &v);
    return r ? r : write_object_create(c, &x->w, services, services->type, v, x->save, "exposed");
}

int cmd_expose(struct cli *c, int argc, char **argv)
{
    struct expose x = {.w = WRITE_INIT};
    struct selection sel;
    struct flag flags[] = {
        WRITE_FLAGS(&x.w),
        FILE_FLAGS(&x.files, "that name the object to expose"),
        OVERRIDE_FLAGS(&x.o),
        {"cluster-ip", 0, FLAG_STRING, &x.cluster_ip, "Address; None for a headless service"},
        {"external-ip", 0, FLAG_STRING, &x.external_ip, "One more address to take connections at"},
        {"labels", 'l', FLAG_STRING, &x.labels, "Labels of the service"},
        {"load-balancer-ip", 0, FLAG_STRING, &x.lb_ip, "Address of a load balancer"},
        {"name", 0, FLAG_STRING, &x.name, "Name of the service; that of the object unless given"},
        {"port", 0, FLAG_STRING, &x.port, "Port of the service; those of the object unless given"},
        {"protocol", 0, FLAG_STRING, &x.protocol, "TCP, UDP or SCTP"},
        {"save-config", 0, FLAG_BOOL, &x.save, "Keep the configuration in an annotation, for a later apply"},
        {"selector", 0, FLAG_STRING, &x.selector, "Labels of the pods; those of the object unless given"},
        {"session-affinity", 0, FLAG_STRING, &x.affinity, "None or ClientIP"},
        {"target-port", 0, FLAG_STRING, &x.target_port, "Number or name of the containers' port"},
        {"type", 0, FLAG_STRING, &x.type, "ClusterIP, NodePort, LoadBalancer or ExternalName"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = write_prepare(c, &x.w, "kubectl-expose");
    if (r)
        return r;
    if (x.affinity && strcmp(x.affinity, "None") && strcmp(x.affinity, "ClientIP"))
        return cli_fail(c, "unknown session affinity: %s", x.affinity);
    r = select_objects(c, &(struct query){.argc = argc, .argv = argv, .files = &x.files, .fetch = true}, &sel);
    if (r)
        return r;
    for (size_t i = 0; i < sel.n; i++)
        sel.code |= expose_one(c, &x, &sel.items[i]);
    return sel.code;
}
