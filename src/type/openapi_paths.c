/* SPDX-License-Identifier: Apache-2.0 */
/* Paths and operations of the resources, with the names that generated clients are used to. */
#include "type/openapi-internal.h"
#include "types.h"

struct place {
    struct openapi *o;
    struct arena *arena;
    const struct openapi_group *g;
    const struct resource *r;
    const struct subresource *sub; /* NULL: the resource itself */
    bool one;                      /* {name} is in the path */
    bool all_namespaces;           /* a list over all namespaces */
};

struct operation {
    const char *method, *action, *word; /* "get", "list", "read" ... */
    uint16_t verb;
    bool body, patch, list;
};

/* ---- names --------------------------------------------------------------------------------------------- */

/* "rbac.authorization.k8s.io" is "RbacAuthorization", the empty group "Core". */
static struct str group_word(struct arena *a, const char *group, bool capital)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct str rest = str_of(group[0] ? group : "core"), part;
    if (str_ends(rest, STR(".k8s.io")))
        rest.n -= strlen(".k8s.io");
    while (str_next(&rest, '.', &part)) {
        if (!part.n)
            continue;
        bool up = (b.n || capital) && part.p[0] >= 'a' && part.p[0] <= 'z';
        buf_putc(&b, up ? (char)(part.p[0] - 'a' + 'A') : part.p[0]);
        buf_putstr(&b, str_from(part, 1));
    }
    return arena_str(a, buf_str(&b));
}

static struct str capital(struct arena *a, const char *s)
{
    char *text = arena_cstr(a, str_of(s));
    if (text[0] >= 'a' && text[0] <= 'z')
        text[0] = (char)(text[0] - 'a' + 'A');
    return str_of(text);
}

static struct str operation_id(const struct place *p, const struct operation *op)
{
    const char *kind = p->r->kind;
    bool namespaced = p->r->namespaced && !p->all_namespaces;
    return arena_printf(p->arena, "%s" STR_FMT STR_FMT "%s%s" STR_FMT "%s", op->word,
                        STR_ARG(group_word(p->arena, p->g->group, true)),
                        STR_ARG(capital(p->arena, p->g->version)), namespaced ? "Namespaced" : "", kind,
                        STR_ARG(p->sub ? capital(p->arena, p->sub->name) : STR("")),
                        p->all_namespaces ? "ForAllNamespaces" : "");
}

/* ---- parameters ---------------------------------------------------------------------------------------- */

struct parameter {
    const char *name, *type, *doc;
};

static const struct parameter of_list[] = {
    {"allowWatchBookmarks", "boolean", "Send bookmark events."},
    {"continue", "string", "Where the last page ended."},
    {"fieldSelector", "string", "Only objects with these fields."},
    {"labelSelector", "string", "Only objects with these labels."},
    {"limit", "integer", "Objects in a page."},
    {"resourceVersion", "string", "State to answer from."},
    {"resourceVersionMatch", "string", "How exactly resourceVersion is meant."},
    {"sendInitialEvents", "boolean", "Begin a watch with what there is."},
    {"timeoutSeconds", "integer", "Seconds after which a list or watch ends."},
    {"watch", "boolean", "Send changes as they come."},
};
static const struct parameter of_write[] = {
    {"dryRun", "string", "All: do everything but keep nothing."},
    {"fieldManager", "string", "Name of the one who writes."},
    {"fieldValidation", "string", "Ignore, Warn or Strict: what to do with unknown and duplicate fields."},
};
static const struct parameter of_apply[] = {{"force", "boolean", "Take fields from other managers."}};
static const struct parameter of_delete[] = {
    {"dryRun", "string", "All: do everything but keep nothing."},
    {"gracePeriodSeconds", "integer", "Seconds the object may take to end."},
    {"orphanDependents", "boolean", "Leave what depends on it. Deprecated: use propagationPolicy."},
    {"propagationPolicy", "string", "What becomes of what depends on it."},
};

static void put_parameter(struct openapi *o, const char *in, const struct parameter *p)
{
    oa_open(o, NULL, '{');
    oa_str(o, "name", p->name);
    oa_str(o, "in", in);
    if (p->doc)
        oa_str(o, "description", p->doc);
    if (strcmp(in, "path") == 0)
        oa_bool(o, "required", true);
    if (o->version == OPENAPI_V3)
        oa_open(o, "schema", '{');
    oa_str(o, "type", p->type);
    oa_bool(o, "uniqueItems", true);
    if (o->version == OPENAPI_V3)
        oa_close(o, '}');
    oa_close(o, '}');
}

static void put_queries(struct openapi *o, const struct parameter *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put_parameter(o, "query", &p[i]);
}

