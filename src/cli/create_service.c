/* SPDX-License-Identifier: Apache-2.0 */
/* create service and ingress. */
#include "cli/create.h"

#include "names.h"
#include "resources.h"
#include "type/check.h"

/* ---- service ----------------------------------------------------------------------------------------------------------- */

struct service {
    struct creation x;
    struct flag_list tcp;
    const char *type, *cluster_ip, *external_name;
    int64_t node_port;
};
#define TCP_FLAG(s) {"tcp", 0, FLAG_STRINGS, &(s)->tcp, "PORT or PORT:TARGET; may be given several times"}

static int bad_texts(struct cli *c, const struct check *bad)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (unsigned i = 0; i < bad->n; i++)
        buf_printf(&b, "%s%s", i ? "," : "", bad->texts[i]);
    return cli_fail(c, STR_FMT, STR_ARG(buf_str(&b)));
}

static int parse_target(struct cli *c, struct str text, struct val *ret)
{
    struct check bad = {.n = 0};
    int64_t n;
    *ret = gen_port(c, text);
    if (str_to_i64(text, &n) < 0)
        check_port_name(&bad, text);
    else if (n < 1 || n > 65535)
        return cli_fail(c, "must be between 1 and 65535, inclusive");
    return bad.n ? bad_texts(c, &bad) : 0;
}

static int add_port(struct service *s, struct val *spec, const char *text)
{
    struct cli *c = s->x.c;
    struct arena *a = &c->a;
    struct str number, target;
    struct val to;
    int64_t port;
    bool has_target = str_cut(str_of(text), ':', &number, &target);
    str_cut(target, ':', &target, &(struct str){0});
    if (str_to_i64(number, &port) < 0 || port < 0 || port > 65535)
        return cli_fail(c, "strconv.ParseUint: parsing \"" STR_FMT "\": %s", STR_ARG(number),
                        str_to_i64(number, &port) < 0 ? "invalid syntax" : "value out of range");
    int r = parse_target(c, has_target ? target : number, &to);
    if (r)
        return r;
    struct str name = arena_str(a, str_of(text));
    for (char *p = (char *)name.p; *p; p++)
        if (*p == ':')
            *p = '-';
    struct val *v = val_add_obj(a, val_sub_list(a, spec, N_ports));
    val_set_str(a, v, N_name, name);
    val_set_str(a, v, N_protocol, STR("TCP"));
    val_set_int(a, v, N_port, port);
    val_set(a, v, N_targetPort, to);
    if (s->node_port)
        val_set_int(a, v, N_nodePort, s->node_port);
    return 0;
}

static int check_service(struct service *s)
{
    struct cli *c = s->x.c;
    struct check bad = {.n = 0};
    bool headless = s->cluster_ip && !strcmp(s->cluster_ip, "None");
    if (!headless && !s->tcp.n && !s->external_name)
        return cli_fail(c, "at least one tcp port specifier must be provided");
    if (s->external_name)
        check_subdomain(&bad, str_of(s->external_name));
    return bad.n ? cli_fail(c, "invalid service external name %s", s->external_name) : 0;
}

static int make_service(struct service *s)
{
    struct cli *c = s->x.c;
    struct arena *a = &c->a;
    int r = check_service(s);
    if (r)
        return r;
    val_put_str(a, val_sub_map(a, val_sub_obj(a, s->x.v, N_metadata), N_labels), STR("app"), s->x.name);
    struct val *spec = val_sub_obj(a, s->x.v, N_spec);
    for (size_t i = 0; r == 0 && i < s->tcp.n; i++)
        r = add_port(s, spec, s->tcp.items[i]);
    if (r)
        return r;
    val_put_str(a, val_sub_map(a, spec, N_selector), STR("app"), s->x.name);
    if (s->cluster_ip && s->cluster_ip[0])
        val_set_str(a, spec, N_clusterIP, str_of(s->cluster_ip));
    val_set_str(a, spec, N_type, str_of(s->type));
    if (s->external_name)
        val_set_str(a, spec, N_externalName, str_of(s->external_name));
    return create_end(&s->x, cli_printf(c, "failed to create %s service:", s->type).p);
}

