/* SPDX-License-Identifier: Apache-2.0 */
/* What a call asks for, from environment and standard input. Pure. */
#include "cni/cni.h"

#include "wire/json.h"

#include <stdio.h>

static const char *const versions[] = {"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};

bool cni_version_known(struct str version)
{
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
        if (str_is(version, versions[i]))
            return true;
    return false;
}

void cni_versions_print(struct buf *b)
{
    buf_puts(b, "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[");
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
        buf_printf(b, "%s\"%s\"", i ? "," : "", versions[i]);
    buf_puts(b, "]}\n");
}

/* In any case, as Go reads them: containerd writes "HostPort" where the conventions say "hostPort". */
static const struct val *key(const struct val *v, const char *name)
{
    const struct val *exact = val_key(v, str_of(name));
    if (exact)
        return exact;
    VAL_EACH_ENTRY (v, k, it)
        if (k->n == strlen(name) && strncasecmp(k->s, name, k->n) == 0)
            return it;
    return NULL;
}

static struct str text(const struct val *v, const char *name)
{
    return val_str(key(v, name));
}

/* ---- addresses --------------------------------------------------------------------------------------- */

static int read_ip(const struct val *v, const char *name, const struct prefix *within, struct ip *to, struct err *e)
{
    struct str s = text(v, name);
    if (s.n && (!ip_parse(s, to) || (within && !prefix_has(within, to))))
        return err_set(e, CNI_BAD_CONFIG, "ipam: %s \"" STR_FMT "\" is no address of the subnet", name, STR_ARG(s));
    return 0;
}

/* Without the network's own address and the broadcast; the gateway is the first unless another is named. */
static int read_range(const struct val *v, struct cni_range *ret, struct err *e)
{
    struct cni_range r = {0};
    struct str subnet = text(v, "subnet");
    if (!prefix_parse_address(subnet, &r.subnet))
        return err_set(e, CNI_BAD_CONFIG, "ipam: \"" STR_FMT "\" is no subnet", STR_ARG(subnet));
    struct ip network = prefix_network(&r.subnet);
    if (!ip_equal(&network, &r.subnet.ip))
        return err_set(e, CNI_BAD_CONFIG, "ipam: \"" STR_FMT "\" has bits set beyond its length", STR_ARG(subnet));
    if (ip_bits(&network) - r.subnet.bits < 2)
        return err_set(e, CNI_BAD_CONFIG, "ipam: \"" STR_FMT "\" is too small to have addresses", STR_ARG(subnet));
    ip_add(&network, 1, &r.first);
    r.gateway = r.first;
    r.last = prefix_last(&r.subnet);
    if (network.family == AF_INET) /* the broadcast address */
        r.last.b[3] &= 0xfe;
    int c = read_ip(v, "rangeStart", &r.subnet, &r.first, e);
    c = c ? c : read_ip(v, "rangeEnd", &r.subnet, &r.last, e);
    c = c ? c : read_ip(v, "gateway", NULL, &r.gateway, e);
    if (c == 0 && ip_compare(&r.first, &r.last) > 0)
        c = err_set(e, CNI_BAD_CONFIG, "ipam: rangeStart is behind rangeEnd");
    if (c == 0)
        *ret = r;
    return c;
}

static int check_set(const struct cni_range_set *s, struct err *e)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->list[i].subnet.ip.family != s->list[0].subnet.ip.family)
            return err_set(e, CNI_BAD_CONFIG, "ipam: a set of ranges mixes IPv4 and IPv6");
        for (size_t j = 0; j < i; j++)
            if (ip_compare(&s->list[i].first, &s->list[j].last) <= 0 && ip_compare(&s->list[j].first, &s->list[i].last) <= 0)
                return err_set(e, CNI_BAD_CONFIG, "ipam: ranges of a set overlap");
    }
    return s->n ? 0 : err_set(e, CNI_BAD_CONFIG, "ipam: a set of ranges is empty");
}

static int read_sets(struct arena *a, const struct val *list, struct cni_ipam *to, struct err *e)
{
    VAL_EACH (list, set) {
        struct cni_range_set *s = &to->sets[to->n_sets];
        int c = 0;
        s->list = ARENA_ARRAY(a, struct cni_range, val_len(set) + 1);
        VAL_EACH (set, v)
            if (c == 0 && (c = read_range(v, &s->list[s->n], e)) == 0)
                s->n++;
        c = c ? c : check_set(s, e);
        if (c)
            return c;
        to->n_sets++;
    }
    return 0;
}

