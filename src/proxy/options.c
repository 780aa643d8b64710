/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kube-proxy as a program. Whatever was asked for becomes a KubeProxyConfiguration first, from the file or, without one,
 * from the flags (as upstream, a file makes most flags meaningless); everything else is read from that.
 */
#include "base/fiber.h"
#include "base/os.h"
#include "client/daemon.h"
#include "client/zpages.h"
#include "names.h"
#include "proxy/model.h"
#include "proxy/proxy.h"
#include "type/defaults.h"
#include "types.h"
#include "wire/yaml.h"

#include <stdio.h>
#include <unistd.h>

/* Flags that stand for a field of the configuration, and their values as they were given. */
static const struct setting {
    const char *flag, *no_value, *help;
    name_id path[3], also[3];
} settings[] = {
    {"proxy-mode", NULL, "nftables (default), iptables or ipvs", {N_mode}, {0}},
    {"bind-address", NULL, "address that tells the node's primary IP family and address", {N_bindAddress}, {0}},
    {"healthz-bind-address", NULL, "address and port of /healthz and /livez (0.0.0.0:10256)", {N_healthzBindAddress}, {0}},
    {"metrics-bind-address", NULL, "address and port of /metrics, /proxyMode, /configz (127.0.0.1:10249)", {N_metricsBindAddress}, {0}},
    {"bind-address-hard-fail", "true", "end when one of them cannot be had", {N_bindAddressHardFail}, {0}},
    {"masquerade-all", "true", "give all traffic to ClusterIPs the node's address", {N_iptables, N_masqueradeAll}, {N_nftables, N_masqueradeAll}},
    {"iptables-masquerade-bit", NULL, "bit of the packet mark for traffic that gets the node's address (14)", {N_iptables, N_masqueradeBit}, {0}},
    {"iptables-localhost-nodeports", "true", "serve NodePorts on loopback addresses, too (iptables mode, IPv4)", {N_iptables, N_localhostNodePorts}, {0}},
    {"iptables-sync-period", NULL, "how often the rules are looked at (30s)", {N_iptables, N_syncPeriod}, {N_nftables, N_syncPeriod}},
    {"iptables-min-sync-period", NULL, "least time between two changes of the rules (100ms)", {N_iptables, N_minSyncPeriod}, {N_nftables, N_minSyncPeriod}},
    {"ipvs-sync-period", NULL, "the same in ipvs mode", {N_ipvs, N_syncPeriod}, {0}},
    {"ipvs-min-sync-period", NULL, "the same in ipvs mode", {N_ipvs, N_minSyncPeriod}, {0}},
    {"ipvs-scheduler", NULL, "how IPVS chooses endpoints (rr)", {N_ipvs, N_scheduler}, {0}},
    {"ipvs-exclude-cidrs", NULL, "virtual servers that are left alone", {N_ipvs, N_excludeCIDRs}, {0}},
    {"ipvs-strict-arp", "true", "answer ARP only for addresses of the interface", {N_ipvs, N_strictARP}, {0}},
    {"ipvs-tcp-timeout", NULL, "idle TCP connections in IPVS", {N_ipvs, N_tcpTimeout}, {0}},
    {"ipvs-tcpfin-timeout", NULL, "TCP connections in IPVS after their end", {N_ipvs, N_tcpFinTimeout}, {0}},
    {"ipvs-udp-timeout", NULL, "idle UDP flows in IPVS", {N_ipvs, N_udpTimeout}, {0}},
    {"detect-local-mode", NULL, "how traffic of this node's Pods is known: ClusterCIDR, NodeCIDR, BridgeInterface, InterfaceNamePrefix", {N_detectLocalMode}, {0}},
    {"pod-bridge-interface", NULL, "with BridgeInterface: its name", {N_detectLocal, N_bridgeInterface}, {0}},
    {"pod-interface-name-prefix", NULL, "with InterfaceNamePrefix: how the names begin", {N_detectLocal, N_interfaceNamePrefix}, {0}},
    {"cluster-cidr", NULL, "range of the pods; two with a comma for dual stack", {N_clusterCIDR}, {0}},
    {"nodeport-addresses", NULL, "ranges of node addresses that take NodePorts; primary, localhost, all", {N_nodePortAddresses}, {0}},
    {"oom-score-adj", NULL, "what keeps the proxy alive when memory runs out (-999)", {N_oomScoreAdj}, {0}},
    {"conntrack-max-per-core", NULL, "connections tracked for each processor; 0 leaves it (32768)", {N_conntrack, N_maxPerCore}, {0}},
    {"conntrack-min", NULL, "connections tracked at least (131072)", {N_conntrack, N_min}, {0}},
    {"conntrack-tcp-timeout-established", NULL, "idle TCP connections (24h)", {N_conntrack, N_tcpEstablishedTimeout}, {0}},
    {"conntrack-tcp-timeout-close-wait", NULL, "half-closed TCP connections (1h)", {N_conntrack, N_tcpCloseWaitTimeout}, {0}},
    {"conntrack-tcp-be-liberal", "true", "accept packets outside of the window", {N_conntrack, N_tcpBeLiberal}, {0}},
    {"conntrack-udp-timeout", NULL, "UDP flows without answer", {N_conntrack, N_udpTimeout}, {0}},
    {"conntrack-udp-timeout-stream", NULL, "UDP flows with answers", {N_conntrack, N_udpStreamTimeout}, {0}},
    {"config-sync-period", NULL, NULL, {N_configSyncPeriod}, {0}},
    {"kube-api-content-type", NULL, NULL, {N_clientConnection, N_contentType}, {0}},
    {"kube-api-burst", NULL, NULL, {N_clientConnection, N_burst}, {0}},
};

