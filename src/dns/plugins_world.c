/* SPDX-License-Identifier: Apache-2.0 */
/* `forward`, `cache` and `tls`: how the plug-ins that deal with the world outside are read. */
#include "base/os.h"
#include "dns/plugins.h"
#include "net/resolve.h"

enum { MAX_SERVERS = 15 };

/* ---- forward ---------------------------------------------------------------------------------------------------- */

/* What stands behind `forward FROM`, as it grows. */
struct servers {
    struct forward_server items[MAX_SERVERS];
    size_t n;
};

static bool is_own(const struct config_parse *p, const struct ip *host)
{
    struct ip own;
    for (size_t i = 0; i < p->world->n_own; i++)
        if (ip_parse(p->world->own[i], &own) && ip_equal(&own, host))
            return true;
    return false;
}

/* As the kernel writes addresses: who answers is compared with it. */
static int add_server(const struct config_parse *p, const struct directive *d, const struct ip *host, uint16_t port, bool tls,
                      const char *server_name, struct servers *list)
{
    char text[IP_TEXT_MAX];
    if (list->n == MAX_SERVERS)
        return config_refuse(p, d, "more than %d servers", MAX_SERVERS);
    const char *address = net_join(p->a, ip_format(host, text), port);
    for (size_t i = 0; i < list->n; i++)
        if (!strcmp(list->items[i].address, address) && list->items[i].tls == tls)
            return 0;
    list->items[list->n++] = (struct forward_server){address, tls, server_name};
    return 0;
}

/* The nameservers of a resolv.conf; those that are ourselves would loop. */
static int add_resolv_conf(const struct config_parse *p, const struct directive *d, struct str text, struct servers *list)
{
    struct str line;
    while (str_next(&text, '\n', &line)) {
        struct str word, rest;
        line = str_trim(line);
        size_t n = 0;
        while (n < line.n && line.p[n] != ' ' && line.p[n] != '\t')
            n++;
        word = str_slice(line, 0, n);
        rest = str_trim(str_from(line, n));
        struct ip ip;
        if (!str_is(word, "nameserver") || !ip_parse(rest, &ip) || is_own(p, &ip) || list->n == MAX_SERVERS)
            continue;
        int r = add_server(p, d, &ip, 53, false, NULL, list);
        if (r < 0)
            return r;
    }
    return 0;
}

/* "1.1.1.1", "1.1.1.1:5353", "[::1]:53", "tls://9.9.9.9%dns.quad9.net", "/etc/resolv.conf" */
static int add_target(const struct config_parse *p, const struct directive *d, struct str text, struct servers *list)
{
    bool tls = str_starts(text, STR("tls://"));
    struct str target = tls ? str_from(text, 6) : str_starts(text, STR("dns://")) ? str_from(text, 6) : text, name = STR_NULL;
    char *host;
    uint16_t port;
    struct ip ip;
    if (str_contains(target, STR("://")))
        return config_refuse(p, d, "\"" STR_FMT "\": this server asks over UDP, TCP and TLS only", STR_ARG(text));
    if (tls && str_cut(target, '%', &target, &name) && !name.n)
        return config_refuse(p, d, "\"" STR_FMT "\" lacks a name behind its %%", STR_ARG(text));
    const char *server_name = name.n ? arena_cstr(p->a, name) : NULL;
    uint16_t absent = tls ? 853 : 53;
    if (ip_parse(target, &ip))
        return add_server(p, d, &ip, absent, tls, server_name, list);
    if (net_split(p->a, target, &host, &port) == 0 && ip_parse(str_of(host), &ip))
        return add_server(p, d, &ip, port ? port : absent, tls, server_name, list);
    struct str file = p->world->file ? p->world->file(p->world->ctx, p->a, arena_cstr(p->a, target)) : STR_NULL;
    if (!file.p)
        return config_refuse(p, d, "\"" STR_FMT "\" is neither an address nor a file that can be read", STR_ARG(text));
    return add_resolv_conf(p, d, file, list);
}

static int read_pem(const struct config_parse *p, const struct directive *o, size_t i, struct str *ret)
{
    if (i >= o->n_args)
        return 0;
    *ret = p->world->file ? p->world->file(p->world->ctx, p->a, arena_cstr(p->a, o->args[i])) : STR_NULL;
    return ret->p ? 0 : config_refuse(p, o, "\"" STR_FMT "\" cannot be read", STR_ARG(o->args[i]));
}