static int read_routes(struct arena *a, const struct val *list, struct cni_ipam *to, struct err *e)
{
    to->routes = ARENA_ARRAY(a, struct cni_route, val_len(list) + 1);
    VAL_EACH (list, v) {
        struct cni_route *r = &to->routes[to->n_routes++];
        struct buf b = BUF_INIT;
        struct str via = text(v, "gw");
        if (!prefix_parse(text(v, "dst"), &r->to) || (via.n && !ip_parse(via, &r->via)))
            return err_set(e, CNI_BAD_CONFIG, "ipam: a route has no dst like 0.0.0.0/0, or a gw that is no address");
        json_encode(&b, NULL, v, 0);
        r->json = arena_str(a, buf_str(&b));
        buf_done(&b);
    }
    return 0;
}

static int want(struct cni_ipam *to, struct str s, struct err *e)
{
    struct str address, rest;
    str_cut(s, '/', &address, &rest);
    if (!ip_parse(address, &to->wanted[to->n_wanted]))
        return err_set(e, CNI_BAD_CONFIG, "\"" STR_FMT "\" is no address", STR_ARG(s));
    to->n_wanted++;
    return 0;
}

static int read_wanted(struct arena *a, const struct val *conf, struct str args, struct cni_ipam *to, struct err *e)
{
    const struct val *lists[] = {key(key(conf, "runtimeConfig"), "ips"), key(key(key(conf, "args"), "cni"), "ips")};
    struct str pair, name, value;
    int c = 0;
    to->wanted = ARENA_ARRAY(a, struct ip, val_len(lists[0]) + val_len(lists[1]) + args.n + 1);
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        VAL_EACH (lists[i], v)
            c = c ? c : want(to, val_str(v), e);
    while (args.n && c == 0 && str_next(&args, ';', &pair))
        if (str_cut(pair, '=', &name, &value) && str_is(name, "IP"))
            c = want(to, value, e);
    return c;
}

static int read_ipam(struct arena *a, const struct val *conf, struct str args, struct cni_ipam *ret, struct err *e)
{
    const struct val *v = key(conf, "ipam"), *more = key(key(conf, "runtimeConfig"), "ipRanges");
    struct cni_ipam out = {.type = text(v, "type"), .data_dir = "/var/lib/cni/networks", .dns = key(v, "dns")};
    struct str dir = text(v, "dataDir");
    if (dir.n)
        out.data_dir = arena_cstr(a, dir);
    out.sets = ARENA_ARRAY(a, struct cni_range_set, val_len(key(v, "ranges")) + val_len(more) + 2);
    int c = 0;
    if (text(v, "subnet").n) { /* older than sets */
        struct cni_range_set *s = &out.sets[0];
        *s = (struct cni_range_set){ARENA_ARRAY(a, struct cni_range, 1), 1};
        c = read_range(v, s->list, e);
        out.n_sets = 1;
    }
    c = c ? c : read_sets(a, key(v, "ranges"), &out, e);
    c = c ? c : read_sets(a, more, &out, e);
    c = c ? c : read_routes(a, key(v, "routes"), &out, e);
    c = c ? c : read_wanted(a, conf, args, &out, e);
    if (c == 0)
        *ret = out;
    return c;
}

/* ---- host ports, bandwidth ------------------------------------------------------------------------------ */

static int read_port(const struct val *v, struct cni_port *ret, struct err *e)
{
    static const char *const protocols[] = {"tcp", "udp", "sctp"};
    int64_t host = val_int(key(v, "hostPort"), 0), container = val_int(key(v, "containerPort"), 0);
    struct str protocol = text(v, "protocol"), at = text(v, "hostIP");
    struct cni_port p = {.host = (uint16_t)host, .container = (uint16_t)container};
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
        if (protocol.n == strlen(protocols[i]) && strncasecmp(protocol.p, protocols[i], protocol.n) == 0)
            p.protocol = protocols[i];
    if (!p.protocol && !protocol.n)
        p.protocol = "tcp";
    if (host < 0 || host > 65535 || container <= 0 || container > 65535 || !p.protocol)
        return err_set(e, CNI_BAD_CONFIG, "portMappings: a port or protocol that does not exist");
    if (at.n && !ip_parse(at, &p.at))
        return err_set(e, CNI_BAD_CONFIG, "portMappings: hostIP \"" STR_FMT "\" is no address", STR_ARG(at));
    static const struct ip any4 = {.family = AF_INET}, any6 = {.family = AF_INET6};
    if (ip_equal(&p.at, &any4) || ip_equal(&p.at, &any6))
        p.at = (struct ip){0};
    *ret = p;
    return 0;
}

