/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/plan-internal.h"

#include "resources.h"
#include "type/meta.h"

#include <stdio.h>

/* ---- addresses: each is one pod's --------------------------------------------------------------------- */

static struct str status_addresses(struct arena *a, const struct val *pod)
{
    const struct val *list = val_at(pod, N_status, N_podIPs);
    struct buf b CLEANUP_BUF = BUF_INIT;
    VAL_EACH(list, it)
    {
        buf_printf(&b, "%s" STR_FMT, b.n ? "," : "", STR_ARG(val_getstr(it, N_ip)));
    }
    return b.n ? arena_str(a, buf_str(&b)) : arena_str(a, val_str(val_at(pod, N_status, N_podIP)));
}

static bool is_over(const struct val *pod)
{
    struct str phase = val_str(val_at(pod, N_status, N_phase));
    return str_is(phase, "Succeeded") || str_is(phase, "Failed");
}

static bool is_local(const struct plan *p, const struct val *pod)
{
    return str_is(val_str(val_at(pod, N_spec, N_nodeName)), p->node_name);
}

/* Pods in the node's network are no peers and under no policy: their address is the node's. */
static struct str pod_addresses(struct arena *a, const struct pod *pod)
{
    const struct val *v = pod->object->val;
    if (val_bool(val_at(v, N_spec, N_hostNetwork), false) || is_over(v))
        return STR_NULL;
    struct str told = status_addresses(a, v);
    return told.n ? told : pod->placed;
}

/* Who comes later has it, unless it is on its way out. */
static bool has_more_right(const struct pod *x, const struct pod *y)
{
    bool x_goes = obj_deleting(x->object->val), y_goes = obj_deleting(y->object->val);
    if (x_goes != y_goes)
        return y_goes;
    int r = str_cmp(val_getstr(x->object->meta, N_creationTimestamp), val_getstr(y->object->meta, N_creationTimestamp));
    return r ? r > 0 : str_cmp(x->key, y->key) > 0;
}

static struct pod *rightful(const struct address *a)
{
    struct pod *best = a->n_claims ? a->claims[0] : NULL;
    for (size_t i = 1; i < a->n_claims; i++)
        if (has_more_right(a->claims[i], best))
            best = a->claims[i];
    return best;
}

static void recompute_pod(struct plan *p, struct pod *pod);

static void settle_owner(struct plan *p, struct address *a, const struct pod *asking)
{
    struct pod *before = a->owner;
    a->owner = rightful(a);
    if (before && before != a->owner && before != asking)
        recompute_pod(p, before);
    if (a->owner && a->owner != before && a->owner != asking)
        recompute_pod(p, a->owner);
}

static struct address *claim(struct plan *p, struct pod *pod, const struct prefix *b, struct str text)
{
    struct address *a = map_get(&p->addresses, text);
    if (!a) {
        a = NEW(struct address);
        a->text = str_of(str_dup(text));
        a->family = family_of(&b->ip);
        map_put(&p->addresses, text, a);
    }
    a->claims = xrealloc(a->claims, (a->n_claims + 1) * sizeof(*a->claims));
    a->claims[a->n_claims++] = pod;
    return a;
}

static void unclaim(struct plan *p, struct pod *pod, struct address *a)
{
    for (size_t i = 0; i < a->n_claims; i++)
        if (a->claims[i] == pod) {
            a->claims[i] = a->claims[--a->n_claims];
            break;
        }
    settle_owner(p, a, pod);
    if (a->n_claims)
        return;
    map_del(&p->addresses, a->text);
    free((char *)a->text.p);
    free(a->claims);
    free(a);
}

enum { MAX_ADDRESSES = 8 };

/* Claims are made before the old ones are given up, so that an address that stays is no change. */
static void claim_addresses(struct plan *p, struct pod *pod, struct str list)
{
    struct address *now[MAX_ADDRESSES], **old = pod->addresses;
    size_t n = 0, n_old = pod->n_addresses;
    struct str one;
    while (list.n && n < MAX_ADDRESSES && str_next(&list, ',', &one)) {
        struct prefix b;
        char text[IP_TEXT_MAX];
        if (block_parse(one, &b) == 0)
            now[n++] = claim(p, pod, &b, str_of(block_text(&b, text)));
    }
    pod->addresses = n ? xmalloc(n * sizeof(*now)) : NULL;
    pod->n_addresses = n;
    if (n)
        memcpy(pod->addresses, now, n * sizeof(*now));
    for (size_t i = 0; i < n_old; i++)
        unclaim(p, pod, old[i]);
    for (size_t i = 0; i < n; i++)
        settle_owner(p, now[i], pod);
    free(old);
}

