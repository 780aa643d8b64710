/* SPDX-License-Identifier: Apache-2.0 */
#include "adm/parts.h"

#include "adm/addresses.h"
#include "adm/forward.h"
#include "announce/announce.h"
#include "auth/pki.h"
#include "base/log.h"
#include "base/os.h"
#include "controllers/engine.h"
#include "dns/dns.h"
#include "ingress/ingress.h"
#include "type/ingress.h"
#include "names.h"
#include "net/resolve.h"
#include "node/kubelet.h"
#include "netlink/nft.h"
#include "overlay/overlay.h"
#include "policy/policy.h"
#include "proxy/proxy.h"
#include "resources.h"
#include "scheduler/scheduler.h"

#include <stdio.h>

/* ---- certificates -------------------------------------------------------------------------------------------------- */

static struct pki_config pki_of(struct arena *a, const struct cluster_config *c)
{
    const char **dns = ARENA_ARRAY(a, const char *, 3);
    struct prefixes services = {0};
    dns[0] = c->node_name;
    dns[1] = "localhost";
    /* The first address of the services is the Service `kubernetes`. */
    const char *first = ranges_parse(a, "service-cidr", c->service_cidr, &services, NULL) == 0 ? addresses_at(a, &services, 1) : "";
    const char **ips = list_items(a, arena_printf(a, "%s,127.0.0.1,::1,%s", c->advertise, first).p);
    return (struct pki_config){.dir = arena_printf(a, "%s/pki", c->conf_dir).p, .apiserver_dns = dns, .apiserver_ips = ips,
                               .dns_domain = c->cluster_domain, .now = os_wall()};
}

int parts_kubelet_cert(struct arena *a, const struct cluster_config *c, struct str ca_pem, struct str ca_key_pem,
                       struct str *ret_cert, struct str *ret_key, struct err *e)
{
    const char *dns[] = {c->node_name, NULL}, *orgs[] = {"system:nodes", NULL};
    const char **ips = list_items(a, arena_printf(a, "%s,127.0.0.1,::1", c->advertise).p);
    struct wall now = os_wall();
    struct x509_spec spec = {
        .names = {.cn = arena_printf(a, "system:node:%s", c->node_name).p, .orgs = orgs, .dns = dns, .ips = ips},
        .usages = X509_SERVER_AUTH | X509_DIGITAL_SIGNATURE,
        .not_before = {now.ns - SECONDS(3600)},
        .not_after = {now.ns + SECONDS(365 * 86400)},
    };
    struct x509_cert *ca = NULL, *cert = NULL;
    struct x509_key *ca_key = NULL, *key = NULL;
    struct buf cert_pem CLEANUP_BUF = BUF_INIT, key_pem CLEANUP_BUF = BUF_INIT;
    int r = x509_cert_parse(ca_pem, &ca, e);
    if (r == 0)
        r = x509_key_parse(ca_key_pem, &ca_key, e);
    if (r == 0)
        r = x509_key_generate(&key);
    if (r == 0)
        r = x509_issue(&spec, key, ca, ca_key, &cert, e);
    if (r == 0) {
        x509_cert_pem(cert, &cert_pem);
        x509_key_pem(key, &key_pem);
        *ret_cert = arena_str(a, buf_str(&cert_pem));
        *ret_key = arena_str(a, buf_str(&key_pem));
    }
    x509_cert_unref(ca);
    x509_cert_unref(cert);
    x509_key_unref(ca_key);
    x509_key_unref(key);
    return r < 0 ? err_wrap(e, r, "the kubelet's certificate") : 0;
}

int parts_certificates(struct arena *a, const struct cluster_config *c, struct parts_input *in, struct err *e)
{
    struct pki_config p = pki_of(a, c);
    const char *server = api_url(a, c);
    int r = pki_ensure(a, &p, NULL, e);
    if (r == 0)
        r = pki_kubeconfigs_ensure(a, &p, c->conf_dir, server, c->node_name, NULL, e);
    if (r < 0)
        return r;
    r = os_read_file(a, arena_printf(a, "%s/ca.crt", p.dir).p, 1 << 20, &in->ca_pem);
    if (r == 0)
        r = os_read_file(a, arena_printf(a, "%s/ca.key", p.dir).p, 1 << 20, &in->ca_key_pem);
    if (r < 0)
        return err_set(e, r, "cannot read the cluster's CA in %s: %s", p.dir, strerror(-r));
    /* Made at each start: its key never touches the disk. */
    return parts_kubelet_cert(a, c, in->ca_pem, in->ca_key_pem, &in->kubelet_cert, &in->kubelet_key, e);
}

static bool is_left_out(const struct cluster_config *c, const char *name)
{
    struct str rest = str_of(c->without), word;
    while (c->without && str_next(&rest, ',', &word))
        if (str_eq(word, str_of(name)))
            return true;
    return false;
}

