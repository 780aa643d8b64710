/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/plugins.h"

#include <stdio.h>

/* ---- those with little to say --------------------------------------------------------------------------------- */

static int no_arguments(const struct config_parse *p, const struct directive *d)
{
    return d->n_args || d->n_body ? config_refuse(p, d, "takes no arguments") : 0;
}

static int set_flag(const struct config_parse *p, const struct directive *d, bool *flag)
{
    *flag = true;
    return no_arguments(p, d);
}

static int parse_errors(const struct config_parse *p, const struct directive *d)
{
    p->block->errors = true; /* how repeated ones are put together is our own affair: they are limited by time */
    return d->n_args ? config_refuse(p, d, "takes no arguments") : 0;
}

static int parse_loop(const struct config_parse *p, const struct directive *d)
{
    return set_flag(p, d, &p->block->loop);
}

static int parse_minimal(const struct config_parse *p, const struct directive *d)
{
    p->block->waits = true;
    return set_flag(p, d, &p->block->minimal);
}

static int parse_any(const struct config_parse *p, const struct directive *d)
{
    return set_flag(p, d, &p->block->any);
}

static int parse_whoami(const struct config_parse *p, const struct directive *d)
{
    p->block->waits = true;
    return set_flag(p, d, &p->block->whoami);
}

static int parse_debug(const struct config_parse *p UNUSED, const struct directive *d UNUSED)
{
    return 0; /* our process does not end when one request goes wrong, with or without it */
}

static int parse_loadbalance(const struct config_parse *p, const struct directive *d)
{
    p->block->loadbalance = true;
    return d->n_args > 1 || (d->n_args && !str_is(d->args[0], "round_robin"))
               ? config_refuse(p, d, "the only policy known here is round_robin")
               : 0;
}

static const char *address_or(const struct config_parse *p, const struct directive *d, const char *absent)
{
    return d->n_args ? arena_cstr(p->a, d->args[0]) : absent;
}

static int parse_health(const struct config_parse *p, const struct directive *d)
{
    p->config->health = address_or(p, d, ":8080");
    for (size_t i = 0; i < d->n_body; i++) {
        const struct directive *o = &d->body[i];
        int r = !str_is(o->name, "lameduck") || o->n_args != 1 ? config_refuse(p, o, "health knows lameduck DURATION only")
                                                               : config_duration(p, o, o->args[0], &p->config->lameduck);
        if (r < 0)
            return r;
    }
    return 0;
}

static int parse_ready(const struct config_parse *p, const struct directive *d)
{
    p->config->ready = address_or(p, d, ":8181");
    return 0;
}

static int parse_prometheus(const struct config_parse *p, const struct directive *d)
{
    p->config->prometheus = address_or(p, d, "localhost:9153");
    return 0;
}

static int parse_reload(const struct config_parse *p, const struct directive *d)
{
    p->config->reload = SECONDS(30);
    return d->n_args && !str_is(d->args[0], "off") ? config_duration(p, d, d->args[0], &p->config->reload) : 0;
}

static int parse_bind(const struct config_parse *p, const struct directive *d)
{
    struct block *b = p->block;
    struct ip ip;
    for (size_t i = 0; i < d->n_args; i++)
        if (!ip_parse(d->args[i], &ip))
            return config_refuse(p, d, "\"" STR_FMT "\" is no address", STR_ARG(d->args[i]));
    b->binds = d->args;
    b->n_binds = d->n_args;
    return d->n_args ? 0 : config_refuse(p, d, "wants an address");
}

static int parse_bufsize(const struct config_parse *p, const struct directive *d)
{
    int64_t size = DNS_UDP_SIZE;
    int r = d->n_args ? config_number(p, d, d->args[0], 512, 4096, &size) : 0;
    p->block->bufsize = (uint16_t)size;
    return r;
}

static int parse_chaos(const struct config_parse *p, const struct directive *d)
{
    p->block->chaos_version = d->n_args ? arena_cstr(p->a, d->args[0]) : "Cube-DNS";
    p->block->chaos_authors = d->n_args > 1 ? d->args + 1 : NULL;
    p->block->n_chaos_authors = d->n_args > 1 ? d->n_args - 1 : 0;
    return 0;
}

/* ---- log --------------------------------------------------------------------------------------------------------- */

