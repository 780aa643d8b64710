/* SPDX-License-Identifier: Apache-2.0 */
#include "overlay/netconf.h"

#include "wire/json.h"

static const char *const backend_names[] = {[BACKEND_HOST_GW] = "host-gw", [BACKEND_VXLAN] = "vxlan"};

bool backend_parse(struct str name, enum backend_kind *ret)
{
    for (size_t i = 0; i < ARRAY_SIZE(backend_names); i++)
        if (str_is(name, backend_names[i])) {
            *ret = (enum backend_kind)i;
            return true;
        }
    return false;
}

const char *backend_name(enum backend_kind kind)
{
    return backend_names[kind];
}

unsigned vxlan_overhead(unsigned family)
{
    return family == V4 ? 50 : 70; /* Ethernet 14, VXLAN 8, UDP 8, and 20 or 40 of IP */
}

void netconf_default(enum backend_kind backend, struct netconf *ret)
{
    *ret = (struct netconf){.backend = backend, .enabled = {true, true}, .vni = 1, .direct_routing = true};
}

/* ---- members ---------------------------------------------------------------------------------------- */

static bool same_name(struct str a, const char *b)
{
    return a.n == strlen(b) && strncasecmp(a.p, b, a.n) == 0;
}

static const struct val *member(const struct val *map, const char *name)
{
    VAL_EACH_ENTRY (map, k, v)
        if (same_name(val_str(k), name))
            return v;
    return NULL;
}

static int get_bool(const struct val *map, const char *name, bool *to, struct err *e)
{
    const struct val *v = member(map, name);
    if (v && v->kind != VAL_NULL && v->kind != VAL_BOOL)
        return err_set(e, -EINVAL, "net-conf.json: %s is no boolean", name);
    *to = val_bool(v, *to);
    return 0;
}

static int get_number(const struct val *map, const char *name, int64_t max, int64_t *to, struct err *e)
{
    const struct val *v = member(map, name);
    if (v && v->kind != VAL_NULL && (v->kind != VAL_INT || v->i < 0 || v->i > max))
        return err_set(e, -EINVAL, "net-conf.json: %s is no number from 0 to %lld", name, (long long)max);
    *to = val_int(v, *to);
    return 0;
}

static int get_range(const struct val *map, const char *name, uint8_t family, struct prefix *to, struct err *e)
{
    struct str text = val_str(member(map, name));
    if (text.n && (!prefix_parse(text, to) || to->ip.family != family))
        return err_set(e, -EINVAL, "net-conf.json: %s \"" STR_FMT "\" is no range of addresses of its family", name,
                       STR_ARG(text));
    return 0;
}

static int get_address(const struct val *map, const char *name, uint8_t family, struct ip *to, struct err *e)
{
    struct str text = val_str(member(map, name));
    if (text.n && (!ip_parse(text, to) || to->family != family))
        return err_set(e, -EINVAL, "net-conf.json: %s \"" STR_FMT "\" is no address of its family", name,
                       STR_ARG(text));
    return 0;
}

static int read_backend(const struct val *map, struct netconf *c, struct err *e)
{
    struct str type = val_str(member(map, "Type"));
    int64_t vni = 1, port = 0, mtu = 0;
    if (!type.n || !backend_parse(type, &c->backend))
        return err_set(e, -EINVAL,
                       "net-conf.json: there is no overlay back end \"" STR_FMT "\"; there are: host-gw, vxlan",
                       STR_ARG(type));
    int r = get_number(map, "VNI", 0xffffff, &vni, e);
    r = r ? r : get_number(map, "Port", 65535, &port, e);
    r = r ? r : get_number(map, "MTU", 65535, &mtu, e);
    r = r ? r : get_bool(map, "GBP", &c->gbp, e);
    r = r ? r : get_bool(map, "Learning", &c->learning, e);
    r = r ? r : get_bool(map, "DirectRouting", &c->direct_routing, e);
    c->vni = (uint32_t)vni;
    c->port = (uint16_t)port;
    c->mtu = (uint32_t)mtu;
    return r;
}

