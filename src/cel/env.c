/* SPDX-License-Identifier: Apache-2.0 */
/* Environments, programs, and the table of all functions, which is read from text once. */
#include "cel/cel-internal.h"

#include <pthread.h>

/* ---- functions ------------------------------------------------------------------------------------------- */

static struct {
    struct arena arena; /* as long as the process: the tables are const */
    struct map names;
} registry;

static bool has_param(const struct cel_type *t)
{
    for (unsigned i = 0; i < t->n_params; i++)
        if (has_param(t->params[i]))
            return true;
    return t->kind == CEL_PARAM;
}

static void read_overload(struct cel_overload *o, const struct cel_fn *f)
{
    struct str s = str_of(f->sig);
    o->fn = f;
    const char *dot = strstr(f->sig, ".(");
    if (s.p[0] != '(' && dot) {
        struct str receiver = str_n(s.p, (size_t)(dot - s.p));
        o->args[o->n_args++] = cel_type_parse(&registry.arena, &receiver);
        o->member = true;
        s = str_of(dot + 1);
    }
    s = str_from(s, 1); /* ( */
    while (s.p[0] != ')') {
        ASSERT(o->n_args < CEL_MAX_ARGS);
        o->args[o->n_args++] = cel_type_parse(&registry.arena, &s);
        if (s.p[0] == ',')
            s = str_from(s, 2);
    }
    s = str_from(s, 2); /* ) and a space */
    o->result = cel_type_parse(&registry.arena, &s);
    o->generic = has_param(o->result);
    for (unsigned i = 0; i < o->n_args; i++) {
        o->masks[i] = cel_kind_mask(o->args[i]);
        o->generic |= has_param(o->args[i]);
    }
}

static void read_table(const struct cel_fn *fns, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct cel_fn_name *e = map_get(&registry.names, str_of(fns[i].name));
        if (!e) {
            e = ARENA_NEW(&registry.arena, struct cel_fn_name);
            map_put(&registry.names, str_of(fns[i].name), e);
        }
        struct cel_overload *more = ARENA_ARRAY(&registry.arena, struct cel_overload, e->n + 1);
        if (e->n)
            memcpy(more, e->overloads, e->n * sizeof(*more));
        read_overload(&more[e->n++], &fns[i]);
        e->overloads = more;
    }
}

static void read_tables(void)
{
    read_table(cel_fns_std, n_cel_fns_std);
    read_table(cel_fns_time, n_cel_fns_time);
    read_table(cel_fns_text, n_cel_fns_text);
    read_table(cel_fns_list, n_cel_fns_list);
    read_table(cel_fns_amount, n_cel_fns_amount);
    read_table(cel_fns_net, n_cel_fns_net);
    read_table(cel_fns_url, n_cel_fns_url);
    read_table(cel_fns_format, n_cel_fns_format);
    read_table(cel_fns_authz, n_cel_fns_authz);
    read_table(cel_fns_ext, n_cel_fns_ext);
}

const struct cel_fn_name *cel_functions(struct str name)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_tables);
    return map_get(&registry.names, name);
}

bool cel_fn_allowed(const struct cel_fn *f, const struct cel_env *env)
{
    return (!f->libs || (f->libs & env->libs)) && f->since <= env->version;
}

/* ---- environments ---------------------------------------------------------------------------------------- */

struct cel_env *cel_env_new(unsigned libs, unsigned version)
{
    struct cel_env *env = NEW(struct cel_env);
    env->refs = 1;
    env->libs = libs;
    env->version = version;
    return env;
}

struct cel_env *cel_env_ref(struct cel_env *env)
{
    __atomic_add_fetch(&env->refs, 1, __ATOMIC_RELAXED);
    return env;
}