static const char common_log[] =
    "{remote}:{port} - {>id} \"{type} {class} {name} {proto} {size} {>do} {>bufsize}\" {rcode} {>rflags} {rsize} {duration}";

static int read_class(const struct config_parse *p, const struct directive *d, struct log_rule *rule)
{
    for (size_t i = 0; i < d->n_args; i++) {
        bool all = str_is(d->args[i], "all"), success = str_is(d->args[i], "success"), denial = str_is(d->args[i], "denial"),
             error = str_is(d->args[i], "error");
        if (!all && !success && !denial && !error)
            return config_refuse(p, d, "\"" STR_FMT "\" is none of success, denial, error, all", STR_ARG(d->args[i]));
        rule->success = rule->success || success || all;
        rule->denial = rule->denial || denial || all;
        rule->error = rule->error || error || all;
    }
    return 0;
}

int parse_log(const struct config_parse *p, const struct directive *d)
{
    struct block *b = p->block;
    struct log_rule rule = {.zone = "", .format = common_log};
    size_t last = d->n_args ? d->n_args - 1 : 0;
    bool format = d->n_args && (str_contains(d->args[last], STR("{")) || d->n_args > 1);
    int r = d->n_args && !(format && last == 0) ? config_name(p, d, d->args[0], &rule.zone) : 0;
    if (r == 0 && format && !str_is(d->args[last], "{common}"))
        rule.format = str_is(d->args[last], "{combined}") ? arena_printf(p->a, "%s \"{>opcode}\"", common_log).p
                                                          : arena_cstr(p->a, d->args[last]);
    for (size_t i = 0; r == 0 && i < d->n_body; i++)
        r = str_is(d->body[i].name, "class") ? read_class(p, &d->body[i], &rule)
                                             : config_refuse(p, &d->body[i], "log knows class only");
    if (r < 0)
        return r;
    if (!rule.success && !rule.denial && !rule.error)
        rule.success = rule.denial = rule.error = true;
    b->logs = arena_grow(p->a, b->logs, b->n_logs, sizeof(*b->logs));
    b->logs[b->n_logs++] = rule;
    b->waits = true;
    return 0;
}

/* ---- acl --------------------------------------------------------------------------------------------------------- */

/* "10.0.0.0/8", or one address */
static int read_network(const struct config_parse *p, const struct directive *d, struct str text, struct prefixes *list)
{
    struct prefix net;
    bool is = prefix_parse(text, &net);
    if (!is && ip_parse(text, &net.ip)) {
        net.bits = (uint8_t)ip_bits(&net.ip);
        is = true;
    }
    if (!is)
        return config_refuse(p, d, "\"" STR_FMT "\" is no network", STR_ARG(text));
    list->list = arena_grow(p->a, list->list, list->n, sizeof(*list->list));
    list->list[list->n++] = net;
    return 0;
}

/* ACTION [type TYPE...] [net NETWORK...] */
static int read_policy(const struct config_parse *p, const struct directive *d, struct acl_rule *rule)
{
    static const char *const actions[] = {"allow", "block", "filter", "drop"};
    struct acl_policy base = {.action = ACL_ALLOW};
    int kinds[16] = {0};
    size_t n_kinds = 0, i = 0;
    while (i < ARRAY_SIZE(actions) && !str_is(d->name, actions[i]))
        i++;
    if (i == ARRAY_SIZE(actions))
        return config_refuse(p, d, "acl knows allow, block, filter and drop");
    base.action = (enum acl_action)i;
    bool net = false;
    for (i = 0; i < d->n_args; i++) {
        if (str_is(d->args[i], "type") || str_is(d->args[i], "net")) {
            net = str_is(d->args[i], "net");
            continue;
        }
        int type = net ? 0 : str_is(d->args[i], "*") ? 0 : dns_type_find(d->args[i]);
        if (type < 0 || (!net && n_kinds == ARRAY_SIZE(kinds)))
            return config_refuse(p, d, "\"" STR_FMT "\" is no type", STR_ARG(d->args[i]));
        if (!net)
            kinds[n_kinds++] = type;
        else if (!str_is(d->args[i], "*") && read_network(p, d, d->args[i], &base.networks) < 0)
            return -EINVAL;
    }
    for (i = 0; i < MAX(n_kinds, (size_t)1); i++) {
        base.type = kinds[i];
        rule->policies = arena_grow(p->a, rule->policies, rule->n_policies, sizeof(base));
        rule->policies[rule->n_policies++] = base;
    }
    return 0;
}

