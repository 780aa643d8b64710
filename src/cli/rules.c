/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/rules.h"

#include "names.h"
#include "wire/value.h"

static void add_rule(struct rule_lines *l, const struct rule_line *rule, struct str verb)
{
    struct rule_line *line = NULL;
    for (size_t i = 0; i < l->n && !line && !rule->urls.n; i++) /* rules of URLs stand each for itself */
        if (str_eq(l->items[i].what, rule->what) && !l->items[i].urls.n && str_eq(l->items[i].names, rule->names))
            line = &l->items[i];
    if (!line) {
        l->items = xrealloc(l->items, (l->n + 1) * sizeof(*l->items));
        line = &l->items[l->n++];
        *line = *rule;
    }
    struct str rest = buf_str(&line->verbs), have;
    while (line->verbs.n && str_next(&rest, ' ', &have))
        if (str_eq(have, verb))
            return;
    buf_printf(&line->verbs, "%s" STR_FMT, line->verbs.n ? " " : "", STR_ARG(verb));
}

static struct str resource_name(struct rule_lines *l, struct str resource, struct str group)
{
    struct str base, sub;
    bool has_sub = str_cut(resource, '/', &base, &sub);
    return cli_printf(l->c, STR_FMT "%s" STR_FMT "%s" STR_FMT, STR_ARG(base), group.n ? "." : "", STR_ARG(group),
                      has_sub ? "/" : "", STR_ARG(sub));
}

static const struct val *or_one_empty(struct rule_lines *l, const struct val *list)
{
    if (val_len(list))
        return list;
    struct val *one = val_new(&l->c->a, VAL_LIST);
    val_add_str(&l->c->a, one, STR(""));
    return one;
}

static void break_down(struct rule_lines *l, const struct val *rule, struct str verb)
{
    const struct val *names = or_one_empty(l, val_get(rule, N_resourceNames));
    VAL_EACH(val_get(rule, N_apiGroups), group)
    VAL_EACH(val_get(rule, N_resources), resource)
    VAL_EACH(names, name)
        add_rule(l, &(struct rule_line){.what = resource_name(l, val_str(resource), val_str(group)), .names = val_str(name),
                                        .group = val_str(group), .resource = val_str(resource)}, verb);
    VAL_EACH(val_get(rule, N_nonResourceURLs), url)
    {
        add_rule(l, &(struct rule_line){.urls = val_str(url)}, verb);
    }
}

void rules_add(struct rule_lines *l, const struct val *rule)
{
    VAL_EACH(val_get(rule, N_verbs), verb)
    {
        break_down(l, rule, val_str(verb));
    }
}

static int compare_rules(const void *a, const void *b)
{
    return str_cmp(((const struct rule_line *)a)->order, ((const struct rule_line *)b)->order);
}

void rules_sort(struct rule_lines *l)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct rule_line *r = &l->items[i];
        l->items[i].order = cli_printf(l->c, "[" STR_FMT "],APIGroups:[" STR_FMT "],Resources:[" STR_FMT "],ResourceNames:[" STR_FMT
                                             "],NonResourceURLs:[" STR_FMT "]", STR_ARG(buf_str(&r->verbs)), STR_ARG(r->group),
                                       STR_ARG(r->resource), STR_ARG(r->names), STR_ARG(r->urls));
    }
    if (l->n)
        qsort(l->items, l->n, sizeof(*l->items), compare_rules);
}

void rules_done(struct rule_lines *l)
{
    for (size_t i = 0; i < l->n; i++)
        buf_done(&l->items[i].verbs);
    free(l->items);
    l->items = NULL;
    l->n = 0;
}