struct str parts_dns_untrack(struct arena *a, const struct cluster_config *c, bool on)
{
    const char *table = !strcmp(c->proxy_table, "cube-proxy") ? "cube-dns" : arena_printf(a, "%s-dns", c->proxy_table).p;
    struct str gone = arena_printf(a, "add table inet %s\ndelete table inet %s\n", table, table), rules = STR("");
    if (!on)
        return gone;
    for (const char **ip = list_items(a, c->dns_ip); *ip; ip++) {
        const char *family = strchr(*ip, ':') ? "ip6" : "ip";
        rules = arena_printf(a,
                             STR_FMT "%s daddr %s meta l4proto { tcp, udp } th dport 53 notrack\n"
                             "%s saddr %s meta l4proto { tcp, udp } th sport 53 notrack\n",
                             STR_ARG(rules), family, *ip, family, *ip);
    }
    return arena_printf(a,
                        STR_FMT "table inet %s {\n"
                        "chain prerouting {\ntype filter hook prerouting priority raw; policy accept;\n" STR_FMT "}\n"
                        "chain output {\ntype filter hook output priority raw; policy accept;\n" STR_FMT "}\n}\n",
                        STR_ARG(gone), table, STR_ARG(rules), STR_ARG(rules));
}

/* Pods reach it by their default route; the address lives on the loopback interface. */
static int take_dns_address(const char *ip, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str text;
    const char *argv[] = {"ip", "addr", "replace", as_host(&a, ip), "dev", "lo", NULL};
    int r = os_run(&a, argv, NULL, &text, mono_add(os_mono(), SECONDS(10)));
    if (r == -ENOENT)
        return err_set(e, r, "the program ip was not found: apt-get install iproute2");
    return r ? err_set(e, -EIO, "cannot give this node the DNS address %s: " STR_FMT, ip, STR_ARG(str_trim(text))) : 0;
}

static void leave_dns_address(const char *ip)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str text;
    const char *argv[] = {"ip", "addr", "delete", as_host(&a, ip), "dev", "lo", NULL};
    os_run(&a, argv, NULL, &text, mono_add(os_mono(), SECONDS(10)));
}

/* To somebody else's proxy the Service of our DNS has no endpoints, so it would refuse it; untracked packets are none of its
 * business (as with NodeLocal DNSCache). */
int parts_network(const struct parts_input *in, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    bool ours = !is_left_out(in->config, "dns"), untracked = ours && is_left_out(in->config, "proxy");
    int r = 0;
    if (has_family(in->config->pod_cidr, AF_INET6))
        forward_six();
    for (const char **ip = list_items(&a, in->config->dns_ip); r == 0 && *ip; ip++)
        if (ours)
            r = take_dns_address(*ip, e);
        else
            leave_dns_address(*ip);
    if (r < 0 || !in->config->without)
        return r;
    r = nft_apply(parts_dns_untrack(&a, in->config, untracked), e);
    return r < 0 && untracked ? err_wrap(e, r, "the rule for DNS beside a foreign proxy") : 0;
}

/* ---- the parts -------------------------------------------------------------------------------------------------------- */

static const char *const masters[] = {"system:masters", NULL};
static const char *const nodes_group[] = {"system:nodes", NULL};
static const char *const no_groups[] = {NULL};

static const char *user_controllers(const struct parts_input *in UNUSED)
{
    return "system:kube-controller-manager";
}

static int run_controllers(const struct parts_input *in, struct client *client, struct err *e)
{
    struct controllers_config c = {.names = "*,service-repair-controller",
                                   .root_ca = in->ca_pem,
                                   .cluster_cidr = in->config->pod_cidr,
                                   .service_cidr = in->config->service_cidr,
                                   .service_node_ports = in->config->node_ports,
                                   .load_balancer_pool = in->config->load_balancer_pool,
                                   .node_monitor_grace = in->config->node_grace,
                                   .node_monitor_period = in->config->node_grace / 10,
                                   .signing_cert = in->ca_pem,
                                   .signing_key = in->ca_key_pem};
    return controllers_run_with(client, &c, e);
}

static const char *user_scheduler(const struct parts_input *in UNUSED)
{
    return "system:kube-scheduler";
}

static int run_scheduler(const struct parts_input *in UNUSED, struct client *client, struct err *e)
{
    return scheduler_run(&(struct scheduler_config){.client = client}, e);
}

static const char *user_node(const struct parts_input *in)
{
    return arena_printf(in->arena, "system:node:%s", in->config->node_name).p;
}

static void tell_policy(void *gate, struct str ns, struct str name, struct str uid, struct str addresses)
{
    policy_placed(gate, ns, name, uid, addresses);
}