int parse_acl(const struct config_parse *p, const struct directive *d)
{
    struct block *b = p->block;
    const char *const *zones;
    size_t n;
    int r = config_zones(p, d, 0, &zones, &n);
    for (size_t z = 0; r == 0 && z < n; z++) {
        struct acl_rule rule = {.zone = zones[z]};
        for (size_t i = 0; r == 0 && i < d->n_body; i++)
            r = read_policy(p, &d->body[i], &rule);
        b->acls = arena_grow(p->a, b->acls, b->n_acls, sizeof(rule));
        b->acls[b->n_acls++] = rule;
    }
    b->waits = true;
    return r;
}

/* ---- hosts ------------------------------------------------------------------------------------------------------- */

static int read_host_option(const struct config_parse *p, const struct directive *o, struct hosts *h, struct buf *lines)
{
    int64_t ttl;
    if (str_is(o->name, "fallthrough"))
        return config_fall(p, o, &h->fall, &h->n_fall);
    if (str_is(o->name, "no_reverse")) {
        h->no_reverse = true;
        return 0;
    }
    if (str_is(o->name, "reload"))
        return 0; /* the file is looked at whenever the Corefile is */
    if (str_is(o->name, "ttl")) {
        int r = o->n_args == 1 ? config_number(p, o, o->args[0], 1, 65535, &ttl) : config_refuse(p, o, "wants seconds");
        h->ttl = r == 0 ? (uint32_t)ttl : h->ttl;
        return r;
    }
    struct ip ip;
    if (!ip_parse(o->name, &ip) || !o->n_args)
        return config_refuse(p, o, "is neither an option of hosts nor an address with names");
    buf_putstr(lines, o->name);
    for (size_t i = 0; i < o->n_args; i++)
        buf_printf(lines, " " STR_FMT, STR_ARG(o->args[i]));
    buf_putc(lines, '\n');
    return 0;
}

int parse_hosts(const struct config_parse *p, const struct directive *d)
{
    struct buf lines CLEANUP_BUF = BUF_INIT;
    struct hosts *h = ARENA_NEW(p->a, struct hosts);
    if (p->block->hosts)
        return config_refuse(p, d, "stands twice in this block");
    *h = (struct hosts){.ttl = 3600};
    p->block->hosts = h;
    h->path = d->n_args ? arena_cstr(p->a, d->args[0]) : "/etc/hosts";
    int r = config_zones(p, d, 1, &h->zones, &h->n_zones);
    for (size_t i = 0; r == 0 && i < d->n_body; i++)
        r = read_host_option(p, &d->body[i], h, &lines);
    if (r < 0)
        return r;
    struct str text = p->world->file ? p->world->file(p->world->ctx, p->a, h->path) : STR_NULL;
    hosts_read(h, p->a, text); /* one that is not there is empty */
    hosts_read(h, p->a, buf_str(&lines));
    return 0;
}

/* ---- kubernetes --------------------------------------------------------------------------------------------------- */

static int read_selector(const struct config_parse *p, const struct directive *o, struct selector *s, const struct selector **ret)
{
    struct str text = arena_join(p->a, o->args, o->n_args, STR(" "));
    struct err e = {0};
    if (!o->n_args || selector_parse(p->a, text, s, &e) < 0)
        return config_refuse(p, o, "\"" STR_FMT "\" is no label selector", STR_ARG(text));
    *ret = s;
    return 0;
}

static int read_pods(const struct config_parse *p, const struct directive *o, struct zone_options *k)
{
    static const char *const modes[] = {"disabled", "insecure", "verified"};
    for (size_t i = 0; o->n_args == 1 && i < ARRAY_SIZE(modes); i++)
        if (str_is(o->args[0], modes[i])) {
            k->pods = (enum zone_pods)i;
            p->config->pods_verified = p->config->pods_verified || k->pods == ZONE_PODS_VERIFIED;
            return 0;
        }
    return config_refuse(p, o, "wants one of disabled, insecure, verified");
}