/* tls; tls CA; tls CERT KEY; tls CERT KEY CA */
static int read_tls(const struct config_parse *p, const struct directive *o, struct forward_options *f)
{
    bool key = o->n_args >= 2;
    int r = o->n_args > 3 ? config_refuse(p, o, "takes up to three files") : 0;
    if (r == 0 && key)
        r = read_pem(p, o, 0, &f->tls_cert);
    if (r == 0 && key)
        r = read_pem(p, o, 1, &f->tls_key);
    return r < 0 ? r : read_pem(p, o, key ? 2 : 0, &f->tls_ca);
}

static int read_policy(const struct config_parse *p, const struct directive *o, struct forward_options *f)
{
    static const char *const policies[] = {"random", "round_robin", "sequential"};
    for (size_t i = 0; o->n_args == 1 && i < ARRAY_SIZE(policies); i++)
        if (str_is(o->args[0], policies[i])) {
            f->policy = (enum forward_policy)i;
            return 0;
        }
    return config_refuse(p, o, "wants one of random, round_robin, sequential");
}

static int read_codes(const struct config_parse *p, const struct directive *o, struct forward_options *f)
{
    uint8_t *codes = ARENA_ARRAY(p->a, uint8_t, o->n_args + 1);
    for (size_t i = 0; i < o->n_args; i++) {
        int code = dns_code_find(o->args[i]);
        if (code < 0)
            return config_refuse(p, o, "\"" STR_FMT "\" is no code", STR_ARG(o->args[i]));
        codes[i] = (uint8_t)code;
    }
    f->next = codes;
    f->n_next = o->n_args;
    return 0;
}

static int read_health_check(const struct config_parse *p, const struct directive *o, struct forward_options *f)
{
    int r = o->n_args ? config_duration(p, o, o->args[0], &f->health_check) : config_refuse(p, o, "wants a duration");
    for (size_t i = 1; r == 0 && i < o->n_args; i++) {
        if (str_is(o->args[i], "domain") && i + 1 < o->n_args)
            r = config_name(p, o, o->args[++i], &f->health_domain);
        else if (!str_is(o->args[i], "no_rec"))
            r = config_refuse(p, o, "\"" STR_FMT "\" is not known here", STR_ARG(o->args[i]));
    }
    f->health_check = MAX(f->health_check, MILLISECONDS(100));
    return r;
}

static int read_limit(const struct config_parse *p, const struct directive *o, unsigned *ret)
{
    int64_t n;
    int r = o->n_args == 1 ? config_number(p, o, o->args[0], 0, INT32_MAX, &n) : config_refuse(p, o, "wants a number");
    if (r == 0)
        *ret = (unsigned)n;
    return r;
}

static int read_time(const struct config_parse *p, const struct directive *o, int64_t *ret)
{
    return o->n_args == 1 ? config_duration(p, o, o->args[0], ret) : config_refuse(p, o, "wants a duration");
}

static int read_forward_option(const struct config_parse *p, const struct directive *o, struct forward_options *f,
                               struct servers *list)
{
    bool *flag = str_is(o->name, "force_tcp")                          ? &f->force_tcp
                 : str_is(o->name, "prefer_udp")                       ? &f->prefer_udp
                 : str_is(o->name, "failfast_all_unhealthy_upstreams") ? &f->fail_fast
                                                                       : NULL;
    if (flag) {
        *flag = true;
        return o->n_args ? config_refuse(p, o, "takes no arguments") : 0;
    }
    if (str_is(o->name, "except"))
        return config_zones(p, o, 0, &f->except, &f->n_except);
    if (str_is(o->name, "max_fails"))
        return read_limit(p, o, &f->max_fails);
    if (str_is(o->name, "max_concurrent"))
        return read_limit(p, o, &f->max_concurrent);
    if (str_is(o->name, "expire"))
        return read_time(p, o, &f->expire);
    if (str_is(o->name, "read_timeout"))
        return read_time(p, o, &f->read_timeout);
    if (str_is(o->name, "health_check"))
        return read_health_check(p, o, f);
    if (str_is(o->name, "policy"))
        return read_policy(p, o, f);
    if (str_is(o->name, "next"))
        return read_codes(p, o, f);
    if (str_is(o->name, "tls"))
        return read_tls(p, o, f);
    if (str_is(o->name, "tls_servername") && o->n_args == 1) {
        for (size_t i = 0; i < list->n; i++)
            list->items[i].server_name = arena_cstr(p->a, o->args[0]);
        return 0;
    }
    return config_refuse(p, o, "is no option of forward that is known here");
}