static int read_ports(struct arena *a, const struct val *conf, struct cni_request *r, struct err *e)
{
    const struct val *list = key(key(conf, "runtimeConfig"), "portMappings");
    r->ports = ARENA_ARRAY(a, struct cni_port, val_len(list) + 1);
    r->snat = val_bool(key(conf, "snat"), true);
    r->guard = val_bool(key(conf, "spoofCheck"), true);
    VAL_EACH (list, v) {
        int c = read_port(v, &r->ports[r->n_ports], e);
        if (c)
            return c;
        r->n_ports += r->ports[r->n_ports].host != 0; /* the runtime may name all ports of a pod */
    }
    return 0;
}

/* Of the pod by the runtime, else as configured for all. */
static int read_bandwidth(const struct val *conf, struct cni_bandwidth *ret, struct err *e)
{
    const struct val *v = key(key(conf, "runtimeConfig"), "bandwidth");
    const char *const names[] = {"ingressRate", "ingressBurst", "egressRate", "egressBurst"};
    uint64_t *const to[] = {&ret->ingress_rate, &ret->ingress_burst, &ret->egress_rate, &ret->egress_burst};
    v = v ? v : conf;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        int64_t n = val_int(key(v, names[i]), 0);
        if (n < 0)
            return err_set(e, CNI_BAD_CONFIG, "bandwidth: %s is negative", names[i]);
        *to[i] = (uint64_t)n;
    }
    return 0;
}

/* ---- the configuration ---------------------------------------------------------------------------------- */

static bool is_link_name(struct str s)
{
    if (!s.n || s.n >= IFNAMSIZ || str_is(s, ".") || str_is(s, ".."))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '/' || s.p[i] == ':' || (unsigned char)s.p[i] <= ' ')
            return false;
    return true;
}

static int read_bridge(struct arena *a, const struct val *conf, struct cni_request *r, struct err *e)
{
    struct str name = text(conf, "bridge"), mac = text(key(conf, "runtimeConfig"), "mac");
    int64_t mtu = val_int(key(conf, "mtu"), 0);
    name = name.n ? name : STR("cni0");
    mac = mac.n ? mac : text(key(key(conf, "args"), "cni"), "mac");
    if (!is_link_name(name))
        return err_set(e, CNI_BAD_CONFIG, "\"" STR_FMT "\" cannot be a bridge's name", STR_ARG(name));
    if (mtu < 0 || mtu > 65535)
        return err_set(e, CNI_BAD_CONFIG, "mtu %lld is out of range", (long long)mtu);
    if (val_int(key(conf, "vlan"), 0) || val_len(key(conf, "vlanTrunk")))
        return err_set(e, CNI_UNSUPPORTED_FIELD, "vlan: not there");
    if (mac.n && !mac_parse(mac, r->mac))
        return err_set(e, CNI_BAD_CONFIG, "mac \"" STR_FMT "\" is no hardware address", STR_ARG(mac));
    snprintf(r->bridge, sizeof(r->bridge), STR_FMT, STR_ARG(name));
    r->mtu = (uint32_t)mtu;
    r->has_mac = mac.n;
    r->is_default_gateway = val_bool(key(conf, "isDefaultGateway"), false);
    r->is_gateway = r->is_default_gateway || val_bool(key(conf, "isGateway"), false);
    r->hairpin = val_bool(key(conf, "hairpinMode"), false);
    r->promisc = val_bool(key(conf, "promiscMode"), false);
    r->force_address = val_bool(key(conf, "forceAddress"), false);
    r->ip_masq = val_bool(key(conf, "ipMasq"), false);
    if (r->hairpin && r->promisc)
        return err_set(e, CNI_BAD_CONFIG, "hairpinMode and promiscMode exclude each other");
    if (text(conf, "subnetFile").n)
        r->subnet_file = arena_cstr(a, text(conf, "subnetFile"));
    return 0;
}

/* null: none. Without the member GC would take everything away. */
static int read_valid(struct arena *a, const struct val *conf, struct cni_request *r, struct err *e)
{
    const struct val *list = key(conf, "cni.dev/valid-attachments");
    if (r->command == CNI_GC && !list)
        return err_set(e, CNI_BAD_CONFIG, "cni.dev/valid-attachments is missing");
    r->valid = ARENA_ARRAY(a, struct cni_attachment, val_len(list) + 1);
    VAL_EACH (list, v)
        r->valid[r->n_valid++] = (struct cni_attachment){text(v, "containerID"), text(v, "ifname")};
    return 0;
}

/* A folder is named after it. */
static bool is_network_name(struct str s)
{
    if (!s.n || s.n > 200 || s.p[0] == '.')
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '/' || (unsigned char)s.p[i] < ' ')
            return false;
    return true;
}