static int read_kubernetes_option(const struct config_parse *p, const struct directive *o, struct kubernetes *k)
{
    /* How the API server is reached is our program's own affair. */
    static const char *const ours[] = {"endpoint",        "tls",           "kubeconfig",     "startup_timeout",
                                       "apiserver_qps",   "apiserver_burst", "apiserver_max_inflight", "upstream"};
    struct zone_options *z = &k->options;
    int64_t ttl;
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
        if (str_is(o->name, ours[i]))
            return 0;
    if (str_is(o->name, "pods"))
        return read_pods(p, o, z);
    if (str_is(o->name, "fallthrough"))
        return config_fall(p, o, &z->fall, &z->n_fall);
    if (str_is(o->name, "labels"))
        return read_selector(p, o, &k->labels, &z->labels);
    if (str_is(o->name, "namespace_labels"))
        return read_selector(p, o, &k->namespace_labels, &z->namespace_labels);
    if (str_is(o->name, "endpoint_pod_names"))
        return set_flag(p, o, &z->endpoint_pod_names);
    if (str_is(o->name, "noendpoints"))
        return set_flag(p, o, &z->no_endpoints);
    if (str_is(o->name, "namespaces")) {
        z->namespaces = o->args;
        z->n_namespaces = o->n_args;
        return o->n_args ? 0 : config_refuse(p, o, "wants names");
    }
    if (str_is(o->name, "ignore")) {
        z->ignore_empty = o->n_args == 1 && str_is(o->args[0], "empty_service");
        return z->ignore_empty ? 0 : config_refuse(p, o, "knows empty_service only");
    }
    if (str_is(o->name, "ttl")) {
        int r = o->n_args == 1 ? config_number(p, o, o->args[0], 0, 3600, &ttl) : config_refuse(p, o, "wants seconds");
        z->ttl = r == 0 ? (uint32_t)ttl : z->ttl;
        return r;
    }
    return config_refuse(p, o, "is no option of kubernetes that is known here");
}

int parse_kubernetes(const struct config_parse *p, const struct directive *d)
{
    struct block *b = p->block;
    struct kubernetes *k = ARENA_NEW(p->a, struct kubernetes);
    struct zone_options *z = &k->options;
    if (b->kubernetes)
        return config_refuse(p, d, "stands twice in this block");
    *z = (struct zone_options){.ttl = 5, .addresses = p->world->own, .n_addresses = p->world->n_own};
    int r = config_zones(p, d, 0, &z->zones, &z->n_zones);
    for (size_t i = 0; r == 0 && !z->primary && i < z->n_zones; i++)
        z->primary = dns_is_reverse(z->zones[i]) ? NULL : z->zones[i];
    if (r == 0 && !z->primary)
        r = config_refuse(p, d, "wants a zone that is no reverse one");
    for (size_t i = 0; r == 0 && i < d->n_body; i++)
        r = read_kubernetes_option(p, &d->body[i], k);
    if (r == 0 && z->n_namespaces && z->namespace_labels)
        r = config_refuse(p, d, "namespaces and namespace_labels do not go together");
    b->kubernetes = k;
    return r;
}

/* ---- autopath ------------------------------------------------------------------------------------------------------ */

/* The search list of a resolv.conf: its last such line counts. */
static int read_search(const struct config_parse *p, const struct directive *d, struct str text, struct autopath *to)
{
    struct str line, word;
    while (str_next(&text, '\n', &line)) {
        line = str_trim(line);
        size_t skip = str_starts(line, STR("search")) || str_starts(line, STR("domain")) ? 6 : 0;
        if (!skip || line.n == skip || (line.p[skip] != ' ' && line.p[skip] != '\t'))
            continue;
        to->n_search = 0;
        struct str rest = str_trim(str_from(line, skip));
        for (size_t n; rest.n; rest = str_trim(str_from(rest, n))) {
            for (n = 0; n < rest.n && rest.p[n] != ' ' && rest.p[n] != '\t';)
                n++;
            word = str_slice(rest, 0, n);
            to->search = arena_grow(p->a, to->search, to->n_search, sizeof(*to->search));
            int r = config_name(p, d, word, &to->search[to->n_search]);
            if (r < 0)
                return r;
            to->n_search++;
        }
    }
    to->search = arena_grow(p->a, to->search, to->n_search, sizeof(*to->search));
    to->search[to->n_search++] = "";
    return 0;
}

