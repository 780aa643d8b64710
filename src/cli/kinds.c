/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/kinds.h"

#include "cli/discovery.h"
#include "names.h"

#include <ctype.h>

/* ---- kinds that are compiled in ---------------------------------------------------------------------------- */

void kind_finish(struct cli *c, struct kind *k)
{
    k->api_version = k->group.n ? cli_printf(c, STR_FMT "/" STR_FMT, STR_ARG(k->group), STR_ARG(k->version)) : k->version;
    k->qualified = k->group.n ? cli_printf(c, STR_FMT "." STR_FMT, STR_ARG(k->plural), STR_ARG(k->group)) : k->plural;
}

const struct kind *kind_at(struct cli *c, unsigned res)
{
    const struct resource *r = &resources[res];
    struct str key = cli_printf(c, "%s.%s.%s", r->name, r->version, r->group);
    struct kind *k = map_get(&c->kinds, key);
    if (k)
        return k;
    k = ARENA_NEW(&c->a, struct kind);
    *k = (struct kind){.group = str_of(r->group),
                       .version = str_of(r->version),
                       .plural = str_of(r->name),
                       .singular = str_of(r->singular),
                       .kind = str_of(r->kind),
                       .short_names = r->short_names,
                       .categories = r->categories,
                       .namespaced = r->namespaced,
                       .res = r,
                       .type = r->type};
    kind_finish(c, k);
    map_put(&c->kinds, key, k);
    return k;
}

/* ---- by name ------------------------------------------------------------------------------------------------- */

/* What a name asks for; group.p NULL: any; version.p NULL: any. */
struct wanted {
    struct str word, group, version;
};

static bool in_list(const char *const *list, struct str s)
{
    for (; list && *list; list++)
        if (str_is(s, *list))
            return true;
    return false;
}

static bool group_fits(struct str have, struct str want, bool exact)
{
    return !want.p || (exact ? str_eq(have, want) : str_starts(have, want));
}

/* How well a name fits: 0 not at all. Plural and singular go before short names, as in upstream's mapper. */
static int fits(struct str plural, struct str singular, const char *const *shorts, const char *kind, struct str word)
{
    if (str_eq(plural, word) || str_eq(singular, word) || (kind && str_is(word, kind)))
        return 2;
    return in_list(shorts, word) ? 1 : 0;
}

static const struct kind *find_compiled(struct cli *c, const struct wanted *w, bool exact)
{
    for (int need = 2; need >= 1; need--) {
        for (unsigned g = 0; g < n_group_versions; g++) {
            const struct group_version *gv = &group_versions[g];
            if (!group_fits(str_of(gv->group), w->group, exact) || (w->version.p && !str_is(w->version, gv->version)))
                continue;
            for (unsigned i = 1; i < n_resources; i++) {
                const struct resource *r = &resources[i];
                if (!strcmp(r->group, gv->group) && !strcmp(r->version, gv->version) &&
                    fits(str_of(r->name), str_of(r->singular), r->short_names, NULL, w->word) >= need)
                    return kind_at(c, i);
            }
        }
    }
    return NULL;
}

static const struct kind *find_discovered(struct cli *c, const struct wanted *w, bool exact)
{
    const struct discovery *d = discover(c);
    for (int need = 2; need >= 1; need--) {
        for (size_t i = 0; i < d->n; i++) {
            const struct kind *k = d->kinds[i];
            if (group_fits(k->group, w->group, exact) && (!w->version.p || str_eq(w->version, k->version)) &&
                fits(k->plural, k->singular, k->short_names, NULL, w->word) >= need)
                return k;
        }
    }
    return NULL;
}

static const struct kind *find_exact_then_prefix(struct cli *c, const struct wanted *w,
                                                 const struct kind *(*find)(struct cli *, const struct wanted *, bool))
{
    const struct kind *k = find(c, w, true);
    return k || !w->group.p || !w->group.n ? k : find(c, w, false);
}

static struct str lower(struct cli *c, struct str s)
{
    char *p = arena_bytes(&c->a, s.n + 1);
    for (size_t i = 0; i < s.n; i++)
        p[i] = (char)tolower((unsigned char)s.p[i]);
    p[s.n] = 0;
    return str_n(p, s.n);
}

