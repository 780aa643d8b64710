/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/jsonpath.h"
#include "cli/poll.h"
#include "cli/printer.h"

#include "base/fiber.h"
#include "base/os.h"
#include "names.h"
#include "type/meta.h"

#include <ctype.h>
#include <strings.h>

enum goal_kind { GOAL_DELETE, GOAL_CREATE, GOAL_CONDITION, GOAL_JSONPATH };

struct goal {
    enum goal_kind kind;
    struct str name, value; /* of a condition; value of a JSONPath, empty: any */
    const struct jsonpath *path;
};

struct wait {
    struct cli *c;
    struct printer printer;
    struct query q;
    struct goal *goals;
    size_t n_goals;
    struct mono deadline;
    int64_t timeout;
    /* while one object is waited for */
    const struct goal *goal;
    struct str uid; /* of what should be deleted */
    const struct val *last;
    bool seen;
};

enum { REACHED = 1, VANISHED = 2 };

/* ---- goals --------------------------------------------------------------------------------------------------------- */

/* "path=value", where "==" belongs to the path. */
static bool split_path(struct str text, struct str *ret_path, struct str *ret_value)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] != '=')
            continue;
        if (i + 1 < text.n && text.p[i + 1] == '=') {
            i++;
            continue;
        }
        *ret_path = str_slice(text, 0, i);
        *ret_value = str_from(text, i + 1);
        return true;
    }
    *ret_path = text;
    *ret_value = STR_NULL;
    return false;
}

static struct str unquoted(struct str s)
{
    while (s.n && (s.p[0] == '\'' || s.p[0] == '"'))
        s = str_from(s, 1);
    while (s.n && (s.p[s.n - 1] == '\'' || s.p[s.n - 1] == '"'))
        s.n--;
    return s;
}

static int parse_path(struct cli *c, struct str text, struct goal *g)
{
    struct str path, value, relaxed;
    struct err e = {0};
    bool has_value = split_path(text, &path, &value);
    g->kind = GOAL_JSONPATH;
    g->value = unquoted(value);
    if (!path.n)
        return cli_fail(c, "jsonpath expression cannot be empty");
    if (has_value && !g->value.n)
        return cli_fail(c, "jsonpath wait has to have a value after equal sign, like --for=jsonpath='{.status.readyReplicas}'=3");
    if (jsonpath_relaxed(&c->a, path, &relaxed, &e) < 0 || jsonpath_parse(&c->a, relaxed, &g->path, &e) < 0)
        return cli_fail(c, "%s", e.text);
    return 0;
}

static int parse_goal(struct cli *c, const char *text, struct goal *g)
{
    struct str s = str_of(text), value;
    if (!strcasecmp(text, "delete") || !strcasecmp(text, "create")) {
        g->kind = tolower((unsigned char)text[0]) == 'd' ? GOAL_DELETE : GOAL_CREATE;
        return 0;
    }
    if (str_starts(s, STR("jsonpath=")))
        return parse_path(c, str_from(s, 9), g);
    if (!str_starts(s, STR("condition=")))
        return cli_fail(c, "unrecognized condition: \"%s\"", text);
    g->kind = GOAL_CONDITION;
    g->value = str_cut(str_from(s, 10), '=', &g->name, &value) ? value : STR("true");
    return 0;
}

/* ---- looking ---------------------------------------------------------------------------------------------------------- */

static bool same_folded(struct str a, struct str b)
{
    return a.n == b.n && strncasecmp(a.p ? a.p : "", b.p ? b.p : "", a.n) == 0;
}

/* What a controller has not yet looked at says nothing about the present generation. */
static bool observed(const struct val *v, const struct val *condition)
{
    const struct val *generation = val_at(v, N_metadata, N_generation), *seen = val_get(condition, N_observedGeneration);
    if (!seen)
        seen = val_at(v, N_status, N_observedGeneration);
    return !generation || !seen || val_int(seen, 0) >= val_int(generation, 0);
}

static bool has_condition(const struct val *v, const struct goal *g)
{
    VAL_EACH(val_at(v, N_status, N_conditions), k)
    {
        if (same_folded(val_getstr(k, N_type), g->name))
            return observed(v, k) && same_folded(val_getstr(k, N_status), g->value);
    }
    return false;
}

static int has_value(struct wait *w, const struct val *v, const struct goal *g)
{
    struct jsonpath_values found;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct err e = {0};
    if (jsonpath_find(g->path, &w->c->a, v, true, &found, &e) < 0)
        return cli_fail(w->c, "%s", e.text), -1;
    if (!found.n)
        return 0;
    if (found.n > 1)
        return cli_fail(w->c, "given jsonpath expression matches more than one value"), -1;
    if (!g->value.n)
        return REACHED;
    if (val_is(found.items[0], VAL_MAP) || val_is(found.items[0], VAL_LIST))
        return cli_fail(w->c, "jsonpath leads to a nested object or list which is not supported"), -1;
    text_of_value(&b, found.items[0]);
    return str_eq(buf_str(&b), g->value);
}