/* [ZONE...] FILE|@kubernetes */
static int parse_autopath(const struct config_parse *p, const struct directive *d)
{
    struct autopath *a = ARENA_NEW(p->a, struct autopath);
    if (!d->n_args || p->block->autopath)
        return config_refuse(p, d, d->n_args ? "stands twice in this block" : "wants a resolv.conf or @kubernetes");
    struct str from = d->args[d->n_args - 1];
    struct directive zones = *d;
    zones.n_args--;
    a->by_pod = str_is(from, "@kubernetes");
    if (!a->by_pod && str_starts(from, STR("@")))
        return config_refuse(p, d, "\"" STR_FMT "\" has no search list: @kubernetes has", STR_ARG(from));
    const char *path = a->by_pod ? "/etc/resolv.conf" : arena_cstr(p->a, from);
    struct str text = p->world->file ? p->world->file(p->world->ctx, p->a, path) : STR_NULL;
    if (!text.p && !a->by_pod)
        return config_refuse(p, d, "\"%s\" cannot be read", path);
    p->block->autopath = a;
    p->block->waits = true;
    int r = config_zones(p, &zones, 0, &a->zones, &a->n_zones);
    return r < 0 ? r : read_search(p, d, text, a);
}

/* ---- dns64 ----------------------------------------------------------------------------------------------------------- */

static int read_dns64_prefix(const struct config_parse *p, const struct directive *d, struct str text, struct dns64 *to)
{
    static const uint8_t lengths[] = {32, 40, 48, 56, 64, 96}; /* RFC 6052 section 2.2 */
    struct prefix prefix;
    bool is = prefix_parse(text, &prefix) && prefix.ip.family == AF_INET6;
    if (!is || !memchr(lengths, prefix.bits, sizeof(lengths)))
        return config_refuse(p, d, "\"" STR_FMT "\" is no IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits", STR_ARG(text));
    to->prefix = prefix;
    return 0;
}

static int read_dns64_option(const struct config_parse *p, const struct directive *o, struct dns64 *to)
{
    if (str_is(o->name, "prefix") && o->n_args == 1)
        return read_dns64_prefix(p, o, o->args[0], to);
    if (str_is(o->name, "translate_all"))
        return set_flag(p, o, &to->all);
    if (str_is(o->name, "allow_ipv4"))
        return set_flag(p, o, &to->v4);
    return config_refuse(p, o, "is none of prefix PREFIX, translate_all, allow_ipv4");
}

static int parse_dns64(const struct config_parse *p, const struct directive *d)
{
    struct dns64 *to = p->block->dns64 = ARENA_NEW(p->a, struct dns64);
    int r = read_dns64_prefix(p, d, d->n_args ? d->args[0] : STR("64:ff9b::/96"), to);
    if (r == 0 && d->n_args > 1)
        r = config_refuse(p, d, "takes one prefix");
    for (size_t i = 0; r == 0 && i < d->n_body; i++)
        r = read_dns64_option(p, &d->body[i], to);
    return r;
}

/* ---- the table ---------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int (*parse)(const struct config_parse *p, const struct directive *d);
} plugins[] = {
    {"acl", parse_acl},           {"any", parse_any},
    {"autopath", parse_autopath}, {"bind", parse_bind},
    {"bufsize", parse_bufsize},   {"dns64", parse_dns64},
    {"cache", parse_cache},       {"chaos", parse_chaos},
    {"debug", parse_debug},       {"errors", parse_errors},
    {"forward", parse_forward},   {"health", parse_health},
    {"hosts", parse_hosts},       {"kubernetes", parse_kubernetes},
    {"loadbalance", parse_loadbalance}, {"log", parse_log},
    {"loop", parse_loop},         {"minimal", parse_minimal},
    {"prometheus", parse_prometheus}, {"ready", parse_ready},
    {"reload", parse_reload},     {"rewrite", rewrite_parse},
    {"template", template_plugin_parse}, {"tls", parse_tls},
    {"whoami", parse_whoami},
};

int plugin_parse(const struct config_parse *p, const struct directive *d)
{
    for (size_t i = 0; i < ARRAY_SIZE(plugins); i++)
        if (str_is(d->name, plugins[i].name))
            return plugins[i].parse(p, d);
    return config_refuse(p, d, "this server has no such plug-in");
}

int plugins_ready(const struct config_parse *p, const struct directive *block)
{
    const struct block *b = p->block;
    if (b->autopath && b->autopath->by_pod && !b->kubernetes)
        return config_refuse(p, block, "autopath @kubernetes without kubernetes");
    if (b->over_tls && !b->tls)
        return config_refuse(p, block, "a server of TLS wants `tls CERT KEY`");
    return 0;
}