static void put_operation_parameters(const struct place *p, const struct operation *op)
{
    struct openapi *o = p->o;
    if (op->list)
        put_queries(o, of_list, ARRAY_SIZE(of_list));
    if (op->verb == VERB_DELETE || op->verb == VERB_DELETECOLLECTION)
        put_queries(o, of_delete, ARRAY_SIZE(of_delete));
    else if (op->body)
        put_queries(o, of_write, ARRAY_SIZE(of_write));
    if (op->patch)
        put_queries(o, of_apply, ARRAY_SIZE(of_apply));
}

/* ---- bodies and answers -------------------------------------------------------------------------------- */

/* NULL for what has no definition: a log, a stream. */
static const char *definition(const struct place *p, bool list)
{
    const struct type *t = p->sub ? p->sub->type : list ? p->r->list_type : p->r->type;
    if (p->r->index >= n_resources && (!p->sub || strcmp(p->sub->name, "scale") != 0)) {
        struct str name = oa_custom_name(p->arena, p->r);
        return arena_printf(p->arena, STR_FMT "%s", STR_ARG(name), list ? "List" : "").p;
    }
    if (!t || !t->openapi)
        return NULL;
    p->o->used[t->index] |= 1;
    return t->openapi;
}

static void put_content(struct openapi *o, const char *const *kinds, const char *name)
{
    oa_open(o, "content", '{');
    for (; *kinds; kinds++) {
        oa_open(o, *kinds, '{');
        oa_ref_name(o, "schema", name);
        oa_close(o, '}');
    }
    oa_close(o, '}');
}

static const char *const any_kind[] = {"*/*", NULL};
static const char *const answers[] = {"application/json", "application/yaml",
                                      "application/vnd.kubernetes.protobuf", NULL};
static const char *const patches[] = {"application/apply-patch+yaml", "application/json-patch+json",
                                      "application/merge-patch+json",
                                      "application/strategic-merge-patch+json", NULL};

static const char *body_name(const struct place *p, const struct operation *op)
{
    const struct type *options = type_at(T_meta_v1_DeleteOptions);
    if (op->patch)
        return OPENAPI_PATCH;
    if (op->verb != VERB_DELETE && op->verb != VERB_DELETECOLLECTION)
        return definition(p, false);
    p->o->used[options->index] |= 1;
    return options->openapi;
}

static void put_body(const struct place *p, const struct operation *op)
{
    struct openapi *o = p->o;
    const char *name = body_name(p, op);
    bool optional = op->verb == VERB_DELETE || op->verb == VERB_DELETECOLLECTION;
    if (!name)
        return;
    if (o->version == OPENAPI_V3) {
        oa_open(o, "requestBody", '{');
        put_content(o, op->patch ? patches : any_kind, name);
        if (!optional)
            oa_bool(o, "required", true);
        oa_close(o, '}');
        return;
    }
    oa_open(o, NULL, '{');
    oa_str(o, "name", "body");
    oa_str(o, "in", "body");
    if (!optional)
        oa_bool(o, "required", true);
    oa_ref_name(o, "schema", name);
    oa_close(o, '}');
}

static void put_answer(const struct place *p, const char *code, const char *words, const char *name)
{
    struct openapi *o = p->o;
    oa_open(o, code, '{');
    oa_str(o, "description", words);
    if (name && o->version == OPENAPI_V3)
        put_content(o, answers, name);
    else if (name)
        oa_ref_name(o, "schema", name);
    oa_close(o, '}');
}

static void put_answers(const struct place *p, const struct operation *op)
{
    const char *name = definition(p, op->list && op->verb != VERB_DELETECOLLECTION);
    bool deletes = op->verb == VERB_DELETE || op->verb == VERB_DELETECOLLECTION;
    if (deletes) {
        name = type_at(T_meta_v1_Status)->openapi;
        p->o->used[T_meta_v1_Status] |= 1;
    }
    oa_open(p->o, "responses", '{');
    put_answer(p, "200", "OK", name);
    if (op->verb == VERB_CREATE || op->verb == VERB_UPDATE || op->verb == VERB_PATCH)
        put_answer(p, "201", "Created", name);
    if (op->verb == VERB_CREATE || op->verb == VERB_DELETE)
        put_answer(p, "202", "Accepted", name);
    put_answer(p, "401", "Unauthorized", NULL);
    oa_close(p->o, '}');
}

/* ---- operations ---------------------------------------------------------------------------------------- */

static void put_words(struct openapi *o, const char *key, const char *const *words)
{
    oa_open(o, key, '[');
    for (; *words; words++)
        oa_str(o, NULL, *words);
    oa_close(o, ']');
}