int cmd_create_service_clusterip(struct cli *c, int argc, char **argv)
{
    struct service s = {.x = {.c = c, .w = WRITE_INIT}, .type = "ClusterIP"};
    struct flag flags[] = {
        CREATE_FLAGS(&s.x),
        {"clusterip", 0, FLAG_STRING, &s.cluster_ip, "Address; None for a headless service"},
        TCP_FLAG(&s),
        NO_FLAGS,
    };
    int r = create_begin(&s.x, RES_SERVICES, flags, NULL, argc, argv);
    return r ? r : make_service(&s);
}

int cmd_create_service_nodeport(struct cli *c, int argc, char **argv)
{
    struct service s = {.x = {.c = c, .w = WRITE_INIT}, .type = "NodePort"};
    struct flag flags[] = {
        CREATE_FLAGS(&s.x),
        {"node-port", 0, FLAG_INT, &s.node_port, "Port on every node"},
        TCP_FLAG(&s),
        NO_FLAGS,
    };
    int r = create_begin(&s.x, RES_SERVICES, flags, NULL, argc, argv);
    return r ? r : make_service(&s);
}

int cmd_create_service_loadbalancer(struct cli *c, int argc, char **argv)
{
    struct service s = {.x = {.c = c, .w = WRITE_INIT}, .type = "LoadBalancer"};
    struct flag flags[] = {CREATE_FLAGS(&s.x), TCP_FLAG(&s), NO_FLAGS};
    int r = create_begin(&s.x, RES_SERVICES, flags, NULL, argc, argv);
    return r ? r : make_service(&s);
}

int cmd_create_service_externalname(struct cli *c, int argc, char **argv)
{
    struct service s = {.x = {.c = c, .w = WRITE_INIT}, .type = "ExternalName"};
    struct flag flags[] = {
        CREATE_FLAGS(&s.x),
        {"external-name", 0, FLAG_STRING, &s.external_name, "The name it stands for"},
        TCP_FLAG(&s),
        NO_FLAGS,
    };
    int r = create_begin(&s.x, RES_SERVICES, flags, (const char *const[]){"external-name", NULL}, argc, argv);
    return r ? r : make_service(&s);
}

/* ---- ingress ----------------------------------------------------------------------------------------------------------- */

/* host/path=service:port[,tls[=secret]] */
struct rule {
    struct str host, path, service, port, secret;
    bool tls;
};

static int parse_rule(struct cli *c, const char *text, struct rule *ret)
{
    struct str s = str_of(text), front, tls, target, word;
    struct rule r = {.tls = str_cut(s, ',', &front, &tls)};
    bool good = str_cut(front, '/', &r.host, &r.path) && str_cut(r.path, '=', &r.path, &target) &&
                str_cut(target, ':', &r.service, &r.port) && r.service.n && r.port.n && str_find(r.port, '=') < 0;
    if (good && r.tls) {
        bool named = str_cut(tls, '=', &word, &r.secret);
        good = str_is(word, "tls") && (!named || r.secret.n) && str_find(r.secret, ',') < 0;
    }
    *ret = r;
    if (!good)
        return cli_fail(c, "rule %s is invalid and should be in format host/path=svcname:svcport[,tls[=secret]]", text);
    return 0;
}

static void set_backend(struct cli *c, struct val *backend, struct str service, struct str port)
{
    struct arena *a = &c->a;
    struct val *v = val_sub_obj(a, backend, N_service), number = gen_port(c, port);
    val_set_str(a, v, N_name, service);
    val_set(a, val_sub_obj(a, v, N_port), number.kind == VAL_INT ? N_number : N_name, number);
}

static struct val *item_with(const struct val *list, name_id name, struct str text)
{
    VAL_EACH(list, v)
    {
        if (str_eq(val_getstr(v, name), text))
            return (struct val *)v;
    }
    return NULL;
}

static bool has_tls_host(const struct val *list, struct str host)
{
    VAL_EACH(list, t)
    VAL_EACH(val_get(t, N_hosts), h)
        if (str_eq(val_str(h), host))
            return true;
    return false;
}

