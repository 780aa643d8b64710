/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replays recorded answers of a real API server (one JSON line each) against decoding, defaults, preparation
 * and validation, without a server: creates with dryRun, and updates of what the line's set-up creates.
 *
 *     test_type_corpus [-v] FILE [ID-SUBSTRING]
 *
 * What admission and allocators add is left out of the comparison. Exit status 1 when a line differs.
 */
#include <stdio.h>
#include <string.h>

#include "base/os.h"
#include "names.h"
#include "resources.h"
#include "type/defaults.h"
#include "type/meta.h"
#include "type/patch.h"
#include "type/print.h"
#include "type/service.h"
#include "type/strategy.h"
#include "types.h"
#include "wire/json.h"

static bool verbose;
static unsigned n_pass, n_fail, n_skip;

static struct str member(const struct val *v, const char *key)
{
    return val_str(val_key(v, str_of(key)));
}

/* ---- what a request is about --------------------------------------------------------------------------- */

struct target {
    const struct resource *res;
    struct str ns, name, sub;
};

static bool parse_path(struct str path, struct target *t)
{
    struct str rest = path, part, parts[8], group = STR(""), version;
    size_t n = 0, at = 0;
    str_cut(path, '?', &rest, &part);
    rest = str_from(rest, 1);
    while (n < 8 && str_next(&rest, '/', &part))
        parts[n++] = part;
    *t = (struct target){0};
    if (n < 3)
        return false;
    at = 1;
    if (str_is(parts[0], "apis"))
        group = parts[at++];
    version = parts[at++];
    if (at + 2 < n && str_is(parts[at], "namespaces") && resource_find(group, version, parts[at + 2])) {
        t->ns = parts[at + 1];
        at += 2;
    }
    if (at >= n)
        return false;
    t->res = resource_find(group, version, parts[at++]);
    if (at < n)
        t->name = parts[at++];
    if (at < n)
        t->sub = parts[at++];
    return t->res != NULL;
}

/* ---- the server's work in small ------------------------------------------------------------------------ */

static void fill_meta(struct arena *a, const struct target *t, struct val *v)
{
    struct val *meta = val_sub_obj(a, v, N_metadata);
    if (t->ns.n && !val_getstr(meta, N_namespace).n)
        val_set_str(a, meta, N_namespace, t->ns);
    if (!t->res->namespaced)
        val_del(meta, N_namespace);
    val_del(meta, N_selfLink);
    val_set_str(a, v, N_kind, str_of(t->res->kind));
    char version[128];
    val_set_str(a, v, N_apiVersion, str_of(resource_api_version(t->res, version, sizeof(version))));
    if (val_getstr(meta, N_generateName).n && !val_getstr(meta, N_name).n)
        val_set_str(a, meta, N_name,
                    arena_printf(a, STR_FMT "abcde", STR_ARG(val_getstr(meta, N_generateName))));
    val_set_str(a, meta, N_uid, STR("11111111-1111-1111-1111-111111111111"));
    val_set_str(a, meta, N_creationTimestamp, STR("2020-01-01T00:00:00Z"));
}

/* As the allocators of addresses and ports would. */
static void allocate(struct arena *a, struct val *v)
{
    struct val *spec = val_mut(v, N_spec);
    service_normalize(a, v, NULL);
    if (service_needs_health_port(spec) && !val_get(spec, N_healthCheckNodePort))
        val_set_int(a, spec, N_healthCheckNodePort, 30001);
}

static int create(struct arena *a, const struct target *t, const struct val *body, struct val **ret,
                  struct status *s)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct err e = {0};
    struct val *v = NULL;
    json_encode(&b, NULL, body, 0);
    if (json_decode(a, t->res->type, buf_str(&b), 0, NULL, &v, &e) < 0)
        return status_bad_request(s, "%s", e.text);
    if (!val_is(v, VAL_OBJ))
        return status_bad_request(s, "no object");
    defaults_apply(a, t->res->type, v);
    fill_meta(a, t, v);
    prepare_create(a, t->res, v);
    if (t->res->index == RES_SERVICES)
        allocate(a, v);
    validate_create(t->res, v, s);
    *ret = v;
    return status_invalid(s, str_of(t->res->group), str_of(t->res->kind), obj_name(v));
}