struct options {
    const struct flag *flags;
    struct daemon_flags common;
    struct proxy_config config;
    struct proxy_conntrack conntrack;
    struct arena arena;
    const char *values[ARRAY_SIZE(settings)];
    const char *config_file, *write_to, *node_name;
    int64_t healthz_port, metrics_port; /* -1: not given */
    bool cleanup;
    char host[256];
};

/* ---- flags become a configuration ----------------------------------------------------------------------- */

static struct val value_of(struct arena *a, const struct field *f, const char *text, bool *ret_ok)
{
    struct str s = str_of(text), one;
    int64_t n = 0;
    *ret_ok = true;
    if (f->card == CARD_LIST) {
        struct val *list = val_new(a, VAL_LIST);
        while (str_next(&s, ',', &one))
            if (str_trim(one).n)
                val_add_str(a, list, str_trim(one));
        return *list;
    }
    switch (f->kind) {
    case K_BOOL:
        *ret_ok = str_is(s, "true") || str_is(s, "false");
        return val_of_bool(str_is(s, "true"));
    case K_INT32:
        *ret_ok = str_to_i64(s, &n) == 0;
        return val_of_int(n);
    case K_DURATION:
        *ret_ok = duration_parse(s, &n) == 0;
        return val_of_str(arena_str(a, s));
    default:
        return val_of_str(arena_str(a, s));
    }
}

static int set_path(struct arena *a, struct val *v, const name_id *path, const char *text)
{
    const struct type *t = &types[T_kubeproxy_v1alpha1_KubeProxyConfiguration];
    bool ok = true;
    for (; path[1]; path++) {
        t = field_type(type_field(t, path[0], NULL));
        v = val_sub_obj(a, v, path[0]);
    }
    const struct field *f = type_field(t, path[0], NULL);
    struct val value = value_of(a, f, text, &ok);
    if (ok)
        val_set(a, v, path[0], value);
    return ok ? 0 : -EINVAL;
}

static int from_flags(struct options *o, struct val **ret, struct err *e)
{
    struct arena *a = &o->arena;
    *ret = val_new(a, VAL_OBJ);
    for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
        if (!o->values[i])
            continue;
        int r = set_path(a, *ret, settings[i].path, o->values[i]);
        if (r == 0 && settings[i].also[0])
            r = set_path(a, *ret, settings[i].also, o->values[i]);
        if (r < 0)
            return err_set(e, r, "--%s: invalid value \"%s\"", settings[i].flag, o->values[i]);
    }
    if (o->healthz_port >= 0)
        val_set_str(a, *ret, N_healthzBindAddress, arena_printf(a, "0.0.0.0:%lld", (long long)o->healthz_port));
    if (o->metrics_port >= 0)
        val_set_str(a, *ret, N_metricsBindAddress, arena_printf(a, "127.0.0.1:%lld", (long long)o->metrics_port));
    return 0;
}