static int read_family(const struct val *map, struct netconf *c, unsigned f, struct err *e)
{
    static const struct {
        const char *enable, *network, *bits, *first, *last;
        uint8_t family;
    } names[FAMILIES] = {
        {"EnableIPv4", "Network", "SubnetLen", "SubnetMin", "SubnetMax", AF_INET},
        {"EnableIPv6", "IPv6Network", "IPv6SubnetLen", "IPv6SubnetMin", "IPv6SubnetMax", AF_INET6},
    };
    int64_t bits = 0;
    int r = get_bool(map, names[f].enable, &c->enabled[f], e);
    r = r ? r : get_range(map, names[f].network, names[f].family, &c->network[f], e);
    r = r ? r : get_number(map, names[f].bits, f == V4 ? 32 : 128, &bits, e);
    r = r ? r : get_address(map, names[f].first, names[f].family, &c->first[f], e);
    r = r ? r : get_address(map, names[f].last, names[f].family, &c->last[f], e);
    c->subnet_bits[f] = (unsigned)bits;
    if (r == 0 && c->enabled[f] && !c->network[f].ip.family)
        return err_set(e, -EINVAL, "net-conf.json: %s is missing", names[f].network);
    return r;
}

int netconf_parse(struct str text, struct netconf *ret, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct netconf c = {.enabled = {true, false}, .vni = 1};
    struct val *v = NULL;
    struct err why = {0};
    int r = json_decode(&a, NULL, text, 0, NULL, &v, &why);
    if (r < 0 || !val_is(v, VAL_MAP))
        return err_set(e, -EINVAL, "net-conf.json is no JSON object%s%s", r < 0 ? ": " : "", why.text);
    r = read_backend(member(v, "Backend"), &c, e);
    for (unsigned f = 0; r == 0 && f < FAMILIES; f++)
        r = read_family(v, &c, f, e);
    if (r == 0 && !c.enabled[V4] && !c.enabled[V6])
        r = err_set(e, -EINVAL, "net-conf.json enables neither IPv4 nor IPv6");
    if (r == 0)
        *ret = c;
    return r;
}

struct prefixes netconf_networks(struct arena *a, const struct netconf *c)
{
    struct prefixes out = {ARENA_ARRAY(a, struct prefix, FAMILIES), 0};
    for (unsigned f = 0; f < FAMILIES; f++)
        if (c->enabled[f] && c->network[f].ip.family)
            out.list[out.n++] = c->network[f];
    return out;
}

/* ---- leases ----------------------------------------------------------------------------------------- */

/* Where the range of that size begins that the address is in. */
static struct ip start_of(const struct ip *ip, unsigned bits)
{
    return prefix_network(&(struct prefix){*ip, (uint8_t)bits});
}

static bool next_range(const struct ip *ip, unsigned bits, struct ip *ret)
{
    struct prefix p = {start_of(ip, bits), (uint8_t)bits};
    struct ip last = prefix_last(&p);
    return ip_add(&last, 1, ret);
}

static int complete(struct netconf *c, unsigned f, struct err *e)
{
    const struct prefix *net = &c->network[f];
    unsigned width = ip_bits(&net->ip), wish = f == V4 ? 24 : 64, most = width - 2;
    if (net->bits > width - 4)
        return err_set(e, -EINVAL, "net-conf.json: the network is too small to be shared out");
    if (!c->subnet_bits[f])
        c->subnet_bits[f] = net->bits + 2u > wish ? net->bits + 2u : wish;
    if (c->subnet_bits[f] > most || c->subnet_bits[f] < net->bits + 2u)
        return err_set(e, -EINVAL, "net-conf.json: SubnetLen %u does not share out a /%u among at least four nodes",
                       c->subnet_bits[f], net->bits);
    struct ip end = prefix_last(net), range_end = start_of(&end, c->subnet_bits[f]);
    if (!c->first[f].family && !next_range(&net->ip, c->subnet_bits[f], &c->first[f]))
        return err_set(e, -EINVAL, "net-conf.json: the network has no second range");
    if (!c->last[f].family)
        c->last[f] = range_end;
    const struct ip *ends[] = {&c->first[f], &c->last[f]};
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        struct ip start = start_of(ends[i], c->subnet_bits[f]);
        if (!prefix_has(net, ends[i]) || !ip_equal(&start, ends[i]))
            return err_set(e, -EINVAL, "net-conf.json: %s is not where a range of the network begins",
                           i ? "SubnetMax" : "SubnetMin");
    }
    return 0;
}

int netconf_complete(struct netconf *c, struct err *e)
{
    struct netconf out = *c;
    int r = 0;
    for (unsigned f = 0; r == 0 && f < FAMILIES; f++)
        r = out.enabled[f] ? complete(&out, f, e) : 0;
    if (r == 0)
        *c = out;
    return r;
}
