/* SPDX-License-Identifier: Apache-2.0 */
/* From API objects to the table: whose Ingresses, which back ends, who wins, what is refused and said; annotations. */
#include "../testing.h"

#include "client/fake_client.h"
#include "ingress/annotations.h"
#include "type/meta.h"

struct world {
    struct tree *ingresses, *classes;
    struct service_index services;
    struct object *kept[32];
    size_t n;
    struct maker *maker;
    struct table *table;
    struct arena arena;
    struct problem *problems;
    size_t n_problems, ours;
    struct map secrets;
    const struct object *secret; /* what every name leads to */
};

static struct object *keep(struct world *w, unsigned res, const char *text)
{
    assert_true(w->n < ARRAY_SIZE(w->kept));
    return w->kept[w->n++] = object_relaxed((uint16_t)res, text);
}

static void put(struct world *w, unsigned res, const char *text)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct object *o = keep(w, res, text);
    if (res == RES_INGRESSES)
        w->ingresses = tree_put(w->ingresses, obj_key(&a, o->namespace_, o->name), o);
    else if (res == RES_INGRESSCLASSES)
        w->classes = tree_put(w->classes, o->name, o);
    else
        service_index_changed(&w->services, o->res, NULL, o, NULL, NULL);
}

static const struct object *secret_of(void *ctx, struct str ns UNUSED, struct str name UNUSED)
{
    return ((struct world *)ctx)->secret;
}

static void begin(struct world *w)
{
    *w = (struct world){.maker = maker_new()};
    put(w, RES_INGRESSCLASSES, "{metadata:{name:cube},spec:{controller:cube.dev/ingress}}");
    put(w, RES_INGRESSCLASSES, "{metadata:{name:other},spec:{controller:example.com/x}}");
    put(w, RES_SERVICES, "{metadata:{name:web,namespace:a,uid:w},spec:{ports:[{name:http,port:80},{name:rpc,port:90,appProtocol:kubernetes.io/h2c},{name:u,port:53,protocol:UDP}]}}");
    put(w, RES_ENDPOINTSLICES,
        "{metadata:{name:web-1,namespace:a,uid:s,labels:{kubernetes.io/service-name:web}},addressType:IPv4,ports:[{name:http,port:8080},{name:rpc,port:9090}],"
        "endpoints:[{addresses:['10.1.0.2']},{addresses:['10.1.0.1'],conditions:{ready:true}},{addresses:['10.1.0.3'],conditions:{ready:false,serving:true,"
        "terminating:true}},{addresses:['127.0.0.1']},{addresses:['169.254.169.254']},{addresses:['10.1.0.1']}]}");
}

static void make(struct world *w)
{
    const struct table_input in = {w->ingresses, w->classes, &w->services, secret_of, w};
    map_done(&w->secrets);
    table_unref(w->table);
    w->table = table_make(w->maker, &in, &w->arena, &w->problems, &w->n_problems, &w->secrets, &w->ours);
}

static void end(struct world *w)
{
    table_unref(w->table);
    maker_free(w->maker);
    service_index_done(&w->services);
    tree_unref(w->ingresses);
    tree_unref(w->classes);
    for (size_t i = 0; i < w->n; i++)
        object_unref(w->kept[i]);
    map_done(&w->secrets);
    arena_done(&w->arena);
}

static const struct target *find(struct world *w, const char *host, const char *path)
{
    return router_find(w->table->router, str_of(host), str_of(path));
}

/* "10.0.0.1:80 10.0.0.2:80" */
static const char *endpoints_of(struct world *w, const struct target *t)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct endpoints *e = backend_endpoints(t->backend);
    for (size_t i = 0; i < e->n; i++)
        buf_printf(&b, "%s%s", i ? " " : "", e->list[i].address);
    endpoints_unref(e);
    return arena_cstr(&w->arena, buf_str(&b));
}