static void put_operation(const struct place *p, const struct operation *op)
{
    static const char *const https[] = {"https", NULL};
    struct openapi *o = p->o;
    const char *group = p->sub && p->sub->kind ? p->sub->group : p->r->group;
    const char *version = p->sub && p->sub->kind ? p->sub->version : p->r->version;
    oa_open(o, op->method, '{');
    oa_open(o, "tags", '[');
    oa_slice(o, NULL,
             arena_printf(p->arena, STR_FMT "_%s", STR_ARG(group_word(p->arena, p->g->group, false)),
                          p->g->version));
    oa_close(o, ']');
    oa_slice(o, "operationId", operation_id(p, op));
    if (o->version == OPENAPI_V2) {
        put_words(o, "consumes", op->patch ? patches : any_kind);
        put_words(o, "produces", answers);
        put_words(o, "schemes", https);
    }
    oa_open(o, "parameters", '[');
    put_operation_parameters(p, op);
    if (op->body && o->version == OPENAPI_V2)
        put_body(p, op);
    oa_close(o, ']');
    if (op->body && o->version == OPENAPI_V3)
        put_body(p, op);
    put_answers(p, op);
    oa_str(o, "x-kubernetes-action", op->action);
    oa_open(o, "x-kubernetes-group-version-kind", '{');
    oa_str(o, "group", group ? group : "");
    oa_str(o, "kind", p->sub && p->sub->kind ? p->sub->kind : p->r->kind);
    oa_str(o, "version", version ? version : "");
    oa_close(o, '}');
    oa_close(o, '}');
}

static const struct operation of_collection[] = {
    {"get", "list", "list", VERB_LIST, false, false, true},
    {"post", "post", "create", VERB_CREATE, true, false, false},
    {"delete", "deletecollection", "deletecollection", VERB_DELETECOLLECTION, true, false, true},
};
static const struct operation of_object[] = {
    {"get", "get", "read", VERB_GET, false, false, false},
    {"put", "put", "replace", VERB_UPDATE, true, false, false},
    {"post", "post", "create", VERB_CREATE, true, false, false},
    {"delete", "delete", "delete", VERB_DELETE, true, false, false},
    {"patch", "patch", "patch", VERB_PATCH, true, true, false},
};

static void put_path_parameters(const struct place *p)
{
    static const struct parameter name = {"name", "string", "Name of the object."};
    static const struct parameter ns = {"namespace", "string", "Namespace of the objects."};
    static const struct parameter pretty = {"pretty", "string", "If true, the answer is indented."};
    oa_open(p->o, "parameters", '[');
    if (p->one)
        put_parameter(p->o, "path", &name);
    if (p->r->namespaced && !p->all_namespaces)
        put_parameter(p->o, "path", &ns);
    put_parameter(p->o, "query", &pretty);
    oa_close(p->o, ']');
}

static void put_path(const struct place *p)
{
    const struct operation *ops = p->one ? of_object : of_collection;
    size_t n = p->all_namespaces ? 1 : p->one ? ARRAY_SIZE(of_object) : ARRAY_SIZE(of_collection);
    unsigned verbs = p->sub ? p->sub->verbs : p->r->verbs;
    const char *group = p->g->group;
    oa_open(p->o,
            arena_printf(p->arena, "%s%s%s/%s%s/%s%s%s%s", group[0] ? "/apis" : "/api", group[0] ? "/" : "",
                         group, p->g->version,
                         p->r->namespaced && !p->all_namespaces ? "/namespaces/{namespace}" : "", p->r->name,
                         p->one ? "/{name}" : "", p->sub ? "/" : "", p->sub ? p->sub->name : "")
                .p,
            '{');
    for (size_t i = 0; i < n; i++)
        if (verbs & ops[i].verb && !(p->one && !p->sub && ops[i].verb == VERB_CREATE))
            put_operation(p, &ops[i]);
    put_path_parameters(p);
    oa_close(p->o, '}');
}

static void put_resource(struct place p)
{
    unsigned of_many = VERB_LIST | VERB_CREATE | VERB_DELETECOLLECTION,
             of_one = VERB_GET | VERB_UPDATE | VERB_PATCH | VERB_DELETE;
    if (p.r->verbs & of_many)
        put_path(&p);
    if (p.r->namespaced && p.r->verbs & VERB_LIST) {
        p.all_namespaces = true;
        put_path(&p);
        p.all_namespaces = false;
    }
    p.one = true;
    if (p.r->verbs & of_one)
        put_path(&p);
    for (unsigned i = 0; i < p.r->n_subresources; i++) {
        p.sub = &p.r->subresources[i];
        put_path(&p);
    }
}

void openapi_paths(struct openapi *o, const struct openapi_group *g)
{
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    for (size_t i = 0; i < g->n; i++)
        put_resource((struct place){.o = o, .arena = &a, .g = g, .r = g->resources[i]});
}
