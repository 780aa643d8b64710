/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CNI plug-in (CNI specification 1.1): one process a call, told what to do by environment and standard input. `cube cni`
 * and the links cube-cni, bridge, host-local, portmap, bandwidth, loopback and flannel. As cube-cni it is bridge, addresses,
 * host ports and bandwidth in one call.
 */
#pragma once

#include "base/err.h"
#include "netlink/prefix.h"
#include "netlink/subnet_env.h"
#include "wire/value.h"

#include <net/if.h>

int cni_main(int argc, char **argv);

/* The codes of the specification; what is ours begins with 100. */
enum cni_code {
    CNI_OK = 0,
    CNI_BAD_VERSION = 1,
    CNI_UNSUPPORTED_FIELD = 2,
    CNI_UNKNOWN_CONTAINER = 3,
    CNI_BAD_ENVIRONMENT = 4,
    CNI_IO = 5,
    CNI_DECODE = 6,
    CNI_BAD_CONFIG = 7,
    CNI_TRY_LATER = 11,
    CNI_NOT_AVAILABLE = 50,
    CNI_FAILED = 100,
    CNI_CHECK_FAILED = 101,
};
/* All functions below return 0 or a code with a sentence in e. */

/* ---- the request (conf.c); pure ------------------------------------------------------------------------ */

enum cni_command { CNI_ADD, CNI_DEL, CNI_CHECK, CNI_GC, CNI_STATUS, CNI_VERSION };

struct cni_range {
    struct prefix subnet;
    struct ip first, last, gateway; /* gateway family 0: none */
};
struct cni_range_set {
    struct cni_range *list;
    size_t n;
};
struct cni_route {
    struct prefix to;
    struct ip via; /* family 0: the gateway */
    struct str json; /* as it was written, with all of CNI 1.1's members */
};
struct cni_ipam {
    struct str type; /* empty: none */
    const char *data_dir;
    struct cni_range_set *sets;
    size_t n_sets;
    struct cni_route *routes;
    size_t n_routes;
    const struct val *dns;
    struct ip *wanted; /* addresses asked for */
    size_t n_wanted;
};
struct cni_port {
    uint16_t host, container;
    const char *protocol; /* tcp, udp, sctp */
    struct ip at;         /* host address; family 0: all */
};
struct cni_bandwidth {
    uint64_t ingress_rate, ingress_burst, egress_rate, egress_burst; /* bits (a second); 0: no limit */
};
struct cni_attachment {
    struct str container, ifname;
};

struct cni_request {
    enum cni_command command;
    const char *container, *netns, *ifname, *path;
    struct str input;
    const struct val *conf;
    struct str version, name, type;
    const struct val *prev; /* prevResult; NULL: none */
    /* bridge */
    char bridge[IFNAMSIZ];
    bool is_gateway, is_default_gateway, hairpin, ip_masq, promisc, force_address;
    uint32_t mtu;
    uint8_t mac[6];
    bool has_mac;
    const char *subnet_file; /* where the MTU (and for type flannel the range) comes from; NULL: nowhere */
    struct cni_ipam ipam;
    /* host ports, bandwidth */
    struct cni_port *ports;
    size_t n_ports;
    bool snat;
    bool guard; /* spoofCheck of cube-cni: the container speaks under its own addresses only */
    struct cni_bandwidth bandwidth;
    struct cni_attachment *valid; /* GC: those that there are */
    size_t n_valid;
};
/* The environment: name and value. */
typedef const char *cni_env(const char *name);
int cni_request_read(struct arena *a, cni_env *env, struct str input, struct cni_request *ret, struct err *e);
/* A configuration by itself: what DEL of a delegate, tests and fuzzing use. */
int cni_conf_read(struct arena *a, struct str input, struct cni_request *ret, struct err *e);
bool cni_version_known(struct str version);
/* What type flannel hands on: its delegate with bridge's and host-local's members filled in, as JSON. */
int cni_flannel_delegate(struct arena *a, const struct val *conf, const struct subnet_env *env, struct str *ret,
                         struct err *e);

/* ---- the result (result.c); pure ------------------------------------------------------------------------ */