static bool has_problem(const struct world *w, const char *reason, const char *text)
{
    for (size_t i = 0; i < w->n_problems; i++)
        if (!strcmp(w->problems[i].reason, reason) && str_contains(w->problems[i].message, str_of(text)))
            return true;
    return false;
}

#define RULE(host, path, backend) "{host:'" host "',http:{paths:[{path:'" path "',pathType:Prefix,backend:{" backend "}}]}}"
#define WEB "service:{name:web,port:{number:80}}"

static void backends(void **state UNUSED)
{
    struct world w;
    begin(&w);
    put(&w, RES_INGRESSES, "{metadata:{name:i,namespace:a},spec:{ingressClassName:cube,rules:[" RULE("h.example", "/", WEB) "," RULE(
        "h.example", "/rpc", "service:{name:web,port:{name:rpc}}") "," RULE("h.example", "/gone", "service:{name:gone,port:{number:1}}") "," RULE(
        "h.example", "/port", "service:{name:web,port:{number:81}}") "," RULE("h.example", "/udp", "service:{name:web,port:{name:u}}") "," RULE(
        "h.example", "/bucket", "resource:{kind:Bucket,name:b}") "," RULE("h.example", "/a/../b", WEB) "]}}");
    make(&w);
    assert_int_equal(w.ours, 1);
    assert_string_equal(endpoints_of(&w, find(&w, "h.example", "/x")), "10.1.0.1:8080 10.1.0.2:8080");
    assert_string_equal(endpoints_of(&w, find(&w, "h.example", "/rpc")), "10.1.0.1:9090 10.1.0.2:9090");
    assert_int_equal(find(&w, "h.example", "/rpc")->backend->protocol, PROTOCOL_H2C);
    assert_null(find(&w, "h.example", "/gone")->backend);
    assert_true(has_problem(&w, "NoService", "Service gone is not there"));
    assert_null(find(&w, "h.example", "/port")->backend);
    assert_true(has_problem(&w, "NoService", "a/web:81 is no TCP port"));
    assert_null(find(&w, "h.example", "/udp")->backend);
    assert_true(has_problem(&w, "NotSupported", "not a Service"));
    assert_string_equal(find(&w, "h.example", "/bucket")->path.p, "/"); /* not served */
    assert_true(has_problem(&w, "BadPath", "/a/../b"));
    end(&w);
}

static void endpoints_change_in_place(void **state UNUSED)
{
    struct world w;
    begin(&w);
    put(&w, RES_INGRESSES, "{metadata:{name:i,namespace:a},spec:{ingressClassName:cube,defaultBackend:{" WEB "}}}");
    make(&w);
    const struct target *t = find(&w, "x.example", "/");
    assert_string_equal(endpoints_of(&w, t), "10.1.0.1:8080 10.1.0.2:8080");
    struct object *slice = w.kept[3], *now = keep(&w, RES_ENDPOINTSLICES,
        "{metadata:{name:web-1,namespace:a,uid:s,labels:{kubernetes.io/service-name:web}},addressType:IPv4,ports:[{name:http,port:8081}],"
        "endpoints:[{addresses:['10.1.0.9'],conditions:{ready:false,serving:true,terminating:true}},{addresses:['10.1.0.8'],conditions:{ready:false}}]}");
    service_index_changed(&w.services, slice->res, slice, now, NULL, NULL);
    maker_endpoints(w.maker, &w.services, STR("a"), STR("web"));
    assert_string_equal(endpoints_of(&w, t), "10.1.0.9:8081"); /* the last resort */
    maker_endpoints(w.maker, &w.services, STR("a"), STR("we"));
    assert_string_equal(endpoints_of(&w, t), "10.1.0.9:8081");
    end(&w);
}

