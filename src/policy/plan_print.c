/* SPDX-License-Identifier: Apache-2.0 */
/* The plan for people and tests. */
#include "policy/plan-internal.h"

#include <stdio.h>

struct lines {
    struct str *list;
    size_t n, cap;
    struct arena arena;
};

static void add_line(struct lines *l, struct str s)
{
    if (l->n == l->cap)
        l->list = xrealloc(l->list, (l->cap = MAX(l->cap * 2, (size_t)64)) * sizeof(*l->list));
    l->list[l->n++] = s;
}

static int compare_lines(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void print_set(struct lines *l, const struct kset *s, struct str name)
{
    MAP_EACH(&s->elems, it)
    {
        const struct elem *e = it->value;
        if (e->wanted && !s->is_map)
            add_line(l, arena_printf(&l->arena, STR_FMT " " STR_FMT, STR_ARG(name), STR_ARG(e->key)));
    }
}

/* The policies that a pod of this node is under, by name. */
static void print_isolation(const struct plan *p, struct lines *l, const struct pod *pod)
{
    for (enum direction d = 0; d < DIRECTIONS; d++) {
        MAP_EACH(&pod->space->policies, it)
        {
            const struct policy *policy = it->value;
            char jump[40];
            snprintf(jump, sizeof(jump), "jump %s\n", policy->chains[d].name);
            if (policy->chains[d].name[0] && pod->stacks[d] && strstr(pod->stacks[d]->chain.body, jump))
                add_line(l, arena_printf(&l->arena, "pod " STR_FMT " %s " STR_FMT, STR_ARG(pod->key), d == INGRESS ? "in" : "out",
                                         STR_ARG(policy->object->name)));
        }
        for (size_t i = 0; i < pod->n_addresses; i++) {
            const struct elem *e = map_get(&p->maps[d][pod->addresses[i]->family].elems, pod->addresses[i]->text);
            if (e && e->wanted && pod->addresses[i]->owner == pod)
                add_line(l, arena_printf(&l->arena, "map %s " STR_FMT " " STR_FMT " %s", d == INGRESS ? "in" : "out",
                                         STR_ARG(pod->addresses[i]->text), STR_ARG(pod->key),
                                         pod->stacks[d] && e->to == pod->stacks[d]->number ? "" : "ASTRAY"));
        }
    }
}

static void print_policy(const struct plan *p, struct lines *l, const struct policy *policy)
{
    for (enum direction d = 0; d < DIRECTIONS; d++) {
        struct buf b CLEANUP_BUF = BUF_INIT;
        if (!policy->chains[d].name[0])
            continue;
        policy_rules(p, &policy->spec, d, true, &b);
        add_line(l, arena_printf(&l->arena, "chain " STR_FMT "/" STR_FMT " %s:\n" STR_FMT, STR_ARG(policy->object->namespace_),
                                 STR_ARG(policy->object->name), d == INGRESS ? "in" : "out", STR_ARG(buf_str(&b))));
    }
}

void plan_print(const struct plan *p, struct buf *b)
{
    struct lines l = {0};
    for (int f = 0; f < FAMILIES; f++) {
        print_set(&l, &p->known[f], str_of(p->known[f].name));
        print_set(&l, &p->self[f], str_of(p->self[f].name));
        MAP_EACH(&p->members, it)
        {
            const struct members *m = it->value;
            add_line(&l, arena_printf(&l.arena, "set <" STR_FMT ">-%d", STR_ARG(m->id), f == FAMILY_4 ? 4 : 6));
            print_set(&l, &m->sets[f], arena_printf(&l.arena, "<" STR_FMT ">", STR_ARG(m->id)));
        }
    }
    MAP_EACH(&p->pods, it)
    {
        print_isolation(p, &l, it->value);
    }
    MAP_EACH(&p->spaces, s)
    {
        MAP_EACH(&((struct space *)s->value)->policies, it)
        {
            print_policy(p, &l, it->value);
        }
    }
    if (l.n)
        qsort(l.list, l.n, sizeof(*l.list), compare_lines);
    for (size_t i = 0; i < l.n; i++)
        buf_printf(b, STR_FMT "\n", STR_ARG(l.list[i]));
    buf_printf(b, "guard:\n%s", p->guard.body);
    free(l.list);
    arena_done(&l.arena);
}
