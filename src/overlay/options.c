/* SPDX-License-Identifier: Apache-2.0 */
/* The overlay as a program, with flanneld's flags. */
#include "overlay/overlay.h"

#include "client/daemon.h"

#include <unistd.h>

struct options {
    struct daemon_flags common;
    struct overlay_config config;
    struct flag_list links, patterns;
    const char *public4, *public6;
    struct subnets_config subnets;
    int64_t margin; /* minutes */
    bool kube;
};

static int prepare(void *arg, struct err *e)
{
    struct options *o = arg;
    const char *const texts[FAMILIES] = {o->public4, o->public6};
    for (unsigned f = 0; f < FAMILIES; f++) {
        struct ip *to = &o->config.uplink.public[f];
        if (texts[f] && (!ip_parse(str_of(texts[f]), to) || family_of(to) != f))
            return err_set(e, -EINVAL, "\"%s\" is no address for --public-ip%s", texts[f], f == V4 ? "" : "v6");
    }
    if (o->subnets.ttl < 0 || (o->subnets.ttl && o->subnets.ttl < SECONDS(1)))
        return err_set(e, -EINVAL, "--subnet-lease-ttl: at least a second");
    if (o->margin < 1 || o->margin >= 24 * 60)
        return err_set(e, -EINVAL, "--subnet-lease-renew-margin %lld: expected 1 to 1439 minutes", (long long)o->margin);
    o->subnets.margin = SECONDS(60) * o->margin;
    o->subnets.subnet_file = o->config.subnet_file;
    if (o->subnets.etcd.endpoints && !o->kube)
        o->config.subnets = &o->subnets;
    return 0;
}

static int run(void *arg, struct client *c, struct err *e)
{
    struct options *o = arg;
    char host[256] = {0};
    gethostname(host, sizeof(host) - 1);
    const char *name = getenv("NODE_NAME"); /* flanneld is told so */
    o->config.client = c;
    o->config.node_name = o->config.node_name ? o->config.node_name : name && *name ? name : host;
    o->config.uplink.links = &o->links;
    o->config.uplink.patterns = &o->patterns;
    return overlay_run(&o->config, e);
}

int overlay_main(int argc, char **argv)
{
    struct options o = {.margin = 60, .config = {.fallback = "vxlan", .tell_network = true,
                                   .net_conf_path = "/etc/kube-flannel/net-conf.json",
                                   .subnet_file = "/run/flannel/subnet.env"}};
    struct overlay_config *c = &o.config;
    struct etcd_config *etcd = &o.subnets.etcd;
    struct flag flags[] = {
        DAEMON_FLAGS(&o.common),
        {"node-name", 0, FLAG_STRING, &c->node_name, "name of this node ($NODE_NAME, the host name)"},
        {"cluster-cidr", 0, FLAG_STRING, &c->cluster_cidr, "all pods' ranges, comma separated (net-conf.json's, any)"},
        {"backend", 0, FLAG_STRING, &c->backend,
         "how packets travel: host-gw, vxlan (net-conf.json's; else vxlan, plainly to nodes of one's own network)"},
        {"net-config-path", 0, FLAG_STRING, &c->net_conf_path,
         "net-conf.json (/etc/kube-flannel/net-conf.json; else the ConfigMap kube-flannel/kube-flannel-cfg)"},
        {"iface", 0, FLAG_STRINGS, &o.links, "link to other nodes, by name or address (that with the node's address)"},
        {"iface-regex", 0, FLAG_ARRAY, &o.patterns, "link to other nodes, by a pattern of its name or address"},
        {"iface-can-reach", 0, FLAG_STRING, &c->uplink.can_reach, "link to other nodes: the one towards this address"},
        {"public-ip", 0, FLAG_STRING, &o.public4, "IPv4 address that others are told (the link's)"},
        {"public-ipv6", 0, FLAG_STRING, &o.public6, "IPv6 address that others are told (the link's)"},
        {"subnet-file", 0, FLAG_STRING, &c->subnet_file, "where to write this node's range (/run/flannel/subnet.env)"},
        {"ip-masq", 0, FLAG_BOOL, &c->ip_masq, "hide pods behind the node towards the world"},
        {"ip-masq-fully-random-disable", 0, FLAG_BOOL, &c->masq_predictable, "do so without random ports"},
        {"kube-subnet-mgr", 0, FLAG_BOOL, &o.kube, "take subnets from the Nodes (so unless --etcd-endpoints are named)"},
        {"kube-annotation-prefix", 0, FLAG_STRING, &c->annotation_prefix,
         "what annotations begin with (" FLANNEL_PREFIX ")"},
        {"kubeconfig-file", 0, FLAG_STRING, &o.common.kubeconfig, "the same as --kubeconfig"},
        {"kube-api-url", 0, FLAG_STRING, &o.common.master, "the same as --master"},
        {"etcd-endpoints", 0, FLAG_STRING, &etcd->endpoints, "lease subnets in this etcd, without Kubernetes; comma separated"},
        {"etcd-prefix", 0, FLAG_STRING, &o.subnets.prefix, "where in etcd (" LEASE_PREFIX ")"},
        {"etcd-keyfile", 0, FLAG_STRING, &etcd->key_file, "key of the certificate for etcd"},
        {"etcd-certfile", 0, FLAG_STRING, &etcd->cert_file, "certificate for etcd"},
        {"etcd-cafile", 0, FLAG_STRING, &etcd->ca_file, "authorities that etcd's certificate may be of (the system's)"},
        {"etcd-username", 0, FLAG_STRING, &etcd->user, "user of etcd"},
        {"etcd-password", 0, FLAG_STRING, &etcd->password, "and password"},
        {"subnet-lease-renew-margin", 0, FLAG_INT, &o.margin, "renew a lease so many minutes before its end (60)"},
        {"subnet-lease-ttl", 0, FLAG_DURATION, &o.subnets.ttl, "how long a node that says nothing keeps its subnet (24h)"},
        {"healthz-ip", 0, FLAG_IGNORED, NULL, NULL},
        {"healthz-port", 0, FLAG_IGNORED, NULL, NULL},
        {"iptables-resync", 0, FLAG_IGNORED, NULL, NULL},
        {"iptables-forward-rules", 0, FLAG_IGNORED_BOOL, NULL, NULL},
        {"ip-blackhole-route", 0, FLAG_IGNORED_BOOL, NULL, NULL},
        {"set-node-network-unavailable", 0, FLAG_BOOL, &c->tell_network,
         "say by the Node's condition NetworkUnavailable that there is a network (true)"},
        {0},
    };
    struct daemon d = {
        "cube-overlay", "The network between the pods of different nodes.", flags, &o.common, run, &o, prepare};
    int code = daemon_main(&d, argc, argv);
    flag_list_done(&o.links);
    flag_list_done(&o.patterns);
    return code;
}
