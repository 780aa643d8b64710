/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/write.h"

#include "names.h"
#include "type/meta.h"
#include "wire/json.h"

static int parse_validate(struct cli *c, struct write *w)
{
    static const struct {
        const char *given, *sent;
    } words[] = {{"strict", "Strict"}, {"true", "Strict"}, {"warn", "Warn"}, {"ignore", "Ignore"}, {"false", "Ignore"}};
    const char *given = w->validate ? w->validate : "strict";
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (!strcmp(given, words[i].given)) {
            w->validate = words[i].sent;
            return 0;
        }
    }
    return cli_fail(c, "invalid - validate option \"%s\"; must be one of: strict (or true), warn, ignore (or false)", given);
}

int write_prepare(struct cli *c, struct write *w, const char *manager)
{
    if (!w->manager || !w->manager[0])
        w->manager = manager;
    int r = dry_run_parse(c, w->dry, &w->dry_run);
    if (r == 0)
        r = parse_validate(c, w);
    if (r == 0)
        r = printer_make(c, &w->print, false, &w->printer);
    return r ? r : cli_namespace(c);
}

struct str write_query(struct cli *c, const struct write *w)
{
    return query_write(c, w->manager, w->dry_run == DRY_SERVER, w->validate);
}

int write_print(struct cli *c, struct write *w, const struct type *t, const struct val *v, const char *did)
{
    return printer_put(c, &w->printer, t, v, dry_run_word(c, did, w->dry_run));
}

int write_refused(struct cli *c, struct status *s, const char *verb, const char *source)
{
    if (source && s->code > 0)
        s->message = cli_printf(c, "error when %s \"%s\": " STR_FMT, verb, source, STR_ARG(s->message));
    return cli_refused(c, s);
}

int write_one_name(struct cli *c, int argc, char **argv, struct str *ret)
{
    if (argc != 2)
        return cli_usage(c, "exactly one NAME is required, got %d", argc - 1);
    *ret = str_of(argv[1]);
    return 0;
}

int write_object_create(struct cli *c, struct write *w, const struct kind *k, const struct type *t, struct val *v, bool save,
                 const char *did)
{
    struct status s;
    struct val *answer = NULL, *typed = v;
    struct str body = json_text(c, t, v);
    if (save) {
        struct val *annotations = val_sub_map(&c->a, val_sub_obj(&c->a, v, N_metadata), N_annotations);
        val_put_str(&c->a, annotations, LAST_APPLIED, cli_printf(c, STR_FMT "\n", STR_ARG(body)));
        body = json_text(c, t, v);
    }
    if (w->dry_run == DRY_CLIENT)
        return write_print(c, w, t, typed, did);
    struct str ns = obj_namespace(v);
    if (request_create(c, k, ns.n ? ns : c->ns, STR_NULL, NULL, write_query(c, w), body, &answer, &s))
        return w->failed && s.code > 0 ? cli_fail(c, "%s " STR_FMT, w->failed, STR_ARG(s.message)) : cli_refused(c, &s);
    if (w->printer.kind != PRINT_NONE && json_decode(&c->a, t, json_text(c, NULL, answer), 0, NULL, &typed, NULL) == 0)
        return write_print(c, w, t, typed, did);
    return write_print(c, w, NULL, answer, did);
}

/* ---- the last-applied annotation --------------------------------------------------------------------------- */

static struct val *map_in(struct cli *c, struct val *v, struct str key)
{
    struct val *m = (struct val *)val_key(v, key);
    return val_is(m, VAL_MAP) ? m : val_put(&c->a, v, key, *val_new(&c->a, VAL_MAP));
}

struct str applied_set(struct cli *c, struct val *v)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct val *annotations = map_in(c, map_in(c, v, STR("metadata")), STR("annotations"));
    val_unput(annotations, LAST_APPLIED);
    json_encode(&b, NULL, v, JSON_SORTED);
    buf_putc(&b, '\n');
    struct str text = arena_str(&c->a, buf_str(&b));
    /* Writing may move the map: look it up anew. */
    annotations = map_in(c, map_in(c, v, STR("metadata")), STR("annotations"));
    val_put_str(&c->a, annotations, LAST_APPLIED, text);
    return text;
}

struct str applied_get(const struct val *v)
{
    const struct val *a = val_key(val_key(obj_meta(v), STR("annotations")), LAST_APPLIED);
    return val_is(a, VAL_STR) ? val_str(a) : STR_NULL;
}