static int from_file(struct options *o, struct val **ret, struct err *e)
{
    struct str text, json;
    struct json_report report = {0};
    int r = os_read_file(&o->arena, o->config_file, 1 << 20, &text);
    if (r < 0)
        return err_set(e, r, "cannot be read: %s", strerror(-r));
    r = yaml_to_json(&o->arena, text, &report, &json, e);
    if (r == 0)
        r = json_decode(&o->arena, &types[T_kubeproxy_v1alpha1_KubeProxyConfiguration], json, 0, &report, ret, e);
    if (r == 0 && report.n)
        r = err_set(e, -EINVAL, STR_FMT, STR_ARG(report.problems[0]));
    if (r == 0 && !(str_is(val_getstr(*ret, N_kind), "KubeProxyConfiguration") &&
                    str_is(val_getstr(*ret, N_apiVersion), "kubeproxy.config.k8s.io/v1alpha1")))
        r = err_set(e, -EINVAL, "no KubeProxyConfiguration of kubeproxy.config.k8s.io/v1alpha1");
    return r;
}

/* ---- what is wrong with it ------------------------------------------------------------------------------ */

static int bad(struct err *e, const char *field, struct str value, const char *why)
{
    return err_set(e, -EINVAL, "KubeProxyConfiguration.%s: Invalid value: \"" STR_FMT "\": %s", field, STR_ARG(value), why);
}

static int check_one_of(struct str value, const char *const *of, const char *field, const char *why, struct err *e)
{
    if (!value.n)
        return 0;
    for (; *of; of++)
        if (str_is(value, *of))
            return 0;
    return bad(e, field, value, why);
}

static int check_bit(const struct val *v, const char *field, struct err *e)
{
    int64_t bit = val_int(v, 14);
    char text[24];
    snprintf(text, sizeof(text), "%lld", (long long)bit);
    return bit < 0 || bit > 31 ? bad(e, field, str_of(text), "must be within the range [0, 31]") : 0;
}

static bool is_cidr(struct str text)
{
    struct prefix ignored;
    return model_prefix(false, text, &ignored) || model_prefix(true, text, &ignored);
}

static int check_cidrs(const struct val *list, const char *field, bool keywords, struct err *e)
{
    VAL_EACH(list, v)
    {
        struct str s = val_str(v);
        bool keyword = keywords && (str_is(s, "primary") || str_is(s, "localhost") || str_is(s, "all"));
        if (!keyword && !is_cidr(s))
            return bad(e, field, s, keywords ? "must be a valid CIDR or one of the keywords 'primary', 'localhost', 'all'" : "must be a valid CIDR");
    }
    return 0;
}

static int check_cluster_cidr(const struct val *v, struct err *e)
{
    struct str rest = val_str(v), one;
    while (str_next(&rest, ',', &one))
        if (one.n && !is_cidr(one))
            return bad(e, "ClusterCIDR", one, "must be a valid CIDR block (e.g. 10.100.0.0/16 or fde4:8dba:82e1::/48)");
    return 0;
}

static int64_t duration_at(const struct val *v)
{
    int64_t ns;
    return val_str(v).n && duration_parse(val_str(v), &ns) == 0 ? ns : 0;
}

static int check_address(const struct val *v, const char *field, struct err *e)
{
    struct str s = val_str(v), port;
    struct ip ignored;
    int64_t n;
    if (!s.n)
        return 0;
    ssize_t colon = str_rfind(s, ':');
    struct str host = str_slice(s, 0, colon < 0 ? 0 : (size_t)colon);
    port = str_from(s, colon < 0 ? s.n : (size_t)colon + 1);
    if (str_starts(host, STR("[")) && str_ends(host, STR("]")))
        host = str_slice(host, 1, host.n - 2);
    if (colon < 0 || !(model_ip(false, host, &ignored) || model_ip(true, host, &ignored)))
        return bad(e, field, s, "must be IP:port");
    return str_to_i64(port, &n) < 0 || n < 0 || n > 65535 ? bad(e, field, s, "must be a valid port") : 0;
}

static int check_detection(const struct val *v, struct err *e)
{
    static const char *const kinds[] = {"ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix", NULL};
    struct str mode = val_getstr(v, N_detectLocalMode);
    int r = check_one_of(mode, kinds, "DetectLocalMode", "supported values: \"\", \"BridgeInterface\", \"ClusterCIDR\", \"InterfaceNamePrefix\", \"NodeCIDR\"", e);
    if (r == 0 && str_is(mode, "BridgeInterface") && !val_str(val_at(v, N_detectLocal, N_bridgeInterface)).n)
        r = bad(e, "DetectLocalConfiguration.InterfaceName", STR(""), "must not be empty");
    if (r == 0 && str_is(mode, "InterfaceNamePrefix") && !val_str(val_at(v, N_detectLocal, N_interfaceNamePrefix)).n)
        r = bad(e, "DetectLocalConfiguration.InterfacePrefix", STR(""), "must not be empty");
    return r;
}