/* The readings of a name, likeliest first: word.version.group, word.group, word. Returns how many. */
static unsigned readings(struct str name, struct wanted ret[static 3])
{
    struct str word, rest, version, group;
    unsigned n = 0;
    if (!str_cut(name, '.', &word, &rest)) {
        ret[n++] = (struct wanted){.word = name};
        return n;
    }
    bool has_group = str_cut(rest, '.', &version, &group);
    if (has_group || (version.n > 1 && version.p[0] == 'v' && isdigit((unsigned char)version.p[1])))
        ret[n++] = (struct wanted){.word = word, .version = version, .group = has_group ? group : STR("")};
    ret[n++] = (struct wanted){.word = word, .group = rest};
    return n;
}

const struct kind *kind_by_name(struct cli *c, struct str name)
{
    struct wanted w[3];
    name = lower(c, name);
    unsigned n = readings(name, w);
    for (unsigned i = 0; i < n; i++) {
        const struct kind *k = find_exact_then_prefix(c, &w[i], find_compiled);
        if (k)
            return k;
    }
    for (unsigned i = 0; i < n; i++) {
        const struct kind *k = find_exact_then_prefix(c, &w[i], find_discovered);
        if (k)
            return k;
    }
    return NULL;
}

int kind_wanted(struct cli *c, struct str name, const struct kind **ret)
{
    const struct kind *k = kind_by_name(c, name);
    if (k) {
        *ret = k;
        return 0;
    }
    if (discover(c)->code)
        return cli_refused(c, &discover(c)->refused);
    struct str word, group;
    bool has_group = str_cut(name, '.', &word, &group);
    if (has_group)
        return cli_fail(c, "the server doesn't have a resource type \"" STR_FMT "\" in group \"" STR_FMT "\"", STR_ARG(word),
                        STR_ARG(group));
    return cli_fail(c, "the server doesn't have a resource type \"" STR_FMT "\"", STR_ARG(name));
}

/* ---- by kind ------------------------------------------------------------------------------------------------------ */

const struct kind *kind_of(struct cli *c, struct str api_version, struct str kind)
{
    struct str group = STR(""), version = api_version, head, tail;
    if (str_cut(api_version, '/', &head, &tail))
        group = head, version = tail;
    const struct resource *r = resource_find_kind(group, version, kind);
    if (r)
        return kind_at(c, r->index);
    const struct discovery *d = discover(c);
    for (size_t i = 0; i < d->n; i++) {
        const struct kind *k = d->kinds[i];
        if (str_eq(k->kind, kind) && str_eq(k->group, group) && str_eq(k->version, version))
            return k;
    }
    return NULL;
}

const struct kind *kind_of_object(struct cli *c, const struct val *v)
{
    return kind_of(c, val_getstr(v, N_apiVersion), val_getstr(v, N_kind));
}

/* ---- categories --------------------------------------------------------------------------------------------------- */

size_t kinds_of_category(struct cli *c, struct str category, const struct kind ***ret)
{
    const struct discovery *d = discover(c);
    const struct kind **list = ARENA_ARRAY(&c->a, const struct kind *, d->n + 1);
    size_t n = 0;
    for (size_t i = 0; i < d->n; i++) {
        bool seen = false;
        for (size_t k = 0; k < n; k++)
            seen |= str_eq(list[k]->group, d->kinds[i]->group) && str_eq(list[k]->plural, d->kinds[i]->plural);
        if (!seen && in_list(d->kinds[i]->categories, category))
            list[n++] = d->kinds[i];
    }
    *ret = list;
    return n;
}

/* ---- labels ------------------------------------------------------------------------------------------------------- */

struct str kind_label(struct cli *c, const struct kind *k)
{
    struct str kind = lower(c, k->kind);
    return k->group.n ? cli_printf(c, STR_FMT "." STR_FMT, STR_ARG(kind), STR_ARG(k->group)) : kind;
}

struct str object_label(struct cli *c, const struct val *v)
{
    struct str kind = lower(c, val_getstr(v, N_kind)), group, version;
    if (!str_cut(val_getstr(v, N_apiVersion), '/', &group, &version))
        return kind;
    return cli_printf(c, STR_FMT "." STR_FMT, STR_ARG(kind), STR_ARG(group));
}