/* The disk of a person's own machine is seldom as empty as upstream's thresholds (10 and 15 % free) ask: what is evicted here is what
 * would otherwise fill it, and images stay until it nearly is full. k3s and kind do alike. */
static const char *const own_thresholds[] = {"memory.available=100Mi", "nodefs.available=5%", "nodefs.inodesFree=5%",
                                             "imagefs.available=5%", "imagefs.inodesFree=5%", NULL};
#define OWN_IMAGES_HIGH 93 /* percent of the disk in use at which images go, and to which */
#define OWN_IMAGES_LOW 90

static int run_kubelet(const struct parts_input *in, struct client *client, struct err *e)
{
    const struct cluster_config *c = in->config;
    struct kubelet_config k = {
        .node_name = c->node_name,
        .node_ips = list_items(in->arena, c->advertise),
        .client = client,
        .cri_socket = arena_printf(in->arena, "unix://%s", in->cri_socket).p,
        .root_dir = in->paths.kubelet,
        .pod_logs_dir = in->paths.pod_logs,
        .container_logs_dir = in->paths.container_logs,
        .static_pod_path = in->paths.manifests,
        .cni_conf_dir = in->paths.cni_conf,
        .cni_data_dir = in->paths.cni_data,
        .cni_plugin = c->cni_plugin && !strcmp(c->cni_plugin, "cube-cni") ? c->cni_plugin : NULL,
        .cni_subnet_file = c->overlay_backend && !strcmp(c->overlay_backend, "vxlan") ? in->paths.subnet_file : NULL,
        .cni_bridge = c->bridge,
        .cluster_cidr = c->pod_cidr,
        .cluster_dns = list_items(in->arena, c->dns_ip),
        .cluster_domain = c->cluster_domain,
        .cgroup_root = c->cgroup_root,
        .lease_duration = c->node_grace / 5 * 4, /* upstream's defaults: 40 s and 50 s */
        .listen = every_address(in->arena, c, c->kubelet_port),
        .tls_cert = in->kubelet_cert,
        .tls_key = in->kubelet_key,
        .client_ca = in->ca_pem,
        .token_webhook = true,
        .seccomp_default = true,
        .eviction_hard = own_thresholds,
        .image_gc_high = OWN_IMAGES_HIGH,
        .image_gc_low = OWN_IMAGES_LOW,
        .placed = tell_policy,
        .placed_ctx = in->policy_gate,
    };
    return kubelet_run(&k, e);
}

/* Without a pool nobody gives addresses, or somebody who announces them as well. */
static bool wants_announce(const struct cluster_config *c)
{
    return c->load_balancer_pool && *c->load_balancer_pool;
}

static const char *user_proxy(const struct parts_input *in UNUSED)
{
    return "system:kube-proxy";
}

static int run_proxy(const struct parts_input *in, struct client *client, struct err *e)
{
    /* Upstream's defaults: connections are forgotten a day after the last packet, half-closed ones after an hour. */
    static const struct proxy_conntrack conntrack = {
        .max_per_core = 32768, .min = 131072, .tcp_established = SECONDS(86400), .tcp_close_wait = SECONDS(3600)};
    const struct cluster_config *c = in->config;
    struct proxy_config p = {.client = client,
                             .node_name = c->node_name,
                             .node_ip = c->advertise,
                             .cluster_cidr = c->pod_cidr,
                             .skip_ips = is_left_out(c, "dns") ? NULL : list_items(in->arena, c->dns_ip),
                             .mode = c->proxy_mode,
                             .ipvs_strict_arp = wants_announce(c), /* else each node's kernel answers for all addresses */
                             .conntrack = &conntrack,
                             .healthz_address = every_address(in->arena, c, c->proxy_health_port),
                             .metrics_address = arena_printf(in->arena, "127.0.0.1:%lld", (long long)c->proxy_metrics_port).p,
                             .table = c->proxy_table};
    return proxy_run(&p, e);
}

static int run_overlay(const struct parts_input *in, struct client *client, struct err *e)
{
    struct overlay_config o = {.client = client,
                               .node_name = in->config->node_name,
                               .cluster_cidr = in->config->pod_cidr,
                               .backend = in->config->overlay_backend,
                               .subnet_file = in->paths.subnet_file};
    return overlay_run(&o, e);
}

static const char *user_overlay(const struct parts_input *in UNUSED)
{
    return "system:cube-overlay";
}

const char *parts_policy_table(struct arena *a, const struct cluster_config *c)
{
    return !strcmp(c->proxy_table, "cube-proxy") ? "cube-policy" : arena_printf(a, "%s-policy", c->proxy_table).p;
}

static const char *user_policy(const struct parts_input *in UNUSED)
{
    return "system:cube-policy";
}