static int check_periods(const struct val *v, struct err *e)
{
    static const name_id modes[] = {N_iptables, N_ipvs, N_nftables};
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        int64_t sync = duration_at(val_at(v, modes[i], N_syncPeriod)), least = duration_at(val_at(v, modes[i], N_minSyncPeriod));
        if (sync < 0 || least < 0 || (sync && least > sync))
            return bad(e, "SyncPeriod", val_str(val_at(v, modes[i], N_syncPeriod)), "must be greater than or equal to KubeProxyConfiguration.MinSyncPeriod");
    }
    return 0;
}

static int check(const struct val *v, struct err *e)
{
    static const char *const modes[] = {"nftables", "iptables", "ipvs", NULL};
    struct str bind = val_getstr(v, N_bindAddress);
    struct ip ignored;
    int r = check_one_of(val_getstr(v, N_mode), modes, "ProxyMode", "must be iptables, ipvs, nftables or blank (blank means the best-available proxy [currently nftables])", e);
    r = r ? r : check_bit(val_at(v, N_iptables, N_masqueradeBit), "KubeProxyIPTablesConfiguration.MasqueradeBit", e);
    r = r ? r : check_bit(val_at(v, N_nftables, N_masqueradeBit), "KubeProxyNFTablesConfiguration.MasqueradeBit", e);
    r = r ? r : check_cidrs(val_get(v, N_nodePortAddresses), "NodePortAddresses", true, e);
    r = r ? r : check_cidrs(val_at(v, N_ipvs, N_excludeCIDRs), "KubeProxyIPVSConfiguration.ExcludeCidrs", false, e);
    r = r ? r : check_cluster_cidr(val_get(v, N_clusterCIDR), e);
    r = r ? r : check_detection(v, e);
    r = r ? r : check_periods(v, e);
    r = r ? r : check_address(val_get(v, N_healthzBindAddress), "HealthzBindAddress", e);
    r = r ? r : check_address(val_get(v, N_metricsBindAddress), "MetricsBindAddress", e);
    if (r == 0 && bind.n && !model_ip(false, bind, &ignored) && !model_ip(true, bind, &ignored))
        r = bad(e, "BindAddress", bind, "not a valid textual representation of an IP address");
    return r;
}

/* ---- a configuration becomes the proxy's ---------------------------------------------------------------- */

static const char *text_at(struct options *o, const struct val *v)
{
    return val_str(v).n ? arena_cstr(&o->arena, val_str(v)) : NULL;
}

static const char *const *texts_at(struct options *o, const struct val *list)
{
    const char **ret = ARENA_ARRAY(&o->arena, const char *, val_len(list) + 1);
    size_t n = 0;
    VAL_EACH(list, v)
    {
        ret[n++] = arena_cstr(&o->arena, val_str(v));
    }
    return n ? ret : NULL;
}

/* "0.0.0.0" becomes "0.0.0.0:10256", nothing the default. */
static void complete_address(struct options *o, struct val *v, name_id name, const char *standard, int port)
{
    struct str s = val_getstr(v, name);
    struct ip ignored;
    if (!s.n)
        val_set_str(&o->arena, v, name, str_of(standard));
    else if (model_ip(true, s, &ignored))
        val_set_str(&o->arena, v, name, arena_printf(&o->arena, "[" STR_FMT "]:%d", STR_ARG(s), port));
    else if (str_find(s, ':') < 0)
        val_set_str(&o->arena, v, name, arena_printf(&o->arena, STR_FMT ":%d", STR_ARG(s), port));
}

/* Port 0 is how the old flags said "none". */
static const char *address_at(struct options *o, const struct val *v)
{
    return str_ends(val_str(v), STR(":0")) ? NULL : text_at(o, v);
}

static void read_conntrack(struct options *o, const struct val *v)
{
    o->conntrack = (struct proxy_conntrack){.max_per_core = val_int(val_get(v, N_maxPerCore), 0),
                                            .min = val_int(val_get(v, N_min), 0),
                                            .tcp_established = duration_at(val_get(v, N_tcpEstablishedTimeout)),
                                            .tcp_close_wait = duration_at(val_get(v, N_tcpCloseWaitTimeout)),
                                            .udp = duration_at(val_get(v, N_udpTimeout)),
                                            .udp_stream = duration_at(val_get(v, N_udpStreamTimeout)),
                                            .tcp_liberal = val_bool(val_get(v, N_tcpBeLiberal), false)};
    o->config.conntrack = &o->conntrack;
}