/* ---- who belongs where -------------------------------------------------------------------------------- */

static bool is_selected(const struct selection *s, const struct pod *pod)
{
    if (s->ns.p && !str_eq(s->ns, pod->space->name))
        return false;
    if (!s->ns.p && (!pod->space->object || !selector_matches(&s->namespaces, obj_labels(pod->space->object->val))))
        return false;
    return selector_matches(&s->pods, obj_labels(pod->object->val));
}

static void pod_want(struct plan *p, struct pod *pod, struct kset *s, struct str key, unsigned to)
{
    if (pod->n_elems == pod->cap_elems)
        pod->elems = xrealloc(pod->elems, (pod->cap_elems = MAX(pod->cap_elems * 2, (size_t)4)) * sizeof(*pod->elems));
    pod->elems[pod->n_elems++] = kset_want(p, s, key, to);
}

static void want_ports(struct plan *p, struct pod *pod, const struct address *a, struct members *m,
                       const struct val *containers, bool sidecars)
{
    VAL_EACH(containers, c)
    {
        if (sidecars && !str_is(val_getstr(c, N_restartPolicy), "Always"))
            continue;
        VAL_EACH(val_get(c, N_ports), port)
        {
            char key[IP_TEXT_MAX + 16];
            struct str protocol = val_getstr(port, N_protocol);
            if (!str_eq(val_getstr(port, N_name), m->port_name) ||
                strncasecmp(protocol.n ? protocol.p : "tcp", m->protocol, protocol.n ? protocol.n : 3) != 0)
                continue;
            snprintf(key, sizeof(key), STR_FMT " . %lld", STR_ARG(a->text), (long long)val_int(val_get(port, N_containerPort), 0));
            pod_want(p, pod, &m->sets[a->family], str_of(key), 0);
        }
    }
}

static void want_member(struct plan *p, struct pod *pod, const struct address *a, struct members *m)
{
    const struct val *spec = val_get(pod->object->val, N_spec);
    if (m->is_port) {
        want_ports(p, pod, a, m, val_get(spec, N_containers), false);
        want_ports(p, pod, a, m, val_get(spec, N_initContainers), true);
    } else if (is_selected(&m->pods, pod)) {
        pod_want(p, pod, &m->sets[a->family], a->text, 0);
    }
}

/* ---- stacks: the pods of this node -------------------------------------------------------------------- */

static void stack_unuse(struct plan *p, struct stack *s)
{
    if (!s || --s->users)
        return;
    map_del(&p->stacks, s->id);
    chain_drop(p, &s->chain);
    free((char *)s->id.p);
    free(s);
}

static int by_number(const void *a, const void *b)
{
    const struct policy *const *x = a, *const *y = b;
    return (*x)->number < (*y)->number ? -1 : (*x)->number > (*y)->number;
}

static struct stack *stack_use(struct plan *p, enum direction d, struct policy **list, size_t n)
{
    struct buf id CLEANUP_BUF = BUF_INIT, body = BUF_INIT;
    qsort(list, n, sizeof(struct policy *), by_number);
    buf_printf(&id, "%d:", d);
    for (size_t i = 0; i < n; i++)
        buf_printf(&id, "%u,", list[i]->number);
    struct stack *s = map_get(&p->stacks, buf_str(&id));
    if (!s) {
        s = NEW(struct stack);
        s->id = str_of(str_dup(buf_str(&id)));
        s->number = ++p->next_number;
        snprintf(s->chain.name, sizeof(s->chain.name), "s%u", s->number);
        for (size_t i = 0; i < n; i++)
            buf_printf(&body, "jump %s\n", list[i]->chains[d].name);
        buf_puts(&body, "drop\n");
        chain_set(p, &s->chain, &body);
        map_put(&p->stacks, s->id, s);
    }
    s->users++;
    return s;
}

/* NULL: under no policy in this direction, so not isolated. */
static struct stack *find_stack(struct plan *p, const struct pod *pod, enum direction d)
{
    const struct map *all = &pod->space->policies;
    struct policy **list = all->n ? xmalloc(all->n * sizeof(*list)) : NULL;
    struct stack *ret = NULL;
    size_t n = 0;
    MAP_EACH(all, e)
    {
        struct policy *policy = e->value;
        if (policy->spec.to[d].applies && selector_matches(&policy->spec.pods, obj_labels(pod->object->val)))
            list[n++] = policy;
    }
    if (n)
        ret = stack_use(p, d, list, n);
    free(list);
    return ret;
}

