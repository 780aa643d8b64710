/* SPDX-License-Identifier: Apache-2.0 */
/* Where the Corefile comes from: a file, the ConfigMap of the cluster, or our own text while there is neither. */
#include "base/log.h"
#include "base/os.h"
#include "client/replica.h"
#include "dns/serving.h"
#include "names.h"
#include "resources.h"

#include <stdio.h>

enum { FILE_MAX = 1 << 20, MAP_PATIENCE = 5 };

static const char map_name[] = "kube-system/coredns", built_in_name[] = "the built-in Corefile";

void dns_default_corefile(struct buf *b, const char *cluster_domain, const char *forward, int64_t ttl)
{
    buf_printf(b,
               ".:53 {\n"
               "    errors\n"
               "    health {\n"
               "        lameduck 5s\n"
               "    }\n"
               "    ready\n"
               "    kubernetes %s in-addr.arpa ip6.arpa {\n"
               "        pods insecure\n"
               "        fallthrough in-addr.arpa ip6.arpa\n"
               "        ttl %lld\n"
               "    }\n"
               "    prometheus :9153\n"
               "    forward . %s {\n"
               "        max_concurrent 1000\n"
               "    }\n"
               "    cache 30 {\n"
               "        disable success %s\n"
               "        disable denial %s\n"
               "        serve_stale 1h verify\n"
               "    }\n"
               "    loop\n"
               "    reload\n"
               "    loadbalance\n"
               "}\n",
               cluster_domain, (long long)(ttl / NSEC_PER_SEC), forward, cluster_domain, cluster_domain);
}

static void built_in(const struct server *s, struct buf *b)
{
    struct buf servers CLEANUP_BUF = BUF_INIT;
    const struct dns_config *c = s->conf;
    for (size_t i = 0; c->forward && c->forward[i]; i++)
        buf_printf(&servers, "%s%s", i ? " " : "", c->forward[i]);
    if (!servers.n)
        buf_puts(&servers, "/etc/resolv.conf");
    buf_putc(&servers, '\0');
    dns_default_corefile(b, c->cluster_domain ? c->cluster_domain : "cluster.local", servers.p, c->ttl ? c->ttl : SECONDS(30));
}

/* ---- the ConfigMap ----------------------------------------------------------------------------------------------------- */

static void map_changed(void *arg, const struct resource *res UNUSED, const struct object *old UNUSED,
                        const struct object *new_ UNUSED)
{
    struct server *s = arg;
    waitq_wake_all(&s->map_changed);
}

static void follow_map(struct server *s)
{
    const struct replica_kind kind = {.res = &resources[RES_CONFIGMAPS], .ns = STR("kube-system"),
                                      .field_selector = STR("metadata.name=coredns")};
    s->maps = replica_new(s->conf->client, &kind, 1);
    replica_on_change(s->maps, map_changed, s);
    replica_start(s->maps);
    if (replica_wait_synced(s->maps, mono_add(os_mono(), SECONDS(MAP_PATIENCE))) == -ETIMEDOUT)
        log_warn("dns", "the ConfigMap %s cannot be read yet: the built-in Corefile is used", map_name);
}

/* The text to use now, and where it is from. */
static const char *text_now(const struct server *s, struct arena *a, struct str *ret)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    const struct object *map = s->maps ? replica_get(s->maps, &resources[RES_CONFIGMAPS], STR("kube-system"), STR("coredns")) : NULL;
    const struct val *text = map ? val_key(val_get(map->val, N_data), STR("Corefile")) : NULL;
    if (text) {
        *ret = arena_str(a, val_str(text));
        return map_name;
    }
    built_in(s, &b);
    *ret = arena_str(a, buf_str(&b));
    return built_in_name;
}

static void say(struct server *s, const char *name, int r, const struct err *e)
{
    if (r == 0) {
        log_info("dns", "%s is in use", name);
        return;
    }
    s->reloads_failed++;
    log_error("dns", "%s cannot be used, the configuration before it stays: %s", name, err_text(e, r));
}

static int follow_map_changes(struct server *s)
{
    for (;;) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct err e = {0};
        struct str text;
        const char *name = text_now(s, &a, &text); /* first: it may have changed while the one before was put to use */
        if (str_hash(text) == s->tried) {
            int w = s->maps ? waitq_wait(&s->map_changed, MONO_NEVER) : fiber_sleep(SECONDS(3600));
            if (w < 0 && w != -ETIMEDOUT)
                return w;
            continue;
        }
        s->tried = str_hash(text);
        int r = config_load(s, name, text, &e);
        if (r == -ECANCELED)
            return r;
        say(s, name, r, &e);
    }
}

/* ---- a file -------------------------------------------------------------------------------------------------------------- */

static int read_corefile(const struct server *s, struct arena *a, struct str *ret, struct err *e)
{
    int r = os_read_file(a, s->conf->corefile, FILE_MAX, ret);
    return r < 0 ? err_set(e, r, "%s: %s", s->conf->corefile, strerror(-r)) : 0;
}

/* `reload` looks at the file again and again; without it a file is read once. */
static int follow_file(struct server *s)
{
    for (;;) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct err e = {0};
        struct str text;
        int64_t every = s->chain.config->reload;
        int r = fiber_sleep(every ? every : SECONDS(3600));
        if (r < 0)
            return r;
        if (!every || read_corefile(s, &a, &text, &e) < 0 || str_hash(text) == s->tried)
            continue;
        s->tried = str_hash(text);
        r = config_load(s, s->conf->corefile, text, &e);
        if (r == -ECANCELED)
            return r;
        say(s, s->conf->corefile, r, &e);
    }
}

/* ---- both ------------------------------------------------------------------------------------------------------------------ */

/* A ConfigMap that cannot be used must not leave a node without names: our own text then is used until it is mended. */
int config_first(struct server *s, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err why = {0};
    struct str text;
    if (s->conf->corefile) {
        int r = read_corefile(s, &a, &text, e);
        s->tried = str_hash(text);
        return r < 0 ? r : config_load(s, s->conf->corefile, text, e);
    }
    if (s->conf->client)
        follow_map(s);
    const char *name = text_now(s, &a, &text);
    s->tried = str_hash(text);
    int r = config_load(s, name, text, &why);
    if (r == 0 || r == -ECANCELED)
        return r;
    if (name == built_in_name) {
        *e = why;
        return r;
    }
    say(s, name, r, &why);
    struct buf own CLEANUP_BUF = BUF_INIT;
    built_in(s, &own);
    return config_load(s, built_in_name, buf_str(&own), e);
}

int config_follow(struct server *s, struct err *e UNUSED)
{
    return s->conf->corefile ? follow_file(s) : follow_map_changes(s);
}