struct cni_interface {
    char name[IFNAMSIZ];
    char mac[MAC_TEXT_MAX];
    const char *sandbox; /* NULL: the host */
    uint32_t mtu;
};
struct cni_address {
    struct prefix at;
    struct ip gateway; /* family 0: none */
    int interface;     /* index; -1: none */
};
struct cni_result {
    struct cni_interface *interfaces;
    size_t n_interfaces;
    struct cni_address *addresses;
    size_t n_addresses;
    const struct cni_route *routes;
    size_t n_routes;
    const struct val *dns;
};
void cni_result_print(struct buf *b, struct str version, const struct cni_result *r);
void cni_error_print(struct buf *b, struct str version, int code, const char *message);
void cni_versions_print(struct buf *b);
/* prevResult in any version's form. */
int cni_result_read(struct arena *a, const struct val *v, struct cni_result *ret, struct err *e);

/* ---- addresses (ipam.c) ----------------------------------------------------------------------------------- */

/* host-local's files below data_dir/<network>/: one an address with its owner, last_reserved_ip.N, lock. Beside them, in .cube/,
 * what each attachment has. */
struct cni_store {
    char dir[512];
    int lock;
};
/* Makes the folders and takes the lock. */
int cni_store_open(const char *data_dir, struct str network, struct cni_store *ret, struct err *e);
void cni_store_close(struct cni_store *s);
/* An address of each set: those wanted, else the next free one. All or none. */
int cni_ipam_add(struct arena *a, struct cni_store *s, const struct cni_request *r, struct cni_address **ret, size_t *ret_n,
                 struct err *e);
int cni_ipam_del(struct cni_store *s, const char *container, const char *ifname, struct err *e);
int cni_ipam_check(struct cni_store *s, const char *container, const char *ifname, struct err *e);
/* Calls fn for each attachment on record that `valid` does not have, then releases its addresses. */
typedef void cni_stale(void *arg, const char *container, const char *ifname, struct str notes);
int cni_ipam_gc(struct cni_store *s, const struct cni_attachment *valid, size_t n, cni_stale *fn, void *arg, struct err *e);
/* Lines that an attachment needs for its end; kept with its addresses. */
int cni_notes_write(struct cni_store *s, const char *container, const char *ifname, struct str notes, struct err *e);
struct str cni_notes_read(struct arena *a, struct cni_store *s, const char *container, const char *ifname);
void cni_notes_remove(struct cni_store *s, const char *container, const char *ifname);
/* The next address of the ranges after `last` (family 0: none was given yet) for which is_free says so. Pure. */
typedef bool cni_is_free(void *arg, const struct ip *ip);
bool cni_ipam_next(const struct cni_range_set *set, const struct ip *last, cni_is_free *is_free, void *arg, struct ip *ret,
                   const struct cni_range **ret_range);

/* ---- links (link.c), ports (ports.c), guard (guard.c), bandwidth (bandwidth.c) ---------------------------------------------- */

int cni_bridge_add(struct arena *a, const struct cni_request *r, struct cni_result *result, struct err *e);
int cni_bridge_del(const struct cni_request *r, struct err *e);
int cni_bridge_check(struct arena *a, const struct cni_request *r, const struct cni_result *prev, struct err *e);
int cni_loopback(const struct cni_request *r, struct cni_result *result, struct arena *a, struct err *e);
bool cni_is_host_link(const char *name);

/* text and notes: cni_ports_text's; the notes are what must be said again to take it away. */
int cni_ports_add(const struct cni_request *r, const struct cni_result *result, struct str text, struct str notes,
                  struct err *e);
void cni_ports_del(struct str notes);
/* Removes the table of host ports when no port is in it: clusters of one machine share it. 0 or -errno. Waits. */
int cni_ports_cleanup(struct err *e);
int cni_ports_check(const struct cni_request *r, const struct cni_result *result, struct err *e);
/* nft commands of one request; notes gets a line an element. Pure. */
void cni_ports_text(struct buf *b, struct buf *notes, const struct cni_request *r, const struct cni_result *result);

/* What comes out of the container's cable bears its own addresses (guard.c). */
int cni_guard_add(const struct cni_request *r, const struct cni_result *result, struct buf *notes, struct err *e);
void cni_guard_del(struct str notes);
int cni_guard_cleanup(struct err *e); /* as cni_ports_cleanup */

/* What must be said again to take the device away, if there is to be one. Pure. */
void cni_bandwidth_notes(const struct cni_request *r, struct buf *notes);
int cni_bandwidth_add(const struct cni_request *r, const struct cni_result *result, struct err *e);
void cni_bandwidth_del(struct str notes);
int cni_bandwidth_check(const struct cni_request *r, const struct cni_result *result, struct err *e);
/* The bucket's size when none is said: what the reference plug-in's users must say, made good enough. Pure. */
uint32_t cni_bucket(uint64_t rate_bits, uint64_t burst_bits);