static int update(struct arena *a, const struct target *t, struct val *v, const struct val *old,
                  struct val **ret, struct status *s)
{
    defaults_apply(a, t->res->type, v);
    if (t->ns.n)
        val_set_str(a, val_sub_obj(a, v, N_metadata), N_namespace, t->ns);
    char *sub = t->sub.n ? arena_cstr(a, t->sub) : NULL;
    if (resource_strategy(t->res)->flags & STRATEGY_VERSIONED && !obj_revision(v)) {
        cause_invalid(s, STR("metadata.resourceVersion"), NULL, "must be specified for an update");
        return status_invalid(s, str_of(t->res->group), str_of(t->res->kind), obj_name(v));
    }
    if (t->res->index == RES_SERVICES)
        service_normalize(a, v, old);
    prepare_update(a, t->res, sub, v, old);
    if (t->res->index == RES_SERVICES) {
        struct val *spec = val_mut(v, N_spec);
        const struct val *was = val_get(old, N_spec);
        static const name_id kept[] = {N_clusterIP, N_clusterIPs, N_ipFamilies, N_ipFamilyPolicy};
        for (size_t i = 0; i < ARRAY_SIZE(kept) && service_needs_cluster_ip(spec); i++)
            if (!val_get(spec, kept[i]))
                val_set_ref(a, spec, kept[i], val_get(was, kept[i]));
        if (service_needs_health_port(spec) && !val_get(spec, N_healthCheckNodePort))
            val_set_int(a, spec, N_healthCheckNodePort, 30001);
    }
    validate_update(t->res, sub, v, old, s);
    *ret = v;
    return status_invalid(s, str_of(t->res->group), str_of(t->res->kind), obj_name(v));
}

static int put(struct arena *a, const struct target *t, const struct val *body, const struct val *old,
               struct val **ret, struct status *s)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct err e = {0};
    struct val *v = NULL;
    json_encode(&b, NULL, body, 0);
    if (json_decode(a, t->res->type, buf_str(&b), 0, NULL, &v, &e) < 0)
        return status_bad_request(s, "%s", e.text);
    return update(a, t, v, old, ret, s);
}

static bool patch_kind_of(struct str content_type, enum patch_kind *ret)
{
    static const struct {
        const char *type;
        enum patch_kind kind;
    } kinds[] = {
        {"application/json-patch+json", PATCH_JSON},
        {"application/merge-patch+json", PATCH_MERGE},
        {"application/strategic-merge-patch+json", PATCH_STRATEGIC},
    };
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (str_is(content_type, kinds[i].type)) {
            *ret = kinds[i].kind;
            return true;
        }
    return false;
}

static int patch(struct arena *a, const struct target *t, enum patch_kind kind, const struct val *body,
                 const struct val *old, struct val **ret, struct status *s)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct val *v = NULL;
    if (val_is(body, VAL_STR)) /* rawBody */
        buf_putstr(&b, val_str(body));
    else
        json_encode(&b, NULL, body, 0);
    int r = patch_apply(a, kind, t->res->type, old, buf_str(&b), NULL, &v, s);
    return r ? r : update(a, t, v, old, ret, s);
}

/* ---- comparing ----------------------------------------------------------------------------------------- */

/* What others add: paths that may be in the recorded object and not in ours, or differ. */
static const struct val *ignored; /* dotted paths of the line */