static void want_local(struct plan *p, struct pod *pod, const struct address *a)
{
    char twice[2 * IP_TEXT_MAX + 4];
    pod_want(p, pod, &p->known[a->family], a->text, 0);
    for (enum direction d = 0; d < DIRECTIONS; d++)
        if (pod->stacks[d])
            pod_want(p, pod, &p->maps[d][a->family], a->text, pod->stacks[d]->number);
    snprintf(twice, sizeof(twice), STR_FMT " . " STR_FMT, STR_ARG(a->text), STR_ARG(a->text));
    if (pod->stacks[INGRESS] || pod->stacks[EGRESS])
        pod_want(p, pod, &p->self[a->family], str_of(twice), 0);
}

static void drop_elems(struct plan *p, struct pod *pod)
{
    for (size_t i = 0; i < pod->n_elems; i++)
        elem_unwant(p, pod->elems[i]);
    pod->n_elems = 0;
}

/* What is given up and wanted again in one go is no change for the kernel. */
static void recompute_pod(struct plan *p, struct pod *pod)
{
    struct stack *old[DIRECTIONS] = {pod->stacks[INGRESS], pod->stacks[EGRESS]};
    bool local = is_local(p, pod->object->val);
    drop_elems(p, pod);
    for (enum direction d = 0; d < DIRECTIONS; d++)
        pod->stacks[d] = local && pod->n_addresses ? find_stack(p, pod, d) : NULL;
    for (size_t i = 0; i < pod->n_addresses; i++) {
        const struct address *a = pod->addresses[i];
        if (a->owner != pod)
            continue;
        if (local)
            want_local(p, pod, a);
        MAP_EACH(&p->members, e)
        {
            want_member(p, pod, a, e->value);
        }
    }
    for (enum direction d = 0; d < DIRECTIONS; d++)
        stack_unuse(p, old[d]);
}

/* ---- namespaces --------------------------------------------------------------------------------------- */

static struct space *space_of(struct plan *p, struct str name)
{
    struct space *s = map_get(&p->spaces, name);
    if (s)
        return s;
    s = NEW(struct space);
    s->name = str_of(str_dup(name));
    map_put(&p->spaces, name, s);
    return s;
}

static void space_release(struct plan *p, struct space *s)
{
    if (p->closing || s->object || s->pods.n || s->policies.n)
        return;
    map_del(&p->spaces, s->name);
    map_done(&s->pods);
    map_done(&s->policies);
    free((char *)s->name.p);
    free(s);
}

static void replace_object(const struct object **slot, const struct object *now)
{
    const struct object *old = *slot;
    *slot = now ? object_ref(now) : NULL;
    object_unref((struct object *)old);
}

static int change_namespace(struct plan *p, const struct object *old, const struct object *new_, struct err *e UNUSED)
{
    struct space *s = space_of(p, new_ ? new_->name : old->name);
    bool same = s->object && new_ && val_equal(obj_labels(s->object->val), obj_labels(new_->val));
    replace_object(&s->object, new_);
    if (!same)
        MAP_EACH(&s->pods, it)
        {
            recompute_pod(p, it->value);
        }
    space_release(p, s);
    return 0;
}

/* ---- pods --------------------------------------------------------------------------------------------- */

static void pod_free(struct plan *p, struct pod *pod)
{
    struct space *s = pod->space;
    drop_elems(p, pod);
    claim_addresses(p, pod, STR_NULL);
    for (enum direction d = 0; d < DIRECTIONS; d++)
        stack_unuse(p, pod->stacks[d]);
    map_del(&s->pods, pod->object->name);
    map_del(&p->pods, pod->key);
    replace_object(&pod->object, NULL);
    free((char *)pod->key.p);
    free((char *)pod->placed.p);
    free(pod->elems);
    free(pod);
    space_release(p, s);
}

static struct pod *pod_new(struct plan *p, const struct object *o)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct pod *pod = NEW(struct pod);
    pod->key = str_of(str_dup(obj_key(&a, o->namespace_, o->name)));
    pod->space = space_of(p, o->namespace_);
    map_put(&pod->space->pods, o->name, pod);
    map_put(&p->pods, pod->key, pod);
    return pod;
}