struct cel_env *cel_env_unref(struct cel_env *env)
{
    if (env && __atomic_sub_fetch(&env->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        arena_done(&env->arena);
        free(env->vars);
        free(env->types);
        free(env);
    }
    return NULL;
}

struct arena *cel_env_arena(struct cel_env *env)
{
    return &env->arena;
}

unsigned cel_env_var(struct cel_env *env, const char *name, const struct cel_type *type)
{
    if (env->n_vars == env->cap_vars)
        env->vars = xrealloc(env->vars, (env->cap_vars = env->cap_vars ? 2 * env->cap_vars : 4) * sizeof(*env->vars));
    env->vars[env->n_vars] = (struct cel_var){arena_str(&env->arena, str_of(name)), type};
    return env->n_vars++;
}

void cel_env_type(struct cel_env *env, const struct cel_type *object)
{
    if (env->n_types == env->cap_types)
        env->types = xrealloc(env->types, (env->cap_types = env->cap_types ? 2 * env->cap_types : 4) * sizeof(*env->types));
    env->types[env->n_types++] = object;
}

void cel_env_container(struct cel_env *env, const char *name)
{
    env->container = arena_str(&env->arena, str_of(name));
}

void cel_env_mixed_literals(struct cel_env *env, bool allowed)
{
    env->mixed = allowed;
}

int cel_env_find(const struct cel_env *env, struct str name)
{
    for (unsigned i = env->n_vars; i > 0; i--)
        if (str_eq(env->vars[i - 1].name, name))
            return (int)i - 1;
    return -1;
}

static const struct {
    const char *name;
    const struct cel_type *type;
} type_names[] = {
    {"bool", &cel_bool},
    {"bytes", &cel_bytes},
    {"double", &cel_double},
    {"int", &cel_int},
    {"list", &cel_list_dyn},
    {"map", &cel_map_dyn},
    {"null_type", &cel_null},
    {"string", &cel_string},
    {"type", &cel_type_type},
    {"uint", &cel_uint},
    {"optional_type", &cel_optional_dyn},
    {"google.protobuf.Timestamp", &cel_timestamp},
    {"google.protobuf.Duration", &cel_duration},
    {"kubernetes.Quantity", &cel_quantity},
    {"kubernetes.Semver", &cel_semver},
    {"net.IP", &cel_ip},
    {"net.CIDR", &cel_cidr},
    {"kubernetes.URL", &cel_url},
    {"kubernetes.NamedFormat", &cel_format},
};

void cel_env_open_type(struct cel_env *env, const char *root)
{
    env->open = arena_str(&env->arena, str_of(root));
}

static const struct cel_type *open_type(struct cel_env *env, struct str name)
{
    bool below = str_starts(name, env->open) && name.n > env->open.n + 1 && name.p[env->open.n] == '.';
    if (!env->open.n || !(below || str_eq(name, env->open)))
        return NULL;
    struct cel_type *t = ARENA_NEW(&env->arena, struct cel_type);
    *t = (struct cel_type){.kind = CEL_OBJECT, .flags = CEL_OPEN, .name = arena_str(&env->arena, name)};
    cel_env_type(env, t);
    return t;
}

const struct cel_type *cel_env_find_type(struct cel_env *env, struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(type_names); i++)
        if (str_is(name, type_names[i].name))
            return type_names[i].type;
    for (unsigned i = env->n_types; i > 0; i--)
        if (str_eq(env->types[i - 1]->name, name))
            return env->types[i - 1];
    return open_type(env, name);
}

/* ---- programs -------------------------------------------------------------------------------------------- */

/* ERROR: <input>:1:5: message, the line, and a mark below the place. */
static void put_issue(struct buf *b, struct str source, const struct cel_issue *i)
{
    if (b->n)
        buf_putc(b, '\n');
    buf_printf(b, "ERROR: <input>:%d:%d: " STR_FMT, i->line ? i->line : -1, i->line ? i->column : 0, STR_ARG(i->message));
    if (!i->line)
        return;
    struct str rest = source, line = {0};
    for (int k = 0; k < i->line && str_next(&rest, '\n', &line); k++)
        ;
    buf_puts(b, "\n | ");
    for (size_t k = 0; k < line.n; k++)
        buf_putc(b, line.p[k] == '\t' ? ' ' : line.p[k]);
    buf_puts(b, "\n | ");
    uint32_t rune;
    size_t at = 0, n;
    for (int k = 1; k < i->column && at < line.n; k++, at += n) {
        n = cel_rune(str_from(line, at), &rune);
        buf_puts(b, n > 1 ? "．" : ".");
    }
    buf_puts(b, at < line.n && cel_rune(str_from(line, at), &rune) > 1 ? "＾" : "^");
}