static int look(void *arg, const struct val *v)
{
    struct wait *w = arg;
    if (v)
        w->last = v;
    switch (w->goal->kind) {
    case GOAL_DELETE:
        return !v || (w->uid.n && !str_eq(obj_uid(v), w->uid)) ? REACHED : 0;
    case GOAL_CREATE:
        return v ? REACHED : 0;
    case GOAL_CONDITION:
    case GOAL_JSONPATH:
        break;
    }
    if (!v)
        return VANISHED;
    return w->goal->kind == GOAL_CONDITION ? has_condition(v, w->goal) : has_value(w, v, w->goal);
}

static int wait_one(struct wait *w, const struct info *i)
{
    struct cli *c = w->c;
    for (size_t k = 0; k < w->n_goals; k++) {
        w->goal = &w->goals[k];
        w->uid = obj_uid(i->v);
        w->last = i->v;
        int r = poll_object(c, i, w->deadline, look, w);
        if (r == POLL_TIMEOUT && w->timeout == 0)
            return cli_fail(c, "condition not met for " STR_FMT "/" STR_FMT, STR_ARG(i->kind->plural), STR_ARG(i->name));
        if (r == POLL_TIMEOUT)
            return cli_fail(c, "timed out waiting for the condition on " STR_FMT "/" STR_FMT, STR_ARG(i->kind->plural),
                            STR_ARG(i->name));
        if (r == VANISHED)
            return cli_note(c, "Error from server (NotFound): " STR_FMT " \"" STR_FMT "\" not found", STR_ARG(i->kind->qualified),
                            STR_ARG(i->name)), 1;
        if (r < 0)
            return 1;
        r = printer_put(c, &w->printer, NULL, w->last, "condition met");
        if (r)
            return r;
        cli_flush(c);
    }
    return 0;
}

/* ---- the command --------------------------------------------------------------------------------------------------------- */

static bool wants(const struct wait *w, enum goal_kind kind)
{
    for (size_t i = 0; i < w->n_goals; i++)
        if (w->goals[i].kind == kind)
            return true;
    return false;
}

/* With --for=create the objects need not be there yet. */
static int await_creation(struct wait *w, struct selection *sel)
{
    struct query q = w->q;
    q.ignore_missing = true;
    for (;;) {
        struct selection names;
        int r = select_names(w->c, &q, &names);
        if (r == 0)
            r = select_objects(w->c, &q, sel);
        if (r || sel->code)
            return 1;
        if (sel->n && (sel->lists || sel->n == names.n))
            return 0;
        if (os_mono().ns >= w->deadline.ns)
            return cli_fail(w->c, "timed out waiting for the condition");
        fiber_sleep(MILLISECONDS(500));
    }
}

static int parse_goals(struct wait *w, const struct flag_list *texts)
{
    w->goals = ARENA_ARRAY(&w->c->a, struct goal, texts->n + 1);
    if (!texts->n)
        return cli_fail(w->c, "unrecognized condition: []");
    for (size_t i = 0; i < texts->n; i++) {
        int r = parse_goal(w->c, texts->items[i], &w->goals[w->n_goals++]);
        if (r)
            return r;
    }
    return 0;
}

int cmd_wait(struct cli *c, int argc, char **argv)
{
    struct wait w = {.c = c, .timeout = SECONDS(30)};
    struct print_flags print = PRINT_FLAGS_INIT;
    struct file_flags files = {0};
    struct flag_list goals = {0};
    struct selection sel;
    struct flag flags[] = {
        PRINT_FLAGS(&print),
        FILE_FLAGS(&files, "that name objects to wait for"),
        {"all", 0, FLAG_BOOL, &w.q.all, "All objects of the types"},
        {"all-namespaces", 'A', FLAG_BOOL, &w.q.all_namespaces, "In all namespaces"},
        {"field-selector", 0, FLAG_STRING, &w.q.fields, "Fields to select by"},
        {"for", 0, FLAG_ARRAY, &goals, "create, delete, condition=NAME[=VALUE] or jsonpath='{PATH}'[=VALUE]"},
        {"local", 0, FLAG_IGNORED_BOOL, NULL, NULL},
        {"selector", 'l', FLAG_STRING, &w.q.labels, "Labels to select by"},
        {"timeout", 0, FLAG_DURATION, &w.timeout, "How long to wait; 0: look once; negative: a week"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = printer_make(c, &print, false, &w.printer);
    if (r == 0)
        r = parse_goals(&w, &goals);
    if (r)
        return r;
    w.deadline = mono_add(os_mono(), w.timeout < 0 ? SECONDS(7 * 24 * 3600) : w.timeout);
    w.q.argc = argc;
    w.q.argv = argv;
    w.q.files = &files;
    w.q.fetch = w.q.latest = true;
    w.q.ignore_missing = wants(&w, GOAL_DELETE);
    r = wants(&w, GOAL_CREATE) ? await_creation(&w, &sel) : select_objects(c, &w.q, &sel);
    if (r)
        return r;
    for (size_t i = 0; i < sel.n; i++)
        sel.code |= wait_one(&w, &sel.items[i]);
    if (!sel.n && !sel.code && !wants(&w, GOAL_DELETE))
        return cli_fail(c, "no matching resources found");
    return sel.code;
}