static bool same_for_us(struct arena *a, const struct val *x, const struct val *y)
{
    return is_over(x) == is_over(y) && obj_deleting(x) == obj_deleting(y) &&
           str_eq(obj_uid(x), obj_uid(y)) && str_eq(status_addresses(a, x), status_addresses(a, y)) &&
           str_eq(val_str(val_at(x, N_spec, N_nodeName)), val_str(val_at(y, N_spec, N_nodeName))) &&
           val_equal(obj_labels(x), obj_labels(y));
}

static int change_pod(struct plan *p, const struct object *old, const struct object *new_, struct err *e UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct object *any = new_ ? new_ : old;
    struct pod *pod = map_get(&p->pods, obj_key(&a, any->namespace_, any->name));
    if (!new_) {
        if (pod)
            pod_free(p, pod);
        return 0;
    }
    bool is_new = !pod, same = pod && same_for_us(&a, pod->object->val, new_->val);
    if (is_new)
        pod = pod_new(p, new_);
    else if (!str_eq(pod->object->uid, new_->uid)) { /* another one of that name */
        free((char *)pod->placed.p);
        pod->placed = STR_NULL;
    }
    replace_object(&pod->object, new_);
    if (same)
        return 0;
    drop_elems(p, pod); /* before an address of it may become another's */
    claim_addresses(p, pod, pod_addresses(&a, pod));
    recompute_pod(p, pod);
    return 0;
}

int plan_placed(struct plan *p, struct str ns, struct str name, struct str uid, struct str addresses)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct pod *pod = map_get(&p->pods, obj_key(&a, ns, name));
    if (!pod || (uid.n && !str_eq(pod->object->uid, uid)))
        return -ENOENT;
    free((char *)pod->placed.p);
    pod->placed = str_of(str_dup(addresses));
    drop_elems(p, pod);
    claim_addresses(p, pod, pod_addresses(&a, pod));
    recompute_pod(p, pod);
    return 0;
}

/* ---- policies ----------------------------------------------------------------------------------------- */

/* Texts of a selection that outlive the policy that named it. */
static void copy_selector(struct arena *a, const struct selector *from, struct selector *to)
{
    *to = *from;
    to->reqs = ARENA_ARRAY(a, struct requirement, from->n + 1);
    for (size_t i = 0; i < from->n; i++) {
        const struct requirement *r = &from->reqs[i];
        struct requirement *copy = &to->reqs[i];
        *copy = *r;
        copy->key = arena_str(a, r->key);
        copy->values = ARENA_ARRAY(a, struct str, r->n_values + 1);
        for (size_t k = 0; k < r->n_values; k++)
            copy->values[k] = arena_str(a, r->values[k]);
    }
}

static void fill(struct plan *p, struct members *m)
{
    MAP_EACH(&p->pods, e)
    {
        struct pod *pod = e->value;
        for (size_t i = 0; i < pod->n_addresses; i++)
            if (pod->addresses[i]->owner == pod)
                want_member(p, pod, pod->addresses[i], m);
    }
}

static struct members *members_new(struct plan *p, struct str id, bool is_port)
{
    static const char *const kinds[][FAMILIES] = {{"ipv4_addr", "ipv6_addr"},
                                                  {"ipv4_addr . inet_service", "ipv6_addr . inet_service"}};
    struct members *m = NEW(struct members);
    m->id = str_of(str_dup(id));
    m->number = ++p->next_number;
    m->is_port = is_port;
    for (int f = 0; f < FAMILIES; f++)
        kset_init(&m->sets[f], kinds[is_port][f], false, "%c%u-%d", is_port ? 'q' : 'p', m->number, f == FAMILY_4 ? 4 : 6);
    map_put(&p->members, id, m);
    p->dirty = true;
    return m;
}

static struct members *use_pods(struct plan *p, const struct peer *peer)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str id = members_id(&a, peer);
    struct members *m = map_get(&p->members, id);
    if (m)
        return m;
    m = members_new(p, id, false);
    if (peer->pods.ns.p)
        m->pods.ns = arena_str(&m->arena, peer->pods.ns);
    copy_selector(&m->arena, &peer->pods.namespaces, &m->pods.namespaces);
    copy_selector(&m->arena, &peer->pods.pods, &m->pods.pods);
    fill(p, m);
    return m;
}

static struct members *use_port(struct plan *p, const char *protocol, struct str name)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str id = port_id(&a, protocol, name);
    struct members *m = map_get(&p->members, id);
    if (m)
        return m;
    m = members_new(p, id, true);
    m->protocol = protocol; /* a literal */
    m->port_name = arena_str(&m->arena, name);
    fill(p, m);
    return m;
}