static void read_ipvs(struct options *o, const struct val *v)
{
    struct proxy_config *c = &o->config;
    c->ipvs_scheduler = text_at(o, val_get(v, N_scheduler));
    c->ipvs_exclude = texts_at(o, val_get(v, N_excludeCIDRs));
    c->ipvs_strict_arp = val_bool(val_get(v, N_strictARP), false);
    c->ipvs_tcp_timeout = duration_at(val_get(v, N_tcpTimeout));
    c->ipvs_tcp_fin_timeout = duration_at(val_get(v, N_tcpFinTimeout));
    c->ipvs_udp_timeout = duration_at(val_get(v, N_udpTimeout));
}

static void read_mode(struct options *o, const struct val *v)
{
    struct proxy_config *c = &o->config;
    c->mode = text_at(o, val_get(v, N_mode));
    bool nftables = !c->mode || !strcmp(c->mode, "nftables"), ipvs = !nftables && !strcmp(c->mode, "ipvs");
    const struct val *own = val_get(v, nftables ? N_nftables : ipvs ? N_ipvs : N_iptables), *marks = val_get(v, nftables ? N_nftables : N_iptables);
    c->sync_ns = duration_at(val_get(own, N_syncPeriod));
    c->masquerade_all = val_bool(val_get(marks, N_masqueradeAll), false);
    c->masquerade_mark = UINT32_C(1) << val_int(val_get(marks, N_masqueradeBit), 14);
    c->no_localhost_nodeports = !val_bool(val_at(v, N_iptables, N_localhostNodePorts), true);
}

/* Only what was asked for: a pause of a second, upstream's default, is there because its writes are slow. */
static void read_min_sync(struct options *o, const struct val *v)
{
    struct str mode = val_getstr(v, N_mode);
    name_id own = str_is(mode, "iptables") ? N_iptables : str_is(mode, "ipvs") ? N_ipvs : N_nftables;
    o->config.min_sync_ns = duration_at(val_at(v, own, N_minSyncPeriod));
}

static void read_configuration(struct options *o, struct val *v)
{
    struct proxy_config *c = &o->config;
    struct str bind = val_getstr(v, N_bindAddress);
    read_min_sync(o, v);
    complete_address(o, v, N_healthzBindAddress, "0.0.0.0:10256", 10256);
    complete_address(o, v, N_metricsBindAddress, "127.0.0.1:10249", 10249);
    defaults_apply(&o->arena, &types[T_kubeproxy_v1alpha1_KubeProxyConfiguration], v);
    read_mode(o, v);
    read_conntrack(o, val_get(v, N_conntrack));
    read_ipvs(o, val_get(v, N_ipvs));
    c->healthz_address = address_at(o, val_get(v, N_healthzBindAddress));
    c->metrics_address = address_at(o, val_get(v, N_metricsBindAddress));
    c->bind_hard_fail = val_bool(val_get(v, N_bindAddressHardFail), false);
    c->node_ip = bind.n && !str_is(bind, "0.0.0.0") && !str_is(bind, "::") ? text_at(o, val_get(v, N_bindAddress)) : NULL;
    c->detect_local = text_at(o, val_get(v, N_detectLocalMode));
    c->cluster_cidr = text_at(o, val_get(v, N_clusterCIDR));
    c->bridge = text_at(o, val_at(v, N_detectLocal, N_bridgeInterface));
    c->interface_prefix = text_at(o, val_at(v, N_detectLocal, N_interfaceNamePrefix));
    if ((!c->mode || !strcmp(c->mode, "nftables")) && !val_len(val_get(v, N_nodePortAddresses))) { /* as upstream has it */
        struct val *primary = val_new(&o->arena, VAL_LIST);
        val_add(&o->arena, primary, val_of_str(STR("primary")));
        val_set(&o->arena, v, N_nodePortAddresses, *primary);
    }
    c->nodeport_addresses = texts_at(o, val_get(v, N_nodePortAddresses));
    if (!o->common.kubeconfig)
        o->common.kubeconfig = text_at(o, val_at(v, N_clientConnection, N_kubeconfig));
    if (!o->node_name)
        o->node_name = text_at(o, val_get(v, N_hostnameOverride));
    gethostname(o->host, sizeof(o->host) - 1);
    c->node_name = o->node_name ? o->node_name : o->host;
}