int parse_forward(const struct config_parse *p, const struct directive *d)
{
    struct block *b = p->block;
    struct forward_options f = FORWARD_DEFAULTS;
    struct servers list = {.n = 0};
    if (d->n_args < 2)
        return config_refuse(p, d, "wants a zone and servers");
    int r = config_name(p, d, d->args[0], &f.from);
    for (size_t i = 1; r == 0 && i < d->n_args; i++)
        r = add_target(p, d, d->args[i], &list);
    for (size_t i = 0; r == 0 && i < d->n_body; i++)
        r = read_forward_option(p, &d->body[i], &f, &list);
    if (r < 0)
        return r;
    struct forward_server *servers = ARENA_ARRAY(p->a, struct forward_server, list.n + 1);
    memcpy(servers, list.items, list.n * sizeof(*servers));
    f.servers = servers;
    f.n = list.n; /* a resolv.conf without a server but ourselves: everything is SERVFAIL until there is one */
    b->forwards = arena_grow(p->a, b->forwards, b->n_forwards, sizeof(*b->forwards));
    r = forwarder_new(&f, &b->forwards[b->n_forwards], p->e);
    if (r < 0)
        return r;
    b->n_forwards++;
    return 0;
}

/* ---- tls --------------------------------------------------------------------------------------------------------- */

static int read_client_auth(const struct config_parse *p, const struct directive *o, enum client_auth *ret)
{
    static const char *const policies[] = {"nocert", "request", "require", "verify_if_given", "require_and_verify"};
    for (size_t i = 0; o->n_args == 1 && i < ARRAY_SIZE(policies); i++)
        if (str_is(o->args[0], policies[i])) {
            *ret = (enum client_auth)i;
            return 0;
        }
    return config_refuse(p, o, "wants one of nocert, request, require, verify_if_given, require_and_verify");
}

/* CERT KEY [CA] */
int parse_tls(const struct config_parse *p, const struct directive *d)
{
    struct block *b = p->block;
    struct tls_keypair key = {0};
    struct tls_server_config c = {.keys = &key, .n_keys = 1, .no_h2 = true};
    struct err e = {0};
    if (b->tls || d->n_args < 2 || d->n_args > 3)
        return config_refuse(p, d, b->tls ? "stands twice in this block" : "wants a certificate's file, its key's, and possibly a CA's");
    int r = 0;
    for (size_t i = 0; r == 0 && i < d->n_body; i++)
        r = str_is(d->body[i].name, "client_auth") ? read_client_auth(p, &d->body[i], &b->client_auth)
                                                   : config_refuse(p, &d->body[i], "tls knows client_auth only");
    if (r == 0)
        r = read_pem(p, d, 0, &key.cert_pem);
    if (r == 0)
        r = read_pem(p, d, 1, &key.key_pem);
    if (r == 0)
        r = read_pem(p, d, 2, &c.client_ca);
    c.client_auth = b->client_auth == CLIENT_NONE ? TLS_CLIENT_NONE : TLS_CLIENT_REQUEST; /* what came is judged afterwards */
    if (r == 0 && tls_server_new(&c, &b->tls, &e) < 0)
        r = config_refuse(p, d, "%s", e.text);
    return r;
}

/* ---- cache ------------------------------------------------------------------------------------------------------ */

/* success|denial SIZE [MAX [MIN]] */
static int read_share(const struct config_parse *p, const struct directive *o, size_t *size, int64_t *max, int64_t *min)
{
    int64_t n;
    int r = o->n_args ? config_number(p, o, o->args[0], 0, 10000000, &n) : config_refuse(p, o, "wants a size");
    if (r == 0)
        *size = (size_t)n;
    if (r == 0 && o->n_args > 1)
        r = config_number(p, o, o->args[1], 1, INT32_MAX, max);
    if (r == 0 && o->n_args > 2)
        r = config_number(p, o, o->args[2], 0, INT32_MAX, min);
    return r;
}