static void add_use(struct policy *policy, struct members *m)
{
    policy->uses = xrealloc(policy->uses, (policy->n_uses + 1) * sizeof(*policy->uses));
    policy->uses[policy->n_uses++] = m;
    m->users++;
}

static void use_members(struct plan *p, struct policy *policy)
{
    for (enum direction d = 0; d < DIRECTIONS; d++)
        for (size_t i = 0; i < policy->spec.to[d].n; i++) {
            const struct policy_rule *r = &policy->spec.to[d].rules[i];
            for (size_t k = 0; k < r->n_peers; k++)
                if (r->peers[k].kind == PEER_PODS)
                    add_use(policy, use_pods(p, &r->peers[k]));
            for (size_t k = 0; k < r->n_ports; k++)
                for (size_t m = 0; m < r->ports[k].n_names; m++)
                    add_use(policy, use_port(p, r->ports[k].protocol, r->ports[k].names[m]));
        }
}

/* Pods forget elements of sets that go. */
static void forget_elems(struct plan *p, const struct members *m)
{
    MAP_EACH(&p->pods, e)
    {
        struct pod *pod = e->value;
        size_t kept = 0;
        for (size_t i = 0; i < pod->n_elems; i++)
            if (pod->elems[i]->set != &m->sets[FAMILY_4] && pod->elems[i]->set != &m->sets[FAMILY_6])
                pod->elems[kept++] = pod->elems[i];
        pod->n_elems = kept;
    }
}

static void members_free(struct plan *p, struct members *m)
{
    forget_elems(p, m);
    map_del(&p->members, m->id);
    for (int f = 0; f < FAMILIES; f++)
        kset_drop(p, &m->sets[f]);
    arena_done(&m->arena);
    free((char *)m->id.p);
    free(m);
}

static void unuse_members(struct plan *p, struct members **uses, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (--uses[i]->users == 0)
            members_free(p, uses[i]);
    free(uses);
}

static void write_chains(struct plan *p, struct policy *policy)
{
    for (enum direction d = 0; d < DIRECTIONS; d++) {
        struct chain *c = &policy->chains[d];
        struct buf body = BUF_INIT;
        if (!policy->spec.to[d].applies) {
            if (c->name[0])
                chain_drop(p, c);
            continue;
        }
        if (!c->name[0])
            snprintf(c->name, sizeof(c->name), "r%u-%s", ++p->next_number, d == INGRESS ? "in" : "out");
        policy_rules(p, &policy->spec, d, false, &body);
        chain_set(p, c, &body);
    }
}

static void recompute_local(struct plan *p, struct space *s)
{
    MAP_EACH(&s->pods, e)
    {
        struct pod *pod = e->value;
        if (is_local(p, pod->object->val))
            recompute_pod(p, pod);
    }
}

static void policy_free(struct plan *p, struct space *s, struct policy *policy)
{
    map_del(&s->policies, policy->object->name);
    p->n_policies--;
    recompute_local(p, s); /* nobody jumps there any more */
    for (enum direction d = 0; d < DIRECTIONS; d++)
        if (policy->chains[d].name[0])
            chain_drop(p, &policy->chains[d]);
    unuse_members(p, policy->uses, policy->n_uses);
    replace_object(&policy->object, NULL);
    arena_done(&policy->arena);
    free(policy);
    space_release(p, s);
}

static bool same_pods(const struct val *x, const struct val *y, const struct policy_spec *a, const struct policy_spec *b)
{
    return val_equal(val_at(x, N_spec, N_podSelector), val_at(y, N_spec, N_podSelector)) &&
           a->to[INGRESS].applies == b->to[INGRESS].applies && a->to[EGRESS].applies == b->to[EGRESS].applies;
}

/* New members are used before the old are given up: who stays is no change. */
static int write_policy(struct plan *p, struct policy *policy, const struct object *now, struct err *e)
{
    struct members **old = policy->uses;
    size_t n_old = policy->n_uses;
    struct arena old_arena = policy->arena;
    struct policy_spec old_spec = policy->spec;
    policy->arena = ARENA_INIT;
    policy->uses = NULL;
    policy->n_uses = 0;
    int r = policy_spec_of(&policy->arena, now->val, &policy->spec, e);
    bool same = policy->object && same_pods(policy->object->val, now->val, &old_spec, &policy->spec);
    use_members(p, policy);
    write_chains(p, policy);
    if (!same)
        recompute_local(p, space_of(p, now->namespace_));
    unuse_members(p, old, n_old);
    arena_done(&old_arena);
    replace_object(&policy->object, now);
    return r;
}