static void keep_configz(struct options *o, const struct val *v)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    json_encode(&b, &types[T_kubeproxy_v1alpha1_KubeProxyConfiguration], v, 0);
    o->config.configz = arena_str(&o->arena, buf_str(&b));
}

/* ---- the program ---------------------------------------------------------------------------------------- */

struct alone {
    struct options *o;
    const struct val *v;
    struct err *e;
    int r;
};

static void clean_up(void *arg)
{
    struct alone *c = arg;
    c->r = proxy_cleanup(c->o->config.table, true, c->e);
}

static void init_only(void *arg)
{
    struct alone *c = arg;
    c->r = proxy_run(&c->o->config, c->e);
}

static void write_defaults(void *arg)
{
    struct alone *c = arg;
    struct buf b CLEANUP_BUF = BUF_INIT;
    yaml_encode(&b, &types[T_kubeproxy_v1alpha1_KubeProxyConfiguration], c->v);
    c->r = os_write_file(c->o->write_to, buf_str(&b), 0600);
    if (c->r < 0)
        err_set(c->e, c->r, "%s: %s", c->o->write_to, strerror(-c->r));
}

static int alone(struct options *o, const struct val *v, void (*fn)(void *arg), struct err *e)
{
    struct alone c = {o, v, e, 0};
    loop_run(fn, &c);
    return c.r < 0 ? c.r : 1;
}

static void set_oom_score(const struct val *v)
{
    FILE *f = fopen("/proc/self/oom_score_adj", "we");
    if (!f)
        return;
    fprintf(f, "%lld", (long long)val_int(val_get(v, N_oomScoreAdj), -999));
    fclose(f); /* not allowed to: then not */
}

static int prepare(void *arg, struct err *e)
{
    struct options *o = arg;
    struct val *v = NULL;
    int r = o->config_file ? from_file(o, &v, e) : from_flags(o, &v, e);
    if (r == 0)
        r = check(v, e);
    if (r < 0)
        return o->config_file ? err_wrap(e, r, "--config %s", o->config_file) : r;
    val_set_str(&o->arena, v, N_apiVersion, STR("kubeproxy.config.k8s.io/v1alpha1"));
    val_set_str(&o->arena, v, N_kind, STR("KubeProxyConfiguration"));
    read_configuration(o, v);
    keep_configz(o, v);
    o->config.flags = zpages_flags(&o->arena, o->flags);
    if (o->write_to)
        return alone(o, v, write_defaults, e);
    if (o->cleanup)
        return alone(o, v, clean_up, e);
    if (o->config.init_only)
        return alone(o, v, init_only, e);
    set_oom_score(v);
    return 0;
}

static int run(void *arg, struct client *c, struct err *e)
{
    struct options *o = arg;
    o->config.client = c;
    return proxy_run(&o->config, e);
}

int proxy_main(int argc, char **argv)
{
    struct options o = {.healthz_port = -1, .metrics_port = -1};
    const struct flag own[] = {
        DAEMON_FLAGS(&o.common),
        {"config", 0, FLAG_STRING, &o.config_file, "KubeProxyConfiguration file (kubeproxy.config.k8s.io/v1alpha1)"},
        {"write-config-to", 0, FLAG_STRING, &o.write_to, "write the configuration there and end"},
        {"hostname-override", 0, FLAG_STRING, &o.node_name, "name of this node (the host name)"},
        {"cleanup", 0, FLAG_BOOL, &o.cleanup, "remove all rules, of every mode, and end"},
        {"init-only", 0, FLAG_BOOL, &o.config.init_only, "do what needs all of root's rights, and end"},
        {"nftables-table", 0, FLAG_STRING, &o.config.table, "name of our table (cube-proxy)"},
        {"healthz-port", 0, FLAG_INT, &o.healthz_port, NULL},
        {"metrics-port", 0, FLAG_INT, &o.metrics_port, NULL},
        FLAG_NO_EFFECT("kube-api-qps", "requests are not paced"),
    };
    struct flag flags[ARRAY_SIZE(own) + ARRAY_SIZE(settings) + 1] = {0};
    memcpy(flags, own, sizeof(own));
    for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
        flags[ARRAY_SIZE(own) + i] = (struct flag){settings[i].flag, 0, FLAG_STRING, &o.values[i], settings[i].help, settings[i].no_value};
    o.flags = flags;
    struct daemon d = {"kube-proxy", "The service proxy of a node.", flags, &o.common, run, &o, prepare};
    int r = daemon_main(&d, argc, argv);
    arena_done(&o.arena);
    return r;
}