static bool before(const struct cel_issue *x, const struct cel_issue *y)
{
    return x->line != y->line ? x->line < y->line : x->column < y->column;
}

/* By place; at one place, in the order they were found. */
static void sort_issues(struct cel_report *r)
{
    for (size_t i = 1; i < r->n; i++)
        for (size_t k = i; k > 0 && before(&r->items[k], &r->items[k - 1]); k--) {
            struct cel_issue t = r->items[k];
            r->items[k] = r->items[k - 1];
            r->items[k - 1] = t;
        }
}

static void issues_text(struct cel_report *r, struct cel_issues *ret)
{
    sort_issues(r);
    CLEANUP_BUF struct buf b = BUF_INIT;
    for (size_t i = 0; i < r->n; i++)
        put_issue(&b, r->source, &r->items[i]);
    *ret = (struct cel_issues){.items = r->items, .n = r->n, .text = arena_str(r->arena, buf_str(&b))};
}

int cel_compile(struct cel_env *env, struct str source, struct arena *a, struct cel_program **ret,
                struct cel_issues *ret_issues)
{
    struct cel_program *p = NEW(struct cel_program);
    p->refs = 1;
    p->env = cel_env_ref(env);
    p->source = arena_str(&p->arena, source);
    p->n_uses = env->n_vars;
    p->uses = ARENA_ARRAY(&p->arena, bool, env->n_vars);
    struct cel_report report = {.arena = a, .source = arena_str(a, source)};
    struct cel_maker m = {.arena = &p->arena, .report = &report, .env = env};
    p->root = cel_parse(&m, p->source);
    bool ok = p->root && cel_check(&m, p);
    if (ok)
        cel_estimate_program(p);
    if (!ok || cel_plan(&m, p) < 0) {
        issues_text(&report, ret_issues);
        cel_program_unref(p);
        return -EINVAL;
    }
    *ret = p;
    return 0;
}

struct cel_program *cel_program_ref(struct cel_program *p)
{
    __atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
    return p;
}

struct cel_program *cel_program_unref(struct cel_program *p)
{
    if (p && __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        for (unsigned i = 0; i < p->n_regexes; i++)
            cel_regex_free(p->regexes[i]);
        free(p->regexes);
        cel_env_unref(p->env);
        arena_done(&p->arena);
        free(p);
    }
    return NULL;
}

const struct cel_type *cel_program_type(const struct cel_program *p)
{
    return p->type;
}

struct str cel_program_source(const struct cel_program *p)
{
    return p->source;
}

bool cel_program_uses(const struct cel_program *p, unsigned variable)
{
    return variable < p->n_uses && p->uses[variable];
}

static bool is_variable(const struct cel_node *x, const char *name)
{
    return x && x->kind == X_IDENT && !(x->flags & X_LOCAL) && str_is(x->name, name);
}

static bool selects(const struct cel_node *x, const char *variable, const char *field)
{
    if (!x)
        return false;
    if (x->kind == X_SELECT && is_variable(x->target, variable) && str_is(x->name, field))
        return true;
    if (x->kind == X_CALL && x->op == OP_OPT_SELECT && is_variable(x->args[0], variable) && str_is(cel_str(x->args[1]->literal), field))
        return true;
    if (selects(x->target, variable, field))
        return true;
    size_t n = x->kind == X_FOLD ? FOLD_RESULT + 1 : x->kind == X_MAP ? 2 * (size_t)x->n : x->args ? x->n : 0;
    for (size_t i = 0; i < n; i++)
        if (selects(x->args[i], variable, field))
            return true;
    return false;
}

bool cel_program_selects(const struct cel_program *p, const char *variable, const char *field)
{
    return selects(p->root, variable, field);
}

size_t cel_program_bytes(const struct cel_program *p)
{
    return sizeof(*p) + p->arena.total;
}