static int run_policy(const struct parts_input *in, struct client *client, struct err *e)
{
    struct policy_config p = {.client = client,
                              .node_name = in->config->node_name,
                              .table = parts_policy_table(in->arena, in->config),
                              .gate = in->policy_gate};
    return policy_run(&p, e);
}

static const char *user_ingress(const struct parts_input *in UNUSED)
{
    return INGRESS_USER;
}

static int run_ingress(const struct parts_input *in, struct client *client, struct err *e)
{
    const struct cluster_config *c = in->config;
    struct ingress_config g = {.client = client,
                               .http = every_address(in->arena, c, c->ingress_http),
                               .https = every_address(in->arena, c, c->ingress_https),
                               .publish = list_items(in->arena, c->advertise),
                               .access_log = c->ingress_log,
                               .node_name = c->node_name};
    return ingress_run(&g, e);
}

static const char *user_announce(const struct parts_input *in UNUSED)
{
    return "system:cube-announce";
}

static int run_announce(const struct parts_input *in, struct client *client, struct err *e)
{
    struct announce_config a = {.client = client, .node_name = in->config->node_name, .pod_cidr = in->config->pod_cidr};
    return announce_run(&a, e);
}

static const char *user_dns(const struct parts_input *in UNUSED)
{
    return "system:coredns";
}

static int run_dns(const struct parts_input *in, struct client *client, struct err *e)
{
    const char **listen = list_items(in->arena, in->config->dns_ip);
    for (const char **ip = listen; *ip; ip++)
        *ip = net_join(in->arena, *ip, 53);
    return dns_run(&(struct dns_config){.client = client, .listen = listen, .cluster_domain = in->config->cluster_domain}, e);
}

/* On further nodes, clients come with certificates of these users: node_certificates() in nodes.c. */
const struct part parts[] = {
    {"controllers", false, user_controllers, masters, run_controllers, NULL},
    {"scheduler", false, user_scheduler, no_groups, run_scheduler, NULL},
    {"kubelet", true, user_node, nodes_group, run_kubelet, NULL},
    {"proxy", true, user_proxy, no_groups, run_proxy, NULL},
    {"dns", true, user_dns, no_groups, run_dns, NULL},
    {"overlay", true, user_overlay, no_groups, run_overlay, NULL},
    {"policy", true, user_policy, no_groups, run_policy, NULL},
    {"ingress", false, user_ingress, no_groups, run_ingress, NULL},
    {"announce", true, user_announce, no_groups, run_announce, wants_announce},
    {0},
};

/* ---- running them ------------------------------------------------------------------------------------------------------ */

struct part_run {
    const struct part *part;
    const struct parts_input *in;
    part_client *client;
    void *arg;
};

static int run_once(const struct part_run *p, struct client **client, struct err *e)
{
    if (!*client && !(*client = p->client(p->arg, p->part, e)))
        return -EIO;
    return p->part->run(p->in, *client, e);
}

static void run_part(void *arg)
{
    struct part_run *p = arg;
    struct client *client = NULL;
    for (unsigned failures = 0;; failures = MIN(failures + 1, 6u)) {
        struct err e = {0};
        int r = run_once(p, &client, &e);
        if (r == -ECANCELED || fiber_cancelled())
            break;
        log_error(p->part->name, "%s; it starts again in %u s", err_text(&e, r), 1u << failures);
        char text[600];
        snprintf(text, sizeof(text), "%s: %s", p->part->name, err_text(&e, r));
        if (p->in->trouble)
            p->in->trouble(p->in->trouble_arg, text);
        if (fiber_sleep(SECONDS(1u << failures)) < 0)
            break;
    }
    client_free(client);
    free(p);
}

void parts_start(struct group *g, const struct parts_input *in, bool everywhere_only, part_client *client, void *arg)
{
    for (const struct part *part = parts; part->name; part++) {
        if (is_left_out(in->config, part->name) || (everywhere_only && !part->everywhere) || (part->wanted && !part->wanted(in->config)))
            continue;
        struct part_run *p = NEW(struct part_run);
        *p = (struct part_run){part, in, client, arg};
        group_spawn(g, part->name, run_part, p);
    }
}

static bool is_part(struct str name)
{
    for (const struct part *part = parts; part->name; part++)
        if (str_eq(name, str_of(part->name)))
            return true;
    return false;
}

int parts_check(const struct cluster_config *c, struct err *e)
{
    struct str rest = str_of(c->without), word;
    while (c->without && str_next(&rest, ',', &word))
        if (!is_part(word))
            return err_set(e, -EINVAL, "--without: \"" STR_FMT "\" is not one of controllers, scheduler, kubelet, proxy, dns, overlay, policy, ingress, announce",
                           STR_ARG(word));
    struct controllers_config k = {.cluster_cidr = c->pod_cidr, .service_cidr = c->service_cidr, .load_balancer_pool = c->load_balancer_pool};
    return controllers_check(&k, e);
}