static void whose_and_who_wins(void **state UNUSED)
{
    struct world w;
    begin(&w);
    put(&w, RES_INGRESSES, "{metadata:{name:theirs,namespace:a,creationTimestamp:'2020-01-01T00:00:00Z'},spec:{ingressClassName:other,rules:[" RULE("h.example", "/", WEB) "]}}");
    put(&w, RES_INGRESSES, "{metadata:{name:none,namespace:a},spec:{rules:[" RULE("n.example", "/", WEB) "]}}");
    put(&w, RES_INGRESSES, "{metadata:{name:young,namespace:a,creationTimestamp:'2024-01-01T00:00:00Z'},spec:{ingressClassName:cube,rules:[" RULE("h.example", "/", WEB) "]}}");
    put(&w, RES_INGRESSES, "{metadata:{name:old,namespace:a,creationTimestamp:'2023-01-01T00:00:00Z'},spec:{ingressClassName:cube,rules:[" RULE("h.example", "/", WEB) "]}}");
    put(&w, RES_INGRESSES, "{metadata:{name:ancient,namespace:a,annotations:{kubernetes.io/ingress.class:cube}},spec:{rules:[" RULE("l.example", "/", WEB) "]}}");
    make(&w);
    assert_int_equal(w.ours, 3);
    assert_string_equal(find(&w, "h.example", "/")->ingress, "old");
    assert_string_equal(find(&w, "l.example", "/")->ingress, "ancient");
    assert_null(find(&w, "n.example", "/"));
    assert_true(has_problem(&w, "Conflict", "\"/\" of host \"h.example\""));
    end(&w);
}

static void defaults(void **state UNUSED)
{
    struct world w;
    begin(&w);
    put(&w, RES_INGRESSES, "{metadata:{name:both,namespace:a,creationTimestamp:'2020-01-01T00:00:00Z'},spec:{ingressClassName:cube,defaultBackend:{" WEB "},rules:[" RULE(
        "h.example", "/x", WEB) "]}}");
    put(&w, RES_INGRESSES, "{metadata:{name:all,namespace:a,creationTimestamp:'2021-01-01T00:00:00Z'},spec:{ingressClassName:cube,defaultBackend:{" WEB "}}}");
    make(&w);
    assert_string_equal(find(&w, "h.example", "/x")->path.p, "/x");
    assert_string_equal(find(&w, "h.example", "/other")->ingress, "both");
    assert_string_equal(find(&w, "nobody.example", "/")->ingress, "all"); /* without rules goes first */
    end(&w);
}

/* A Secret is asked for by the Ingress's own namespace, whatever its name says; another type is no certificate. */
static void secrets(void **state UNUSED)
{
    struct world w;
    begin(&w);
    put(&w, RES_INGRESSES, "{metadata:{name:i,namespace:a},spec:{ingressClassName:cube,tls:[{hosts:[h.example],secretName:'../b/key'},{secretName:t}],rules:[" RULE(
        "h.example", "/", WEB) "]}}");
    make(&w);
    assert_true(map_has(&w.secrets, STR("a/../b/key")));
    assert_true(map_has(&w.secrets, STR("a/t")));
    assert_true(has_problem(&w, "NoCertificate", "Secret t is not there"));
    assert_false(find(&w, "h.example", "/")->tls);
    w.secret = keep(&w, RES_SECRETS, "{metadata:{name:t,namespace:a,uid:u},type:Opaque,data:{tls.crt:'eA==',tls.key:'eA=='}}");
    make(&w);
    assert_true(has_problem(&w, "NoCertificate", "is not of type kubernetes.io/tls"));
    w.secret = keep(&w, RES_SECRETS, "{metadata:{name:t,namespace:a,uid:u},type:kubernetes.io/tls,data:{tls.crt:'eA==',tls.key:'eA=='}}");
    make(&w);
    assert_true(has_problem(&w, "BadCertificate", "Secret t: certificate"));
    assert_null(table_certificate(w.table, "h.example"));
    end(&w);
}

static unsigned faults;

static void count_fault(void *ctx UNUSED, struct str message UNUSED)
{
    faults++;
}