static int change_policy(struct plan *p, const struct object *old, const struct object *new_, struct err *e)
{
    const struct object *any = new_ ? new_ : old;
    struct space *s = space_of(p, any->namespace_);
    struct policy *policy = map_get(&s->policies, any->name);
    if (!new_) {
        if (policy)
            policy_free(p, s, policy);
        else
            space_release(p, s);
        return 0;
    }
    if (policy && val_equal(val_get(policy->object->val, N_spec), val_get(new_->val, N_spec)))
        return 0;
    if (!policy) {
        policy = NEW(struct policy);
        policy->number = ++p->next_number;
        map_put(&s->policies, any->name, policy);
        p->n_policies++;
    }
    int r = write_policy(p, policy, new_, e);
    return r < 0 && e ? err_wrap(e, r, "NetworkPolicy " STR_FMT "/" STR_FMT, STR_ARG(any->namespace_), STR_ARG(any->name)) : r;
}

/* ---- the node, and all -------------------------------------------------------------------------------- */

static void write_guard(struct plan *p)
{
    struct buf body = BUF_INIT;
    guard_rules(p, &body);
    chain_set(p, &p->guard, &body);
}

static int change_node(struct plan *p, const struct object *old UNUSED, const struct object *new_, struct err *e UNUSED)
{
    if (new_ && !str_is(new_->name, p->node_name))
        return 0;
    if (!new_)
        return 0; /* its pods still are what they were */
    replace_object(&p->node, new_);
    write_guard(p);
    return 0;
}

int plan_change(struct plan *p, const struct object *old, const struct object *new_, struct err *e)
{
    static const struct {
        uint16_t res;
        int (*fn)(struct plan *p, const struct object *old, const struct object *new_, struct err *e);
    } kinds[] = {{RES_PODS, change_pod}, {RES_NAMESPACES, change_namespace}, {RES_NETWORKPOLICIES, change_policy}, {RES_NODES, change_node}};
    uint16_t index = (new_ ? new_ : old)->res->index;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (kinds[i].res == index)
            return kinds[i].fn(p, old, new_, e);
    return 0;
}

size_t plan_policies(const struct plan *p)
{
    return p->n_policies;
}

struct plan *plan_new(const char *node_name)
{
    static const char *const plain[FAMILIES] = {"ipv4_addr", "ipv6_addr"},
                            *const pairs[FAMILIES] = {"ipv4_addr . ipv4_addr", "ipv6_addr . ipv6_addr"};
    struct plan *p = NEW(struct plan);
    p->node_name = xstrdup(node_name);
    for (int f = 0; f < FAMILIES; f++) {
        int n = f == FAMILY_4 ? 4 : 6;
        kset_init(&p->known[f], plain[f], false, "known-%d", n);
        kset_init(&p->self[f], pairs[f], false, "self-%d", n);
        kset_init(&p->maps[INGRESS][f], plain[f], true, "in-%d", n);
        kset_init(&p->maps[EGRESS][f], plain[f], true, "out-%d", n);
    }
    snprintf(p->guard.name, sizeof(p->guard.name), "guard");
    write_guard(p);
    return p;
}

static void drop_spaces(struct plan *p)
{
    MAP_EACH(&p->spaces, it)
    {
        struct space *s = it->value;
        MAP_EACH(&s->policies, e)
        {
            policy_free(p, s, e->value);
        }
        MAP_EACH(&s->pods, e)
        {
            pod_free(p, e->value);
        }
    }
    p->closing = false;
    MAP_EACH(&p->spaces, it)
    {
        struct space *s = it->value;
        replace_object(&s->object, NULL);
        space_release(p, s);
    }
}

void plan_free(struct plan *p)
{
    if (!p)
        return;
    p->closing = true; /* spaces stay until all is gone */
    drop_spaces(p);
    for (int f = 0; f < FAMILIES; f++) {
        struct kset *fixed[] = {&p->known[f], &p->self[f], &p->maps[INGRESS][f], &p->maps[EGRESS][f]};
        for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
            kset_drop(p, fixed[i]);
    }
    struct map *maps[] = {&p->spaces, &p->pods, &p->addresses, &p->members, &p->stacks};
    for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
        map_done(maps[i]);
    replace_object(&p->node, NULL);
    free(p->guard.body);
    buf_done(&p->dead_chains);
    buf_done(&p->dead_sets);
    free(p->node_name);
    free(p);
}
