/* SPDX-License-Identifier: Apache-2.0 */
#include "node/dns.h"

enum { MAX_SERVERS = 3, MAX_SEARCHES = 32, MAX_SEARCH_BYTES = 2048 };

static void append(struct arena *a, struct str **list, size_t *n, struct str s)
{
    struct str *more = ARENA_ARRAY(a, struct str, *n + 1);
    if (*n)
        memcpy(more, *list, *n * sizeof(**list));
    more[(*n)++] = arena_str(a, s);
    *list = more;
}

static void append_new(struct arena *a, struct str **list, size_t *n, struct str s)
{
    for (size_t i = 0; i < *n; i++)
        if (str_eq((*list)[i], s))
            return;
    append(a, list, n, s);
}

/* The next word of *rest; false at its end. */
static bool next_word(struct str *rest, struct str *ret)
{
    size_t i = 0, j;
    while (i < rest->n && strchr(" \t\r", rest->p[i]))
        i++;
    for (j = i; j < rest->n && !strchr(" \t\r", rest->p[j]);)
        j++;
    *ret = str_slice(*rest, i, j - i);
    *rest = str_from(*rest, j);
    return ret->n > 0;
}

void resolv_conf_parse(struct arena *a, struct str text, struct resolv_conf *ret)
{
    struct resolv_conf c = {0};
    struct str line, word;
    while (str_next(&text, '\n', &line)) {
        struct str rest = line;
        if (!next_word(&rest, &word) || word.p[0] == '#' || word.p[0] == ';')
            continue;
        if (str_is(word, "nameserver")) {
            if (next_word(&rest, &word))
                append(a, &c.servers, &c.n_servers, word);
        } else if (str_is(word, "search") || str_is(word, "domain")) {
            c.n_searches = 0;
            while (next_word(&rest, &word)) {
                if (word.n > 1 && word.p[word.n - 1] == '.')
                    word.n--;
                append(a, &c.searches, &c.n_searches, word);
            }
        } else if (str_is(word, "options")) {
            c.n_options = 0;
            while (next_word(&rest, &word))
                append(a, &c.options, &c.n_options, word);
        }
    }
    *ret = c;
}

static void cluster_first(struct arena *a, const struct val *pod, const struct dns_settings *s,
                          struct resolv_conf *c)
{
    struct resolv_conf host = *c;
    struct str ns = obj_namespace(pod);
    *c = (struct resolv_conf){0};
    for (const char *const *ip = s->cluster_dns; *ip; ip++)
        append(a, &c->servers, &c->n_servers, str_of(*ip));
    if (s->cluster_domain && *s->cluster_domain) {
        append(a, &c->searches, &c->n_searches, arena_printf(a, STR_FMT ".svc.%s", STR_ARG(ns), s->cluster_domain));
        append(a, &c->searches, &c->n_searches, arena_printf(a, "svc.%s", s->cluster_domain));
        append(a, &c->searches, &c->n_searches, str_of(s->cluster_domain));
    }
    for (size_t i = 0; i < host.n_searches; i++)
        append_new(a, &c->searches, &c->n_searches, host.searches[i]);
    append(a, &c->options, &c->n_options, STR("ndots:5"));
}

static struct str option_name(struct str option)
{
    ssize_t colon = str_find(option, ':');
    return colon < 0 ? option : str_slice(option, 0, (size_t)colon);
}

/* dnsConfig adds; an option of the same name takes the place of the one there was. */
static void add_config(struct arena *a, const struct val *config, struct resolv_conf *c)
{
    VAL_EACH (val_get(config, N_nameservers), v)
        append_new(a, &c->servers, &c->n_servers, val_str(v));
    VAL_EACH (val_get(config, N_searches), v)
        append_new(a, &c->searches, &c->n_searches, val_str(v));
    VAL_EACH (val_get(config, N_options), v) {
        struct str name = val_getstr(v, N_name), value = val_getstr(v, N_value);
        struct str text = value.n ? arena_printf(a, STR_FMT ":" STR_FMT, STR_ARG(name), STR_ARG(value)) : name;
        size_t i = 0;
        while (i < c->n_options && !str_eq(option_name(c->options[i]), name))
            i++;
        if (i < c->n_options)
            c->options[i] = text;
        else
            append(a, &c->options, &c->n_options, text);
    }
}

void pod_dns(struct arena *a, const struct val *pod, const struct dns_settings *s, struct resolv_conf *ret)
{
    struct str policy = val_str(val_at(pod, N_spec, N_dnsPolicy));
    struct resolv_conf c = {0};
    if (s->host)
        c = *s->host;
    if (str_is(policy, "None"))
        c = (struct resolv_conf){0};
    else if (!str_is(policy, "Default") && s->cluster_dns && s->cluster_dns[0] &&
             (str_is(policy, "ClusterFirstWithHostNet") || !pod_host_network(pod)))
        cluster_first(a, pod, s, &c);
    else if (!s->host)
        append(a, &c.servers, &c.n_servers, STR("127.0.0.1"));
    add_config(a, val_at(pod, N_spec, N_dnsConfig), &c);
    c.n_servers = MIN(c.n_servers, (size_t)MAX_SERVERS);
    c.n_searches = MIN(c.n_searches, (size_t)MAX_SEARCHES);
    size_t bytes = 0, keep = 0;
    while (keep < c.n_searches && bytes + c.searches[keep].n + 1 <= MAX_SEARCH_BYTES + 1)
        bytes += c.searches[keep++].n + 1;
    c.n_searches = keep;
    *ret = c;
}

struct str pod_hosts_file(struct arena *a, const struct val *pod, const struct str *ips, size_t n_ips,
                          const char *cluster_domain, struct str host_file)
{
    struct buf b = BUF_INIT;
    if (pod_host_network(pod)) {
        buf_puts(&b, "# Kubernetes-managed hosts file (host network).\n");
        buf_putstr(&b, host_file);
    } else {
        struct str name = pod_hostname(a, pod), fqdn = pod_fqdn(a, pod, cluster_domain ? cluster_domain : "");
        buf_puts(&b, "# Kubernetes-managed hosts file.\n"
                     "127.0.0.1\tlocalhost\n"
                     "::1\tlocalhost ip6-localhost ip6-loopback\n"
                     "fe00::0\tip6-localnet\n"
                     "fe00::0\tip6-mcastprefix\n"
                     "fe00::1\tip6-allnodes\n"
                     "fe00::2\tip6-allrouters\n");
        for (size_t i = 0; i < n_ips; i++) {
            buf_printf(&b, STR_FMT "\t", STR_ARG(ips[i]));
            if (fqdn.n)
                buf_printf(&b, STR_FMT "\t", STR_ARG(fqdn));
            buf_printf(&b, STR_FMT "\n", STR_ARG(name));
        }
    }
    const struct val *aliases = val_at(pod, N_spec, N_hostAliases);
    if (val_len(aliases))
        buf_puts(&b, "\n# Entries added by HostAliases.\n");
    VAL_EACH (aliases, alias) {
        buf_putstr(&b, val_getstr(alias, N_ip));
        VAL_EACH (val_get(alias, N_hostnames), h)
            buf_printf(&b, "\t" STR_FMT, STR_ARG(val_str(h)));
        buf_putc(&b, '\n');
    }
    struct str r = arena_str(a, buf_str(&b));
    buf_done(&b);
    return r;
}