/* prefetch AMOUNT [DURATION [PERCENT%]] */
static int read_prefetch(const struct config_parse *p, const struct directive *o, struct dns_cache_options *c)
{
    int64_t percent;
    int r = o->n_args ? config_number(p, o, o->args[0], 0, INT32_MAX, &c->prefetch) : config_refuse(p, o, "wants a number");
    if (r == 0 && o->n_args > 1)
        r = config_duration(p, o, o->args[1], &c->prefetch_window);
    if (r == 0 && o->n_args > 2) {
        struct str text = o->args[2];
        if (!str_ends(text, STR("%")))
            return config_refuse(p, o, "\"" STR_FMT "\" is no percentage", STR_ARG(text));
        text.n--;
        r = config_number(p, o, text, 10, 90, &percent);
        c->prefetch_percent = r == 0 ? (unsigned)percent : c->prefetch_percent;
    }
    return r;
}

/* serve_stale [DURATION [immediate|verify]] */
static int read_stale(const struct config_parse *p, const struct directive *o, struct dns_cache_options *c)
{
    c->stale = SECONDS(3600);
    int r = o->n_args ? config_duration(p, o, o->args[0], &c->stale) : 0;
    if (r == 0 && o->n_args > 1) {
        c->verify = str_is(o->args[1], "verify");
        if (!c->verify && !str_is(o->args[1], "immediate"))
            return config_refuse(p, o, "wants immediate or verify");
    }
    return r == 0 && o->n_args > 2 ? config_refuse(p, o, "takes two arguments here") : r;
}

static int read_disable(const struct config_parse *p, const struct directive *o, struct dns_cache_options *c)
{
    static const char *const everything[] = {""};
    bool success = o->n_args && str_is(o->args[0], "success"), denial = o->n_args && str_is(o->args[0], "denial");
    const char *const *zones = everything;
    size_t n = 1;
    if (!success && !denial)
        return config_refuse(p, o, "wants success or denial");
    int r = o->n_args > 1 ? config_zones(p, o, 1, &zones, &n) : 0;
    *(success ? &c->no_success : &c->no_denial) = zones;
    *(success ? &c->n_no_success : &c->n_no_denial) = n;
    return r;
}

static int read_cache_option(const struct config_parse *p, const struct directive *o, struct dns_cache_options *c)
{
    int64_t ns;
    if (str_is(o->name, "success"))
        return read_share(p, o, &c->success_size, &c->success_max, &c->success_min);
    if (str_is(o->name, "denial"))
        return read_share(p, o, &c->denial_size, &c->denial_max, &c->denial_min);
    if (str_is(o->name, "prefetch"))
        return read_prefetch(p, o, c);
    if (str_is(o->name, "serve_stale"))
        return read_stale(p, o, c);
    if (str_is(o->name, "disable"))
        return read_disable(p, o, c);
    if (str_is(o->name, "keepttl")) {
        c->keep_ttl = true;
        return 0;
    }
    if (str_is(o->name, "servfail")) {
        int r = read_time(p, o, &ns);
        if (r == 0 && ns > SECONDS(300))
            return config_refuse(p, o, "RFC 2308 allows five minutes at most");
        c->servfail = r == 0 ? ns / NSEC_PER_SEC : c->servfail;
        return r;
    }
    return config_refuse(p, o, "is no option of cache that is known here");
}

int parse_cache(const struct config_parse *p, const struct directive *d)
{
    struct dns_cache_options c = CACHE_DEFAULTS;
    int64_t ttl = 0;
    size_t first = d->n_args && str_to_i64(d->args[0], &ttl) == 0 ? 1 : 0;
    if (p->block->cache)
        return config_refuse(p, d, "stands twice in this block");
    if (first && ttl <= 0)
        return config_refuse(p, d, "\"" STR_FMT "\" is no time to keep answers", STR_ARG(d->args[0]));
    if (first)
        c.success_max = c.denial_max = ttl;
    int r = config_zones(p, d, first, &c.zones, &c.n_zones);
    for (size_t i = 0; r == 0 && i < d->n_body; i++)
        r = read_cache_option(p, &d->body[i], &c);
    if (r == 0)
        p->block->cache = dns_cache_new(&c);
    return r;
}