static struct ingress_options read(struct arena *a, const char *name, const char *value)
{
    struct ingress_options o;
    struct object *i = object_relaxed(
        RES_INGRESSES, arena_printf(a, "{metadata:{name:i,namespace:a,annotations:{'ingress.cube.dev/%s':'%s',other/thing:x}}}", name, value).p);
    faults = 0;
    annotations_read(a, i->val, &o, count_fault, NULL);
    object_unref(i);
    return o;
}

static void annotations(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    assert_int_equal(read(&a, "timeout", "90s").timeout, SECONDS(90));
    assert_int_equal(faults, 0);
    assert_int_equal(read(&a, "timeout", "soon").timeout, SECONDS(60));
    assert_int_equal(faults, 1);
    assert_int_equal(read(&a, "timeout", "-5s").timeout, SECONDS(60));
    assert_int_equal(read(&a, "max-body-size", "10Mi").max_body, 10 << 20);
    assert_int_equal(read(&a, "max-body-size", "-1").max_body, 0);
    assert_int_equal(faults, 1);
    assert_true(read(&a, "redirect-to-https", "false").no_redirect);
    assert_false(read(&a, "redirect-to-https", "maybe").no_redirect);
    assert_int_equal(faults, 1);
    assert_int_equal(read(&a, "allow-from", "10.0.0.0/8,fd00::/8").allow.n, 2);
    struct ingress_options o = read(&a, "allow-from", "10.0.0.0/8; lua_code");
    assert_int_equal(faults, 1);
    assert_int_equal(o.allow.n, 1);
    assert_int_equal(o.allow.list[0].ip.b[0], 255); /* nobody */
    read(&a, "configuration-snippet", "load_module x;");
    assert_int_equal(faults, 1);
}

/* The machine's own addresses, of both families and in disguise. */
static void unfit_endpoints(void **state UNUSED)
{
    struct world w;
    begin(&w);
    put(&w, RES_SERVICES, "{metadata:{name:own,namespace:a,uid:o},spec:{ports:[{name:http,port:80}]}}");
    put(&w, RES_ENDPOINTSLICES, "{metadata:{name:own-4,namespace:a,uid:o4,labels:{kubernetes.io/service-name:own}},addressType:IPv4,ports:[{name:http,port:80}],"
                                "endpoints:[{addresses:['127.9.9.9']},{addresses:['169.254.1.1']},{addresses:['0.1.2.3']},{addresses:['239.1.1.1']},{addresses:['126.0.0.1']},"
                                "{addresses:['169.253.0.1']}]}");
    put(&w, RES_ENDPOINTSLICES, "{metadata:{name:own-6,namespace:a,uid:o6,labels:{kubernetes.io/service-name:own}},addressType:IPv6,ports:[{name:http,port:80}],"
                                "endpoints:[{addresses:['::1']},{addresses:['::']},{addresses:['fe80::1']},{addresses:['febf::1']},{addresses:['ff02::1']},"
                                "{addresses:['::ffff:10.0.0.1']},{addresses:['fd00::5']},{addresses:['fec0::1']}]}");
    put(&w, RES_INGRESSES, "{metadata:{name:i,namespace:a,uid:i},spec:{ingressClassName:cube,rules:[{host:own.example,http:{paths:[{path:/,pathType:Prefix,backend:{service:{name:own,port:{number:80}}}}]}}]}}");
    make(&w);
    assert_string_equal(endpoints_of(&w, find(&w, "own.example", "/")), "126.0.0.1:80 169.253.0.1:80 [fd00::5]:80 [fec0::1]:80");
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backends), cmocka_unit_test(endpoints_change_in_place), cmocka_unit_test(whose_and_who_wins),
        cmocka_unit_test(defaults), cmocka_unit_test(secrets),                   cmocka_unit_test(annotations),
        cmocka_unit_test(unfit_endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
