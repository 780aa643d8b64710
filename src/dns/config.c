/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/config.h"

#include "dns/plugins.h"
#include "netlink/prefix.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- helpers of the plug-ins -------------------------------------------------------------------------------- */

int config_refuse(const struct config_parse *p, const struct directive *d, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (!d->file)
        return err_set(p->e, -EINVAL, "%s", text);
    return err_set(p->e, -EINVAL, "%s:%u: " STR_FMT ": %s", d->file, d->line, STR_ARG(d->name), text);
}

int config_number(const struct config_parse *p, const struct directive *d, struct str text, int64_t min, int64_t max, int64_t *ret)
{
    int64_t v;
    if (str_to_i64(text, &v) || v < min || v > max)
        return config_refuse(p, d, "\"" STR_FMT "\" is no number from %lld to %lld", STR_ARG(text), (long long)min, (long long)max);
    *ret = v;
    return 0;
}

int config_duration(const struct config_parse *p, const struct directive *d, struct str text, int64_t *ret)
{
    int64_t v;
    if (duration_parse(text, &v) || v < 0)
        return config_refuse(p, d, "\"" STR_FMT "\" is no duration such as 5s", STR_ARG(text));
    *ret = v;
    return 0;
}

int config_name(const struct config_parse *p, const struct directive *d, struct str text, const char **ret)
{
    struct buf wire CLEANUP_BUF = BUF_INIT;
    if (text.n && text.p[text.n - 1] == '.')
        text.n--;
    char *name = dns_lower(arena_cstr(p->a, text));
    if (text.n >= DNS_NAME_MAX || !dns_write_name(&wire, name))
        return config_refuse(p, d, "\"" STR_FMT "\" is no name", STR_ARG(text));
    *ret = name;
    return 0;
}

enum { MAX_PATTERN = 10000 };

int config_pattern(const struct config_parse *p, const struct directive *d, struct str text, struct cel_regex **ret)
{
    char fault[CEL_REGEX_FAULT] = "a pattern is too long";
    struct cel_regex *re = text.n > MAX_PATTERN ? NULL : cel_regex_new(text, fault, sizeof(fault));
    if (!re)
        return config_refuse(p, d, "%s", fault);
    *ret = re;
    return 0;
}

/* "10.0.0.0/8" is the zone of its addresses' names: only whole bytes (v6: half bytes) can be one. */
static int reverse_zone(const struct config_parse *p, const struct directive *d, struct str text, const char **ret)
{
    struct buf out CLEANUP_BUF = BUF_INIT;
    struct prefix net;
    bool is = str_find(text, '/') > 0 && prefix_parse(text, &net), v4 = is && net.ip.family == AF_INET;
    unsigned step = v4 ? 8 : 4;
    if (!is || !net.bits || net.bits % step)
        return config_refuse(p, d, "\"" STR_FMT "\" is no network that is a zone", STR_ARG(text));
    for (unsigned i = net.bits / step; i--;)
        if (v4)
            buf_printf(&out, "%u.", net.ip.b[i]);
        else
            buf_printf(&out, "%x.", i % 2 ? net.ip.b[i / 2] & 15 : net.ip.b[i / 2] >> 4);
    buf_puts(&out, v4 ? "in-addr.arpa" : "ip6.arpa");
    *ret = arena_cstr(p->a, buf_str(&out));
    return 0;
}

static int read_zone(const struct config_parse *p, const struct directive *d, struct str text, const char **ret)
{
    return str_find(text, '/') >= 0 ? reverse_zone(p, d, text, ret) : config_name(p, d, text, ret);
}

int config_zones(const struct config_parse *p, const struct directive *d, size_t from, const char *const **ret, size_t *ret_n)
{
    size_t n = d->n_args > from ? d->n_args - from : 0;
    if (!n) {
        *ret = p->block->zones;
        *ret_n = p->block->n_zones;
        return 0;
    }
    const char **zones = ARENA_ARRAY(p->a, const char *, n);
    for (size_t i = 0; i < n; i++) {
        int r = read_zone(p, d, d->args[from + i], &zones[i]);
        if (r < 0)
            return r;
    }
    *ret = zones;
    *ret_n = n;
    return 0;
}

int config_fall(const struct config_parse *p, const struct directive *d, const char *const **ret, size_t *ret_n)
{
    static const char *const everything[] = {""};
    if (d->n_args)
        return config_zones(p, d, 0, ret, ret_n);
    *ret = everything;
    *ret_n = 1;
    return 0;
}

/* ---- server blocks --------------------------------------------------------------------------------------------- */

/* What one key of a block says: "dns://cluster.local:5353" */
struct key {
    const char *zone;
    uint16_t port;
    bool over_tls;
};

static int read_key(const struct config_parse *p, const struct directive *d, struct str text, struct key *ret)
{
    static const char *const others[] = {"quic://", "grpc://", "https://", "https3://"};
    struct key k = {.over_tls = str_starts(text, STR("tls://"))};
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        if (str_starts(text, str_of(others[i])))
            return config_refuse(p, d, "this server answers over UDP, TCP and TLS only");
    if (k.over_tls || str_starts(text, STR("dns://")))
        text = str_from(text, 6);
    ssize_t colon = str_rfind(text, ':'), slash = str_rfind(text, '/');
    int64_t port = k.over_tls ? 853 : 53;
    if (colon >= 0 && (slash < 0 || colon > slash)) {
        int r = config_number(p, d, str_from(text, (size_t)colon + 1), 1, 65535, &port);
        if (r < 0)
            return r;
        text.n = (size_t)colon;
    }
    k.port = port == 53 && p->world->port ? p->world->port : (uint16_t)port; /* 53 is wherever we are told to be */
    int r = text.n ? read_zone(p, d, text, &k.zone) : config_refuse(p, d, "a zone is missing before the port");
    if (r == 0)
        *ret = k;
    return r;
}