/* A host stands under one secret only; hosts of one secret stand together. */
static void add_tls(struct cli *c, struct val *spec, const struct rule *r)
{
    struct arena *a = &c->a;
    const struct val *all = val_get(spec, N_tls);
    if (!r->tls || has_tls_host(all, r->host) || (!r->host.n && !r->secret.n))
        return;
    struct val *t = item_with(all, N_secretName, r->secret);
    if (!t) {
        t = val_add_obj(a, val_sub_list(a, spec, N_tls));
        if (r->secret.n)
            val_set_str(a, t, N_secretName, r->secret);
    }
    if (r->host.n)
        val_add_str(a, val_sub_list(a, t, N_hosts), r->host);
}

static void add_rule(struct cli *c, struct val *spec, const struct rule *r)
{
    struct arena *a = &c->a;
    bool prefix = r->path.n && r->path.p[r->path.n - 1] == '*';
    struct val *rule = item_with(val_get(spec, N_rules), N_host, r->host);
    if (!rule) {
        rule = val_add_obj(a, val_sub_list(a, spec, N_rules));
        if (r->host.n)
            val_set_str(a, rule, N_host, r->host);
    }
    struct val *p = val_add_obj(a, val_sub_list(a, val_sub_obj(a, rule, N_http), N_paths));
    val_set_str(a, p, N_path, cli_printf(c, "/" STR_FMT, STR_ARG(str_slice(r->path, 0, r->path.n - prefix))));
    val_set_str(a, p, N_pathType, prefix ? STR("Prefix") : STR("Exact"));
    set_backend(c, val_sub_obj(a, p, N_backend), r->service, r->port);
}

static int add_annotations(struct creation *x, const struct flag_list *l)
{
    struct arena *a = &x->c->a;
    struct str key, value;
    for (size_t i = 0; i < l->n; i++) {
        if (!str_cut(str_of(l->items[i]), '=', &key, &value))
            return cli_fail(x->c, "annotation %s is invalid and should be in format key=[value]", l->items[i]);
        val_put_str(a, val_sub_map(a, val_sub_obj(a, x->v, N_metadata), N_annotations), key, value);
    }
    return 0;
}

int cmd_create_ingress(struct cli *c, int argc, char **argv)
{
    struct creation x = {.c = c, .w = WRITE_INIT};
    struct flag_list rules = {0}, annotations = {0};
    const char *class = "", *backend = "";
    struct rule rule;
    struct flag flags[] = {
        CREATE_FLAGS(&x),
        {"annotation", 0, FLAG_ARRAY, &annotations, "KEY=VALUE; may be given several times"},
        {"class", 0, FLAG_STRING, &class, "Ingress class"},
        {"default-backend", 0, FLAG_STRING, &backend, "Where everything else goes: SERVICE:PORT"},
        {"rule", 0, FLAG_ARRAY, &rules, "HOST/PATH=SERVICE:PORT[,tls[=SECRET]]; may be given several times"},
        NO_FLAGS,
    };
    int r = create_begin(&x, RES_INGRESSES, flags, NULL, argc, argv);
    if (r)
        return r;
    if (!backend[0] && !rules.n)
        return cli_fail(c, "not enough information provided: every ingress has to either specify a default-backend (which catches "
                           "all traffic) or a list of rules (which catch specific paths)");
    struct val *spec = val_sub_obj(&c->a, x.v, N_spec);
    struct str service, port;
    if (class[0])
        val_set_str(&c->a, spec, N_ingressClassName, str_of(class));
    for (size_t i = 0; r == 0 && i < rules.n; i++) {
        r = parse_rule(c, rules.items[i], &rule);
        if (r)
            return r;
        add_tls(c, spec, &rule);
        add_rule(c, spec, &rule);
    }
    r = add_annotations(&x, &annotations);
    if (r)
        return r;
    if (backend[0] && (!str_cut(str_of(backend), ':', &service, &port) || str_find(port, ':') >= 0))
        return cli_fail(c, "default-backend should be in format servicename:serviceport");
    if (backend[0])
        set_backend(c, val_sub_obj(&c->a, spec, N_defaultBackend), service, port);
    return create_end(&x, "failed to create ingress:");
}
