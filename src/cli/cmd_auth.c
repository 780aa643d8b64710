/* SPDX-License-Identifier: Apache-2.0 */
/* auth can-i and whoami: questions to the server about the caller. */
#include "cli/commands.h"
#include "cli/printer.h"
#include "cli/request.h"
#include "cli/rules.h"

#include "names.h"
#include "resources.h"
#include "wire/json.h"

#include <ctype.h>

/* ---- can-i ------------------------------------------------------------------------------------------------------------- */

struct question {
    struct cli *c;
    const char *sub;
    bool all_namespaces, quiet, list, no_headers;
    struct str verb, url, group, plural, name;
};

static bool is_among(struct str s, const char *const *words)
{
    for (; *words; words++)
        if (str_is(s, *words))
            return true;
    return false;
}

static struct str lower(struct cli *c, struct str s)
{
    char *text = arena_cstr(&c->a, s);
    for (char *p = text; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return str_of(text);
}

static void warn_of_scope(struct question *q, const struct kind *k)
{
    struct cli *c = q->c;
    if (k && k->group.n && !k->namespaced)
        cli_warn(c, cli_printf(c, "resource '" STR_FMT "' is not namespace scoped in group '" STR_FMT "'", STR_ARG(k->plural),
                               STR_ARG(k->group)));
    else if (k && !k->namespaced)
        cli_warn(c, cli_printf(c, "resource '" STR_FMT "' is not namespace scoped", STR_ARG(k->plural)));
}

/* "pods", "deployments.apps/web", "/healthz". What the server does not know is asked for all the same. */
static int parse_target(struct question *q, struct str text)
{
    static const char *const verbs[] = {"get",   "list",  "watch",       "create", "update",  "patch", "delete",   "deletecollection",
                                        "use",   "bind",  "impersonate", "*",      "approve", "sign",  "escalate", "attest", NULL};
    static const char *const url_verbs[] = {"get", "put", "post", "head", "options", "delete", "patch", "*", NULL};
    static const char *const no_kinds[] = {"users", "groups", NULL};
    struct cli *c = q->c;
    struct str word, base, group;
    if (text.n && text.p[0] == '/') {
        q->url = text;
        if (q->sub && q->sub[0])
            return cli_fail(c, "--subresource can not be used with NonResourceURL");
        if (!is_among(q->verb, url_verbs))
            cli_warn(c, cli_printf(c, "verb '" STR_FMT "' is not a known verb", STR_ARG(q->verb)));
        return 0;
    }
    str_cut(text, '/', &word, &q->name);
    q->plural = word;
    const struct kind *k = str_is(word, "*") ? NULL : kind_by_name(c, lower(c, word));
    if (k) {
        q->plural = k->plural;
        q->group = k->group;
    } else if (!str_is(word, "*") && !is_among(word, no_kinds)) {
        str_cut(lower(c, word), '.', &base, &group);
        cli_warn(c, group.n ? cli_printf(c, "the server doesn't have a resource type '" STR_FMT "' in group '" STR_FMT "'", STR_ARG(base),
                                         STR_ARG(group))
                            : cli_printf(c, "the server doesn't have a resource type '" STR_FMT "'", STR_ARG(base)));
    }
    if (q->all_namespaces)
        return 0;
    warn_of_scope(q, k);
    if (!is_among(q->verb, verbs))
        cli_warn(c, cli_printf(c, "verb '" STR_FMT "' is not a known verb", STR_ARG(q->verb)));
    return 0;
}

static void put_some(struct cli *c, struct val *map, const char *key, struct str value)
{
    if (value.n)
        val_put_str(&c->a, map, str_of(key), value);
}

/* Posts an object of authorization.k8s.io or authentication.k8s.io with this spec. 0 or 1. */
static int ask(struct cli *c, unsigned res, struct val *spec, struct val **ret)
{
    struct status s;
    struct val *v = val_new(&c->a, VAL_MAP);
    const struct kind *k = kind_at(c, res);
    val_put_str(&c->a, v, STR("apiVersion"), k->api_version);
    val_put_str(&c->a, v, STR("kind"), k->kind);
    if (spec)
        val_put(&c->a, v, STR("spec"), *spec);
    if (request_create(c, k, STR(""), STR_NULL, NULL, STR_NULL, json_text(c, NULL, v), ret, &s))
        return cli_refused(c, &s);
    return 0;
}

static int answer(struct question *q)
{
    struct cli *c = q->c;
    struct val *spec = val_new(&c->a, VAL_MAP), *what = val_new(&c->a, VAL_MAP), *review;
    put_some(c, what, "verb", q->verb);
    if (q->url.n) {
        put_some(c, what, "path", q->url);
    } else {
        put_some(c, what, "namespace", q->all_namespaces ? STR_NULL : c->ns);
        put_some(c, what, "group", q->group);
        put_some(c, what, "resource", q->plural);
        put_some(c, what, "subresource", str_of(q->sub));
        put_some(c, what, "name", q->name);
    }
    val_put(&c->a, spec, q->url.n ? STR("nonResourceAttributes") : STR("resourceAttributes"), *what);
    int r = ask(c, RES_SELFSUBJECTACCESSREVIEWS, spec, &review);
    if (r)
        return r;
    const struct val *status = val_get(review, N_status);
    bool allowed = val_bool(val_get(status, N_allowed), false);
    struct str reason = val_getstr(status, N_reason), error = val_getstr(status, N_evaluationError);
    if (!q->quiet && allowed)
        cli_print(c, "yes\n");
    else if (!q->quiet)
        cli_print(c, "no%s" STR_FMT "%s" STR_FMT "\n", reason.n ? " - " : "", STR_ARG(reason), error.n ? " - " : "", STR_ARG(error));
    return !allowed;
}

static int list_rules(struct question *q)
{
    struct cli *c = q->c;
    struct rule_lines l = {.c = c};
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct val *spec = val_new(&c->a, VAL_MAP), *review;
    put_some(c, spec, "namespace", c->ns);
    int r = ask(c, RES_SELFSUBJECTRULESREVIEWS, spec, &review);
    if (r)
        return r;
    const struct val *status = val_get(review, N_status);
    if (val_bool(val_get(status, N_incomplete), false))
        cli_warn(c, cli_printf(c, "the list may be incomplete: " STR_FMT, STR_ARG(val_getstr(status, N_evaluationError))));
    VAL_EACH(val_get(status, N_resourceRules), rule)
    {
        rules_add(&l, rule);
    }
    VAL_EACH(val_get(status, N_nonResourceRules), rule)
    {
        rules_add(&l, rule);
    }
    rules_sort(&l);
    if (!q->no_headers)
        buf_puts(&b, "Resources\tNon-Resource URLs\tResource Names\tVerbs\n");
    for (size_t i = 0; i < l.n; i++)
        buf_printf(&b, STR_FMT "\t[" STR_FMT "]\t[" STR_FMT "]\t[" STR_FMT "]\n", STR_ARG(l.items[i].what), STR_ARG(l.items[i].urls),
                   STR_ARG(l.items[i].names), STR_ARG(buf_str(&l.items[i].verbs)));
    rules_done(&l);
    tab_align(&c->out, buf_str(&b), TAB_TABLE, NULL);
    return 0;
}

static int cmd_can_i(struct cli *c, int argc, char **argv)
{
    struct question q = {.c = c};
    struct flag flags[] = {
        {"all-namespaces", 'A', FLAG_BOOL, &q.all_namespaces, "In all namespaces"},
        {"list", 0, FLAG_BOOL, &q.list, "List everything that is allowed"},
        {"no-headers", 0, FLAG_BOOL, &q.no_headers, "No line of column names"},
        {"quiet", 'q', FLAG_BOOL, &q.quiet, "Only the exit code"},
        {"subresource", 0, FLAG_STRING, &q.sub, "Part of the object, as in pods/log"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = cli_client(c);
    if (r)
        return r;
    if (q.list) {
        if (argc > 1)
            return cli_fail(c, "list option must be specified with no arguments");
        if (q.quiet || q.all_namespaces || (q.sub && q.sub[0]))
            return cli_fail(c, "list option can't be specified with neither quiet, all-namespaces nor subresource options");
        return list_rules(&q);
    }
    if (argc != 3)
        return cli_fail(c, "you must specify two arguments: verb resource or verb resource/resourceName.\nSee 'kubectl auth can-i "
                           "-h' for help and examples.");
    q.verb = str_of(argv[1]);
    r = parse_target(&q, str_of(argv[2]));
    if (r == 0 && q.no_headers)
        r = cli_fail(c, "--no-headers cannot be set without --list specified");
    return r ? r : answer(&q);
}

/* ---- whoami ------------------------------------------------------------------------------------------------------------- */

static void put_list(struct buf *b, const struct val *list)
{
    bool first = true;
    buf_putc(b, '[');
    VAL_EACH(list, v)
    {
        buf_printf(b, "%s" STR_FMT, first ? "" : " ", STR_ARG(val_str(v)));
        first = false;
    }
    buf_puts(b, "]\n");
}

static void put_extra(struct cli *c, struct buf *b, const struct val *extra)
{
    size_t n = 0;
    struct str *keys = ARENA_ARRAY(&c->a, struct str, val_len(extra) + 1);
    VAL_EACH_ENTRY(extra, k, v)
    {
        (void)v;
        keys[n++] = val_str(k);
    }
    str_sort(keys, n);
    for (size_t i = 0; i < n; i++) {
        buf_printf(b, "Extra: " STR_FMT "\t", STR_ARG(keys[i]));
        put_list(b, val_key(extra, keys[i]));
    }
}

/* Members in the order of the type, as upstream has them. */
static int put_typed(struct cli *c, struct printer *p, const struct type *t, const struct val *v)
{
    struct val *typed;
    if (json_decode(&c->a, t, json_text(c, NULL, v), 0, NULL, &typed, NULL) < 0)
        return printer_put(c, p, NULL, v, "");
    return printer_put(c, p, t, typed, "");
}

static int cmd_whoami(struct cli *c, int argc, char **argv)
{
    struct print_flags print = PRINT_FLAGS_INIT;
    struct printer p;
    struct val *review;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct flag flags[] = {PRINT_FLAGS(&print), NO_FLAGS};
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = printer_make(c, &print, false, &p);
    if (r == 0)
        r = ask(c, RES_SELFSUBJECTREVIEWS, NULL, &review);
    if (r)
        return r;
    if (p.kind != PRINT_NONE)
        return put_typed(c, &p, kind_at(c, RES_SELFSUBJECTREVIEWS)->type, review);
    const struct val *user = val_at(review, N_status, N_userInfo);
    buf_puts(&b, "ATTRIBUTE\tVALUE\n");
    if (val_getstr(user, N_username).n)
        buf_printf(&b, "Username\t" STR_FMT "\n", STR_ARG(val_getstr(user, N_username)));
    if (val_getstr(user, N_uid).n)
        buf_printf(&b, "UID\t" STR_FMT "\n", STR_ARG(val_getstr(user, N_uid)));
    if (val_len(val_get(user, N_groups))) {
        buf_puts(&b, "Groups\t");
        put_list(&b, val_get(user, N_groups));
    }
    put_extra(c, &b, val_get(user, N_extra));
    tab_align(&c->out, buf_str(&b), TAB_TABLE, NULL);
    return 0;
}

const struct command auth_commands[] = {
    {"can-i", NULL, "VERB [TYPE | TYPE/NAME | URL] [flags]", "Check whether an action is allowed",
     "Examples:\n  kubectl auth can-i create pods --all-namespaces\n  kubectl auth can-i list deployments.apps\n"
     "  kubectl auth can-i get pods --subresource=log\n  kubectl auth can-i --list --namespace=foo\n",
     cmd_can_i, NULL},
    {"whoami", NULL, "[flags]", "Tell who the server takes the caller for", NULL, cmd_whoami, NULL},
    {0},
};