static int check_unique(const struct config_parse *p, const struct directive *d, const struct key *k)
{
    for (size_t i = 0; i < p->config->n; i++) {
        const struct block *b = &p->config->blocks[i];
        if (b->port == k->port && b->over_tls != k->over_tls)
            return config_refuse(p, d, "port %u cannot be one with TLS and one without", k->port);
        for (size_t j = 0; j < b->n_zones; j++)
            if (b->port == k->port && !strcmp(b->zones[j], k->zone))
                return config_refuse(p, d, "the zone \"%s.\" has two server blocks at port %u", k->zone, k->port);
    }
    return 0;
}

/* A block at each port that its keys name; the plug-ins are read once for each. */
static int read_block_at(struct config_parse *p, const struct server_block *s, const struct directive *head, const struct key *keys,
                         uint16_t port)
{
    struct block *b = p->block = &p->config->blocks[p->config->n];
    *b = (struct block){.port = port, .zones = ARENA_ARRAY(p->a, const char *, s->n_keys)};
    for (size_t i = 0; i < s->n_keys; i++) {
        if (keys[i].port != port)
            continue;
        int r = check_unique(p, head, &keys[i]);
        if (r == 0 && b->n_zones && b->over_tls != keys[i].over_tls)
            r = config_refuse(p, head, "port %u cannot be one with TLS and one without", port);
        if (r < 0)
            return r;
        b->over_tls = keys[i].over_tls;
        b->zones[b->n_zones++] = keys[i].zone;
    }
    b->key = arena_printf(p->a, "%s.", b->zones[0]);
    p->config->n++; /* from now on what the plug-ins make is freed with the configuration */
    for (size_t i = 0; i < s->n_directives; i++) {
        int r = plugin_parse(p, &s->directives[i]);
        if (r < 0)
            return r;
    }
    return plugins_ready(p, head);
}

static int read_block(struct config_parse *p, const struct server_block *s)
{
    struct directive head = {.name = s->keys[0], .file = s->file, .line = s->line};
    struct key *keys = ARENA_ARRAY(p->a, struct key, s->n_keys);
    for (size_t i = 0; i < s->n_keys; i++) {
        int r = read_key(p, &head, s->keys[i], &keys[i]);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < s->n_keys; i++) {
        bool seen = false;
        for (size_t j = 0; j < i; j++)
            seen = seen || keys[j].port == keys[i].port;
        int r = seen ? 0 : read_block_at(p, s, &head, keys, keys[i].port);
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_blocks(struct config_parse *p, const struct corefile *file)
{
    size_t n = 0;
    for (size_t i = 0; i < file->n; i++)
        n += file->blocks[i].n_keys;
    p->config->blocks = ARENA_ARRAY(p->a, struct block, MAX(n, (size_t)1));
    for (size_t i = 0; i < file->n; i++) {
        int r = read_block(p, &file->blocks[i]);
        if (r < 0)
            return r;
    }
    return n ? 0 : err_set(p->e, -EINVAL, "it has no server block");
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

int config_parse(const char *file, struct str text, const struct config_world *w, struct config **ret, struct err *e)
{
    struct config *c = NEW(struct config);
    struct corefile parsed;
    struct config_parse p = {.config = c, .a = &c->arena, .world = w, .e = e};
    c->refs = 1;
    c->hash = str_hash(text);
    int r = corefile_parse(&c->arena, file, text, &w->corefile, &parsed, e);
    if (r == 0)
        r = read_blocks(&p, &parsed);
    if (r < 0) {
        config_unref(c);
        return r;
    }
    *ret = c;
    return 0;
}

struct config *config_ref(struct config *c)
{
    c->refs++;
    return c;
}

static void block_done(struct block *b)
{
    rewrites_done(&b->rewrites);
    templates_done(&b->templates);
    if (b->hosts)
        hosts_done(b->hosts);
    dns_cache_free(b->cache);
    tls_server_unref(b->tls);
    for (size_t i = 0; i < b->n_forwards; i++)
        forwarder_free(b->forwards[i]);
}

void config_unref(struct config *c)
{
    if (!c || --c->refs)
        return;
    for (size_t i = 0; i < c->n; i++)
        block_done(&c->blocks[i]);
    arena_done(&c->arena);
    free(c);
}

const struct block *config_tls(const struct config *c, uint16_t port)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->blocks[i].port == port && c->blocks[i].tls)
            return &c->blocks[i];
    return NULL;
}

const struct block *config_block(const struct config *c, uint16_t port, struct str name)
{
    const struct block *best = NULL;
    size_t length = 0;
    for (size_t i = 0; i < c->n; i++) {
        const char *zone = c->blocks[i].port == port ? dns_zone_of(c->blocks[i].zones, c->blocks[i].n_zones, name) : NULL;
        if (zone && (!best || strlen(zone) > length)) {
            best = &c->blocks[i];
            length = strlen(zone);
        }
    }
    return best;
}