static int read_conf(struct arena *a, struct str input, struct str args, struct cni_request *r, struct err *e)
{
    struct val *conf = NULL;
    struct err why = {0};
    if (json_decode(a, NULL, input, 0, NULL, &conf, &why) < 0 || !val_is(conf, VAL_MAP))
        return err_set(e, CNI_DECODE, "the configuration is no JSON object: %s", why.text);
    r->input = input;
    r->conf = conf;
    r->version = text(conf, "cniVersion").n ? text(conf, "cniVersion") : STR("0.1.0");
    r->name = text(conf, "name");
    r->type = text(conf, "type");
    r->prev = key(conf, "prevResult");
    if (!cni_version_known(r->version))
        return err_set(e, CNI_BAD_VERSION, "cniVersion \"" STR_FMT "\" is not known", STR_ARG(r->version));
    if (!is_network_name(r->name))
        return err_set(e, CNI_BAD_CONFIG, "the network has no name, or one that cannot be");
    int c = read_bridge(a, conf, r, e);
    c = c ? c : read_ipam(a, conf, args, &r->ipam, e);
    bool ends = r->command == CNI_DEL; /* what is taken away is on record; a mistake here must not keep a pod from ending */
    c = c || ends ? c : read_ports(a, conf, r, e);
    c = c || ends ? c : read_bandwidth(conf, &r->bandwidth, e);
    return c ? c : read_valid(a, conf, r, e);
}

int cni_conf_read(struct arena *a, struct str input, struct cni_request *ret, struct err *e)
{
    struct cni_request r = {0};
    int c = read_conf(a, input, STR_NULL, &r, e);
    if (c == 0)
        *ret = r;
    return c;
}

/* ---- the environment ------------------------------------------------------------------------------------ */

enum { NEEDS_CONTAINER = 1, NEEDS_NETNS = 2, NEEDS_IFNAME = 4, NEEDS_PATH = 8 };
static const struct {
    const char *name;
    unsigned needs;
} commands[] = {
    [CNI_ADD] = {"ADD", NEEDS_CONTAINER | NEEDS_NETNS | NEEDS_IFNAME},
    [CNI_DEL] = {"DEL", NEEDS_CONTAINER | NEEDS_IFNAME},
    [CNI_CHECK] = {"CHECK", NEEDS_CONTAINER | NEEDS_NETNS | NEEDS_IFNAME},
    [CNI_GC] = {"GC", 0},
    [CNI_STATUS] = {"STATUS", 0},
    [CNI_VERSION] = {"VERSION", 0},
};

static bool is_container(const char *s)
{
    struct str id = str_of(s);
    for (size_t i = 0; i < id.n; i++)
        if (!(id.p[i] >= '0' && id.p[i] <= '9') && !(id.p[i] >= 'a' && id.p[i] <= 'z') &&
            !(id.p[i] >= 'A' && id.p[i] <= 'Z') && (i == 0 || !strchr("_.-", id.p[i])))
            return false;
    return id.n && id.n <= 180;
}

static int check_environment(const struct cni_request *r, struct err *e)
{
    unsigned needs = commands[r->command].needs;
    if ((needs & NEEDS_CONTAINER) && !is_container(r->container))
        return err_set(e, CNI_BAD_ENVIRONMENT, "CNI_CONTAINERID \"%s\" is missing or cannot be one", r->container);
    if ((needs & NEEDS_NETNS) && !*r->netns)
        return err_set(e, CNI_BAD_ENVIRONMENT, "CNI_NETNS is missing");
    if ((needs & NEEDS_IFNAME) && !is_link_name(str_of(r->ifname)))
        return err_set(e, CNI_BAD_ENVIRONMENT, "CNI_IFNAME \"%s\" is missing or cannot be one", r->ifname);
    return 0;
}

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

int cni_request_read(struct arena *a, cni_env *env, struct str input, struct cni_request *ret, struct err *e)
{
    struct str command = str_of(or_empty(env("CNI_COMMAND")));
    struct cni_request r = {.container = or_empty(env("CNI_CONTAINERID")),
                            .netns = or_empty(env("CNI_NETNS")),
                            .ifname = or_empty(env("CNI_IFNAME")),
                            .path = or_empty(env("CNI_PATH"))};
    size_t i = 0;
    while (i < ARRAY_SIZE(commands) && !str_is(command, commands[i].name))
        i++;
    if (i == ARRAY_SIZE(commands))
        return err_set(e, CNI_BAD_ENVIRONMENT, "CNI_COMMAND \"" STR_FMT "\" is none", STR_ARG(command));
    r.command = (enum cni_command)i;
    int c = check_environment(&r, e);
    if (c == 0 && r.command != CNI_VERSION)
        c = read_conf(a, input, str_of(or_empty(env("CNI_ARGS"))), &r, e);
    if (c == 0)
        *ret = r;
    return c;
}
