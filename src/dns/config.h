/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a Corefile means: server blocks with their plug-ins, as CoreDNS v1.15 reads them. A configuration is made whole or
 * not at all, so that the last good one goes on being served.
 */
#pragma once

#include "dns/cache.h"
#include "dns/corefile.h"
#include "dns/forward.h"
#include "dns/hosts.h"
#include "dns/rewrite.h"
#include "dns/template.h"
#include "dns/zone.h"
#include "net/tls.h"
#include "netlink/prefix.h"

struct log_rule {
    const char *zone;
    const char *format;
    bool success, denial, error; /* the classes of answers that are written */
};

struct acl_rule {
    const char *zone; /* "" for all */
    struct acl_policy {
        enum acl_action { ACL_ALLOW, ACL_BLOCK, ACL_FILTER, ACL_DROP } action;
        int type; /* 0: any */
        struct prefixes networks; /* none: everybody */
    } * policies;
    size_t n_policies;
};

struct kubernetes {
    struct zone_options options;
    struct selector labels, namespace_labels;
};

/* `autopath`: the search list of the asker's resolver, gone through here. */
struct autopath {
    const char *const *zones;
    size_t n_zones;
    bool by_pod;         /* the asker's namespace begins the list */
    const char **search; /* zones; those of this machine when by_pod; "" ends it */
    size_t n_search;
    uint64_t found;
};

/* `dns64` (RFC 6147) */
struct dns64 {
    struct prefix prefix;
    bool all, v4; /* also where there are AAAA records; also for who asks over IPv4 */
    uint64_t translated;
};

/* What may be wrong with a client's certificate. */
enum client_auth { CLIENT_NONE, CLIENT_REQUEST, CLIENT_REQUIRE, CLIENT_VERIFY_IF_GIVEN, CLIENT_REQUIRE_AND_VERIFY };

struct block {
    const char **zones; /* lower case, without the last dot, "" for all */
    size_t n_zones;
    uint16_t port;
    bool over_tls;              /* "tls://": RFC 7858 */
    struct tls_server *tls;
    enum client_auth client_auth;
    struct str key;   /* of its first zone, "cluster.local.": in metrics */
    struct str *binds; /* addresses; none: the server's own */
    size_t n_binds;
    bool errors, loop, loadbalance, minimal, any, whoami;
    bool waits; /* has what only the server's own loop can do (log, rewrite, template ...) */
    uint16_t bufsize; /* 0: as the asker says */
    struct log_rule *logs;
    size_t n_logs;
    struct acl_rule *acls;
    size_t n_acls;
    const char *chaos_version;
    struct str *chaos_authors;
    size_t n_chaos_authors;
    struct rewrites rewrites;
    struct templates templates;
    struct hosts *hosts;
    struct kubernetes *kubernetes;
    struct autopath *autopath;
    struct dns64 *dns64;
    struct dns_cache *cache;
    struct forwarder **forwards;
    size_t n_forwards;
};

struct config {
    unsigned refs;
    struct arena arena;
    struct block *blocks;
    size_t n;
    const char *health, *ready, *prometheus; /* addresses to listen on, ":8080"; NULL: not */
    int64_t lameduck, reload; /* reload: 0 is never */
    bool pods_verified;
    uint64_t hash; /* of the text */
};

struct config_world {
    struct corefile_world corefile;
    struct str (*file)(void *ctx, struct arena *a, const char *path); /* hosts files, resolv.conf, certificates; .p NULL: cannot be read */
    void *ctx;
    const struct str *own; /* addresses ("10.96.0.10") that must not be asked in turn */
    size_t n_own;
    uint16_t port; /* where blocks without a port, and those with 53, are; 0: 53 */
};

/* 0, or -errno with a sentence that names file and line. */
int config_parse(const char *file, struct str text, const struct config_world *w, struct config **ret, struct err *e);
struct config *config_ref(struct config *c);
void config_unref(struct config *c); /* NULL is fine */
/* The block whose certificate is shown at a port; NULL: it is not one of TLS. */
const struct block *config_tls(const struct config *c, uint16_t port);
/* The block for a name (lower case) at a port: that of the longest zone; NULL: none. */
const struct block *config_block(const struct config *c, uint16_t port, struct str name);

/* ---- for the plug-ins' own files ------------------------------------------------------------------------------ */

struct config_parse {
    struct config *config;
    struct arena *a; /* the configuration's */
    struct block *block;
    const struct config_world *world;
    struct err *e;
};

int config_refuse(const struct config_parse *p, const struct directive *d, const char *fmt, ...) PRINTF(3, 4);
int config_number(const struct config_parse *p, const struct directive *d, struct str text, int64_t min, int64_t max, int64_t *ret);
int config_duration(const struct config_parse *p, const struct directive *d, struct str text, int64_t *ret);
/* The arguments from `from` on as zones, or the block's own when there are none. */
int config_zones(const struct config_parse *p, const struct directive *d, size_t from, const char *const **ret, size_t *ret_n);
/* The same for `fallthrough`: everything when there are none. */
int config_fall(const struct config_parse *p, const struct directive *d, const char *const **ret, size_t *ret_n);
/* A pattern, to be freed with cel_regex_free. */
int config_pattern(const struct config_parse *p, const struct directive *d, struct str text, struct cel_regex **ret);
/* One name as zones are kept: lower case, without the last dot; -EINVAL. */
int config_name(const struct config_parse *p, const struct directive *d, struct str text, const char **ret);