static bool added_by_others(const char *path)
{
    VAL_EACH (ignored, p) {
        size_t n = strlen(path);
        if (n > p->n && strncmp(path + 1, p->s, p->n) == 0 &&
            (path[1 + p->n] == 0 || strchr(".[", path[1 + p->n])))
            return true;
    }
    static const char *const prefixes[] = {
        ".metadata.uid",
        ".metadata.creationTimestamp",
        ".metadata.managedFields",
        ".metadata.name",
        ".metadata.generateName",
        ".metadata.resourceVersion",
        ".metadata.namespace",
        ".spec.serviceAccount",
        ".spec.tolerations",
        ".spec.priority",
        ".spec.preemptionPolicy",
        ".spec.clusterIP",
        ".spec.ipFamil",
        ".spec.healthCheckNodePort",
        ".metadata.finalizers",
        ".status.lastPhaseTransitionTime",
        ".spec.storageClassName",
        ".spec.username",
        ".spec.groups",
        ".spec.extra",
        ".spec.uid",
    };
    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
        if (strncmp(path, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return strstr(path, "olumeMounts") || strncmp(path, ".spec.volumes", 13) == 0 ||
           strstr(path, ".nodePort");
}

static unsigned differ(const char *path, const struct val *want, const struct val *got);

static unsigned differ_map(const char *path, const struct val *want, const struct val *got)
{
    char at[1024];
    unsigned n = 0;
    VAL_EACH_ENTRY (want, k, v) {
        snprintf(at, sizeof(at), "%s.%.*s", path, (int)k->n, k->s);
        n += differ(at, v, val_key(got, val_str(k)));
    }
    VAL_EACH_ENTRY (got, k, v) {
        snprintf(at, sizeof(at), "%s.%.*s", path, (int)k->n, k->s);
        if (!val_key(want, val_str(k)) && v->kind != VAL_NULL)
            n += differ(at, NULL, v);
    }
    return n;
}

static unsigned differ(const char *path, const struct val *want, const struct val *got)
{
    if (val_is(want, VAL_STR) && str_is(val_str(want), "<any>"))
        return 0;
    if (val_is(want, VAL_MAP) && val_is(got, VAL_MAP))
        return differ_map(path, want, got);
    if (val_is(want, VAL_LIST) && val_is(got, VAL_LIST) && want->n == got->n) {
        unsigned n = 0;
        for (size_t i = 0; i < want->n; i++) {
            char at[1024];
            snprintf(at, sizeof(at), "%s[%zu]", path, i);
            n += differ(at, &want->items[i], &got->items[i]);
        }
        return n;
    }
    bool nothing = (!want || want->kind == VAL_NULL) && (!got || got->kind == VAL_NULL);
    if (nothing || (want && got && val_same(want, got)) || added_by_others(path))
        return 0;
    CLEANUP_BUF struct buf w = BUF_INIT;
    CLEANUP_BUF struct buf g = BUF_INIT;
    json_encode(&w, NULL, want ?: &(struct val){.kind = VAL_NULL}, 0);
    json_encode(&g, NULL, got ?: &(struct val){.kind = VAL_NULL}, 0);
    printf("    %s: want %.*s got %.*s\n", path, (int)MIN(w.n, (size_t)200), w.p, (int)MIN(g.n, (size_t)200),
           g.p);
    return 1;
}

static bool has_cause(const struct status *s, struct str field, struct str reason)
{
    for (size_t i = 0; i < s->n_causes; i++)
        if (str_eq(s->causes[i].field, field) && str_is(reason, s->causes[i].reason))
            return true;
    return false;
}

static unsigned differ_causes(const struct val *want, const struct status *s)
{
    unsigned n = 0;
    VAL_EACH (want, c)
        if (!has_cause(s, val_str(val_item(c, 0)), val_str(val_item(c, 1)))) {
            printf("    missing " STR_FMT " " STR_FMT "\n", STR_ARG(val_str(val_item(c, 0))),
                   STR_ARG(val_str(val_item(c, 1))));
            n++;
        }
    for (size_t i = 0; i < s->n_causes; i++) {
        bool found = false;
        VAL_EACH (want, c)
            found = found || (str_eq(val_str(val_item(c, 0)), s->causes[i].field) &&
                              str_is(val_str(val_item(c, 1)), s->causes[i].reason));
        if (!found) {
            printf("    extra " STR_FMT " %s: " STR_FMT "\n", STR_ARG(s->causes[i].field),
                   s->causes[i].reason, STR_ARG(s->causes[i].message));
            n++;
        }
    }
    return n;
}

/* Ages in the recorded answers count from objects' own times to the day of the recording: noon of 2026-11-23, in UTC. */
#define RECORDED_AT SECONDS(1795435200ll)

/* The cells of the one row of a Table. */
static unsigned differ_cells(struct arena *a, const struct resource *r, const struct val *table,
                             const struct val *v)
{
    const struct val *want = val_key(val_item(val_key(table, STR("rows")), 0), STR("cells"));
    struct val *cells = ARENA_ARRAY(a, struct val, r->n_columns);
    struct val *got = val_new(a, VAL_LIST);
    print_cells(r, v, (struct wall){RECORDED_AT}, a, cells);
    for (unsigned i = 0; i < r->n_columns; i++)
        val_add(a, got, cells[i]);
    return differ("cells", want, got);
}

/* ---- lines --------------------------------------------------------------------------------------------- */

static bool set_up(struct arena *a, const struct val *line, const struct target *t, struct val **ret_old)
{
    const struct val *first = val_item(val_key(line, STR("setup")), 0);
    struct target other;
    struct status s;
    status_init(&s, a);
    if (!first || val_len(val_key(line, STR("setup"))) != 1 || !str_is(member(first, "method"), "POST") ||
        !parse_path(member(first, "path"), &other) || other.res != t->res || other.sub.n)
        return false;
    return create(a, &other, val_key(first, STR("body")), ret_old, &s) == 0;
}

static bool wanted_line(const struct val *line, const struct target *t)
{
    const struct val *expect = val_key(line, STR("expect"));
    int64_t code = val_int(val_key(expect, STR("code")), 0);
    struct str area = member(line, "area"), method = member(line, "method");
    if (code != 200 && code != 201 && code != 422)
        return false;
    if (str_starts(area, STR("apply")) || str_starts(area, STR("admission")) || str_starts(area, STR("auth")))
        return false;
    const struct val *first = val_item(val_key(line, STR("setup")), 0);
    if (val_key(first, STR("capture")))
        return false; /* the body names what the server made up */
    if ((!val_is(val_key(line, STR("body")), VAL_MAP) && !str_is(method, "PATCH")) || !t->res->stored)
        return false;
    if (str_is(method, "POST"))
        return !t->name.n && !t->sub.n && (!val_key(line, STR("headers")) || str_is(area, "read.table")) &&
               !val_key(line, STR("setup"));
    enum patch_kind kind;
    bool changes = str_is(method, "PUT") ||
                   (str_is(method, "PATCH") &&
                    patch_kind_of(member(val_key(line, STR("headers")), "Content-Type"), &kind) &&
                    !str_contains(member(line, "path"), STR("fieldValidation=")));
    return changes && t->name.n && !str_is(t->sub, "scale") && val_key(line, STR("setup"));
}

static void run_line(struct str text, const char *only)
{
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    struct val *line = NULL, *got = NULL, *old = NULL;
    struct target t;
    struct status s;
    status_init(&s, &a);
    if (json_decode(&a, NULL, text, 0, NULL, &line, NULL) < 0 || !parse_path(member(line, "path"), &t) ||
        (only && !str_contains(member(line, "id"), str_of(only))) || !wanted_line(line, &t)) {
        n_skip++;
        return;
    }
    ignored = val_key(line, STR("ignore"));
    const struct val *raw = val_key(line, STR("rawBody")), *body = raw ? raw : val_key(line, STR("body")),
                     *expect = val_key(line, STR("expect"));
    int64_t code = val_int(val_key(expect, STR("code")), 0);
    struct str method = member(line, "method");
    enum patch_kind kind;
    if (!str_is(method, "POST") && !set_up(&a, line, &t, &old)) {
        n_skip++;
        return;
    }
    int r;
    if (patch_kind_of(member(val_key(line, STR("headers")), "Content-Type"), &kind))
        r = patch(&a, &t, kind, body, old, &got, &s);
    else
        r = str_is(method, "PUT") ? put(&a, &t, body, old, &got, &s) : create(&a, &t, body, &got, &s);
    unsigned faults = 0;
    CLEANUP_BUF struct buf b = BUF_INIT;
    if (code == 422 ? r != 422 : r != 0) {
        printf("    code %d, want %lld: " STR_FMT "\n", r, (long long)code, STR_ARG(s.message));
        faults++;
    }
    if (code == 422) {
        faults += differ_causes(val_key(expect, STR("causes")), &s);
    } else if (r == 0) {
        struct val *plain = NULL;
        json_encode(&b, t.res->type, got, 0);
        (void)json_decode(&a, NULL, buf_str(&b), 0, NULL, &plain, NULL);
        if (str_is(member(line, "area"), "read.table"))
            faults += differ_cells(&a, t.res, val_key(expect, STR("object")), got);
        else
            faults += differ("", val_key(expect, STR("object")), plain);
    }
    if (faults)
        printf("FAIL " STR_FMT "\n", STR_ARG(member(line, "id")));
    if (faults && verbose) {
        buf_clear(&b);
        json_encode(&b, NULL, body, 0);
        printf("    body " STR_FMT "\n", STR_ARG(buf_str(&b)));
    }
    n_fail += faults != 0;
    n_pass += faults == 0;
}

int main(int argc, char **argv)
{
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    struct str all, line;
    if (argc > 1 && strcmp(argv[1], "-v") == 0) {
        verbose = true;
        argc--;
        argv++;
    }
    if (argc < 2) {
        fprintf(stderr, "usage: test_type_corpus [-v] FILE [ID-SUBSTRING]\n");
        return 2;
    }
    if (os_read_file(&a, argv[1], (size_t)64 << 20, &all) < 0) {
        fprintf(stderr, "%s: cannot be read\n", argv[1]);
        return 2;
    }
    while (str_next(&all, '\n', &line))
        run_line(line, argc > 2 ? argv[2] : NULL);
    printf("%u passed, %u failed, %u not for this test\n", n_pass, n_fail, n_skip);
    return n_fail ? 1 : 0;
}
