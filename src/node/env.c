/* SPDX-License-Identifier: Apache-2.0 */
#include "node/env.h"

#include "node/qos.h"

#include <ctype.h>
#include <stdio.h>

/* ---- lists ----------------------------------------------------------------------------------------------- */

/* Where the name is, or the empty place for it. */
static uint32_t *slot_of(const struct env_list *l, struct str name)
{
    size_t at = str_hash(name) & (l->n_slots - 1);
    while (l->slots[at] && !str_eq(l->items[l->slots[at] - 1].name, name))
        at = (at + 1) & (l->n_slots - 1);
    return &l->slots[at];
}

static struct env_var *find_var(const struct env_list *l, struct str name)
{
    if (l->slots) {
        uint32_t *slot = slot_of(l, name);
        return *slot ? &l->items[*slot - 1] : NULL;
    }
    for (size_t i = 0; i < l->n; i++)
        if (str_eq(l->items[i].name, name))
            return &l->items[i];
    return NULL;
}

const struct str *env_find(const struct env_list *l, struct str name)
{
    const struct env_var *v = find_var(l, name);
    return v ? &v->value : NULL;
}

static void grow(struct arena *a, struct env_list *l)
{
    size_t cap = l->cap ? 2 * l->cap : 32;
    struct env_var *items = ARENA_ARRAY(a, struct env_var, cap);
    if (l->n)
        memcpy(items, l->items, l->n * sizeof(*items));
    l->items = items;
    l->cap = cap;
    l->n_slots = 4 * cap;
    l->slots = ARENA_ARRAY(a, uint32_t, l->n_slots);
    for (size_t i = 0; i < l->n; i++)
        *slot_of(l, items[i].name) = (uint32_t)i + 1;
}

static void env_set(struct arena *a, struct env_list *l, struct str name, struct str value)
{
    struct env_var *v = find_var(l, name);
    if (v) {
        v->value = value;
        return;
    }
    if (l->n == l->cap)
        grow(a, l);
    l->items[l->n] = (struct env_var){name, value};
    *slot_of(l, name) = (uint32_t)(l->n + 1);
    l->n++;
}

/* ---- $(NAME) --------------------------------------------------------------------------------------------- */

static struct str expand(struct arena *a, struct str s, const struct env_list *first, const struct env_list *second)
{
    if (str_find(s, '$') < 0)
        return arena_str(a, s);
    struct buf b = BUF_INIT;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '$' || i + 1 == s.n) {
            buf_putc(&b, s.p[i]);
            continue;
        }
        char next = s.p[++i];
        ssize_t end = next == '(' ? str_find(str_from(s, i + 1), ')') : -1;
        if (next == '$') {
            buf_putc(&b, '$');
        } else if (end < 0) {
            buf_putc(&b, '$');
            buf_putc(&b, next);
        } else {
            struct str name = str_slice(s, i + 1, (size_t)end);
            const struct str *v = env_find(first, name);
            if (!v && second)
                v = env_find(second, name);
            if (v)
                buf_putstr(&b, *v);
            else
                buf_putstr(&b, str_slice(s, i - 1, (size_t)end + 3));
            i += (size_t)end + 1;
        }
    }
    struct str r = arena_str(a, buf_str(&b));
    buf_done(&b);
    return r;
}

struct str env_expand(struct arena *a, struct str s, const struct env_list *vars)
{
    return expand(a, s, vars, NULL);
}

/* ---- service links --------------------------------------------------------------------------------------- */

static struct str env_name(struct arena *a, struct str s)
{
    char *p = arena_cstr(a, s);
    for (size_t i = 0; i < s.n; i++)
        p[i] = p[i] == '-' ? '_' : (char)toupper((unsigned char)p[i]);
    return str_n(p, s.n);
}

static struct str lower(struct arena *a, struct str s)
{
    char *p = arena_cstr(a, s);
    for (size_t i = 0; i < s.n; i++)
        p[i] = (char)tolower((unsigned char)p[i]);
    return str_n(p, s.n);
}

static void link_port(struct arena *a, struct env_list *l, struct str prefix, struct str ip, const struct val *port,
                      bool first)
{
    struct str proto = val_getstr(port, N_protocol);
    proto = lower(a, proto.n ? proto : STR("TCP"));
    int number = (int)val_int(val_get(port, N_port), 0);
    bool v6 = str_find(ip, ':') >= 0;
    struct str url = arena_printf(a, STR_FMT "://%s" STR_FMT "%s:%d", STR_ARG(proto), v6 ? "[" : "", STR_ARG(ip),
                                  v6 ? "]" : "", number);
    if (first)
        env_set(a, l, arena_printf(a, STR_FMT "_PORT", STR_ARG(prefix)), url);
    struct str p = arena_printf(a, STR_FMT "_PORT_%d_" STR_FMT, STR_ARG(prefix), number, STR_ARG(env_name(a, proto)));
    env_set(a, l, p, url);
    env_set(a, l, arena_printf(a, STR_FMT "_PROTO", STR_ARG(p)), proto);
    env_set(a, l, arena_printf(a, STR_FMT "_PORT", STR_ARG(p)), arena_printf(a, "%d", number));
    env_set(a, l, arena_printf(a, STR_FMT "_ADDR", STR_ARG(p)), arena_str(a, ip));
}

struct links {
    struct arena *arena;
    struct env_list *list;
    struct str ns;
    bool all;
};

static void link_service(void *arg, const struct val *service)
{
    struct links *k = arg;
    struct arena *a = k->arena;
    struct str ip = val_str(val_at(service, N_spec, N_clusterIP)), ns = obj_namespace(service);
    const struct val *ports = val_at(service, N_spec, N_ports);
    bool master = str_is(ns, "default") && str_is(obj_name(service), "kubernetes");
    if (!ip.n || str_is(ip, "None") || val_len(ports) == 0 || !(master || (k->all && str_eq(ns, k->ns))))
        return;
    struct str prefix = env_name(a, obj_name(service));
    struct str port_name = arena_printf(a, STR_FMT "_SERVICE_PORT", STR_ARG(prefix));
    env_set(a, k->list, arena_printf(a, STR_FMT "_SERVICE_HOST", STR_ARG(prefix)), arena_str(a, ip));
    bool first = true;
    VAL_EACH (ports, p) {
        struct str number = arena_printf(a, "%d", (int)val_int(val_get(p, N_port), 0));
        struct str name = val_getstr(p, N_name);
        if (first)
            env_set(a, k->list, port_name, number);
        if (name.n)
            env_set(a, k->list, arena_printf(a, STR_FMT "_" STR_FMT, STR_ARG(port_name), STR_ARG(env_name(a, name))),
                    number);
        first = false;
    }
    first = true;
    VAL_EACH (ports, p) {
        link_port(a, k->list, prefix, ip, p, first);
        first = false;
    }
}

/* ---- downward API ---------------------------------------------------------------------------------------- */

static void quote(struct buf *b, struct str s)
{
    buf_putc(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        static const char from[] = "\"\\\a\b\f\n\r\t\v", to[] = "\"\\abfnrtv";
        const char *at = c ? strchr(from, c) : NULL;
        if (at) {
            buf_putc(b, '\\');
            buf_putc(b, to[at - from]);
        } else if (c < 0x20 || c == 0x7f) {
            buf_printf(b, "\\x%02x", c);
        } else {
            buf_putc(b, (char)c);
        }
    }
    buf_putc(b, '"');
}

static int pair_order(const void *pa, const void *pb)
{
    const struct val *const *a = pa, *const *b = pb;
    return str_cmp(val_str(*a), val_str(*b));
}

struct str field_map_text(struct arena *a, const struct val *map)
{
    size_t n = val_is(map, VAL_MAP) ? val_len(map) : 0, i = 0;
    const struct val **keys = ARENA_ARRAY(a, const struct val *, n);
    VAL_EACH_ENTRY (map, k, v)
        keys[i++] = v - 1;
    if (n)
        qsort(keys, n, sizeof(*keys), pair_order);
    struct buf b = BUF_INIT;
    for (i = 0; i < n; i++) {
        if (i)
            buf_putc(&b, '\n');
        buf_putstr(&b, val_str(keys[i]));
        buf_putc(&b, '=');
        quote(&b, val_str(keys[i] + 1));
    }
    struct str r = arena_str(a, buf_str(&b));
    buf_done(&b);
    return r;
}

static struct str join_ips(struct arena *a, const struct str *ips, size_t n)
{
    return n ? arena_join(a, ips, n, STR(",")) : STR("");
}

/* "metadata.labels['x']": the part before and the key within. */
static bool subscript(struct str path, struct str *ret_path, struct str *ret_key)
{
    if (!str_ends(path, STR("']")))
        return false;
    for (size_t i = 1; i + 3 < path.n; i++)
        if (path.p[i] == '[' && path.p[i + 1] == '\'') {
            *ret_path = str_slice(path, 0, i);
            *ret_key = str_slice(path, i + 2, path.n - i - 4);
            return true;
        }
    return false;
}

static int subscripted_value(const struct val *pod, struct str path, struct str map, struct str key, struct str *ret,
                             struct err *e)
{
    name_id member = str_is(map, "metadata.annotations") ? N_annotations : str_is(map, "metadata.labels") ? N_labels : 0;
    if (!member)
        return err_set(e, -EINVAL, "fieldPath \"" STR_FMT "\" does not support subscript", STR_ARG(path));
    *ret = val_str(val_key(val_get(obj_meta(pod), member), key));
    return 0;
}

int env_field_value(struct arena *a, const struct val *pod, struct str path, const struct env_world *w, struct str *ret,
                struct err *e)
{
    struct str map, key;
    if (subscript(path, &map, &key))
        return subscripted_value(pod, path, map, key, ret, e);
    const struct val *meta = obj_meta(pod), *spec = pod_spec(pod);
    if (str_is(path, "metadata.name"))
        *ret = obj_name(pod);
    else if (str_is(path, "metadata.namespace"))
        *ret = obj_namespace(pod);
    else if (str_is(path, "metadata.uid"))
        *ret = obj_uid(pod);
    else if (str_is(path, "metadata.labels"))
        *ret = field_map_text(a, val_get(meta, N_labels));
    else if (str_is(path, "metadata.annotations"))
        *ret = field_map_text(a, val_get(meta, N_annotations));
    else if (str_is(path, "spec.nodeName"))
        *ret = val_getstr(spec, N_nodeName);
    else if (str_is(path, "spec.serviceAccountName"))
        *ret = val_getstr(spec, N_serviceAccountName);
    else if (str_is(path, "status.hostIP"))
        *ret = w->n_host_ips ? w->host_ips[0] : STR("");
    else if (str_is(path, "status.hostIPs"))
        *ret = join_ips(a, w->host_ips, w->n_host_ips);
    else if (str_is(path, "status.podIP"))
        *ret = w->n_pod_ips ? w->pod_ips[0] : STR("");
    else if (str_is(path, "status.podIPs"))
        *ret = join_ips(a, w->pod_ips, w->n_pod_ips);
    else
        return err_set(e, -EINVAL, "unsupported fieldPath: " STR_FMT, STR_ARG(path));
    return 0;
}

/* An absent limit means all that the node can give. */
static struct quantity limit_or_node(const struct val *resources, const char *name, const struct env_world *w)
{
    struct quantity q = resource_amount(resources, N_limits, name);
    if (!quantity_is_zero(q))
        return q;
    if (!strcmp(name, "cpu"))
        return quantity_of_milli(w->node_milli_cpu, QUANTITY_DECIMAL_SI);
    if (!strcmp(name, "memory"))
        return quantity_of(w->node_memory, QUANTITY_BINARY_SI);
    if (!strcmp(name, "ephemeral-storage"))
        return quantity_of(w->node_storage, QUANTITY_BINARY_SI);
    return q;
}

int resource_value(struct arena *a, const struct val *pod, const struct val *container, const struct val *ref,
                   const struct env_world *w, struct str *ret, struct err *e)
{
    struct str resource = val_getstr(ref, N_resource), of = val_getstr(ref, N_containerName), list, name;
    if (of.n) {
        container = pod_find_container(pod, of, NULL);
        if (!container)
            return err_set(e, -EINVAL, "container " STR_FMT " not found", STR_ARG(of));
    }
    if (!str_cut(resource, '.', &list, &name))
        return err_set(e, -EINVAL, "unsupported container resource : " STR_FMT, STR_ARG(resource));
    static const char *const known[] = {"cpu", "memory", "ephemeral-storage"};
    const char *which = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (str_is(name, known[i]))
            which = known[i];
    if (!which && str_starts(name, STR("hugepages-")))
        which = arena_cstr(a, name);
    bool limits = str_is(list, "limits");
    if (!which || !(limits || str_is(list, "requests")))
        return err_set(e, -EINVAL, "unsupported container resource : " STR_FMT, STR_ARG(resource));
    const struct val *resources = val_get(container, N_resources);
    struct quantity q = limits ? limit_or_node(resources, which, w) : resource_amount(resources, N_requests, which);
    struct quantity divisor = quantity_or_zero(val_getstr(ref, N_divisor));
    __int128 by = quantity_is_zero(divisor) ? 1000000000 : divisor.nano;
    *ret = arena_printf(a, "%lld", (long long)((q.nano + by - 1) / by));
    return 0;
}

/* ---- env and envFrom ------------------------------------------------------------------------------------- */

struct making {
    struct arena *arena;
    const struct val *pod, *container;
    const struct env_world *w;
    struct env_list own, services;
};

/* The ConfigMap or Secret a reference names; *ret NULL when it is absent and may be. */
static int source_object(struct making *m, bool secret, const struct val *ref, const struct val **ret, struct err *e)
{
    struct str ns = obj_namespace(m->pod), name = val_getstr(ref, N_name);
    const struct val *v = NULL;
    int r = (secret ? m->w->secret : m->w->config_map)(m->w->ctx, ns, name, &v, e);
    if (r < 0)
        return r;
    if (!v && !val_bool(val_get(ref, N_optional), false))
        return err_set(e, -ENOENT, "%s \"" STR_FMT "\" not found", secret ? "secret" : "configmap", STR_ARG(name));
    *ret = v;
    return 0;
}

enum { MOST_FROM = 20000 }; /* the kernel takes not many more, and each is looked for among the others */

static int add_from(struct making *m, const struct val *from, struct err *e)
{
    bool secret = val_get(from, N_secretRef) != NULL;
    const struct val *v, *ref = val_get(from, secret ? N_secretRef : N_configMapRef);
    struct str prefix = val_getstr(from, N_prefix);
    if (!ref)
        return 0;
    int r = source_object(m, secret, ref, &v, e);
    if (r < 0)
        return r;
    if (m->own.n + val_len(val_get(v, N_data)) > MOST_FROM)
        return err_set(e, -E2BIG, "more than %d environment variables from %s \"" STR_FMT "\" and others", MOST_FROM,
                       secret ? "secret" : "configmap", STR_ARG(val_getstr(ref, N_name)));
    VAL_EACH_ENTRY (val_get(v, N_data), key, value)
        env_set(m->arena, &m->own, arena_printf(m->arena, STR_FMT STR_FMT, STR_ARG(prefix), STR_ARG(val_str(key))),
                arena_str(m->arena, val_str(value)));
    return 0;
}

static int key_value(struct making *m, bool secret, const struct val *ref, struct str *ret, struct err *e)
{
    const struct val *v;
    struct str key = val_getstr(ref, N_key);
    int r = source_object(m, secret, ref, &v, e);
    if (r < 0)
        return r;
    const struct val *at = val_key(val_get(v, N_data), key);
    if (!at && !val_bool(val_get(ref, N_optional), false))
        return err_set(e, -ENOENT, "couldn't find key " STR_FMT " in %s " STR_FMT "/" STR_FMT, STR_ARG(key),
                       secret ? "Secret" : "ConfigMap", STR_ARG(obj_namespace(m->pod)),
                       STR_ARG(val_getstr(ref, N_name)));
    *ret = at ? val_str(at) : STR_NULL;
    return 0;
}

static int file_key_value(struct making *m, const struct val *ref, struct str *ret, struct err *e)
{
    struct str text, key = val_getstr(ref, N_key);
    if (!m->w->file)
        return err_set(e, -EINVAL, "environment from files is not supported here");
    int r = m->w->file(m->w->ctx, m->arena, val_getstr(ref, N_volumeName), val_getstr(ref, N_path), &text, e);
    if (r < 0)
        return r;
    r = env_file_value(m->arena, text, key, ret, e);
    if (r < 0)
        return r;
    if (!ret->p && !val_bool(val_get(ref, N_optional), false))
        return err_set(e, -ENOENT, "environment variable key \"" STR_FMT "\" not found in file \"" STR_FMT "\"",
                       STR_ARG(key), STR_ARG(val_getstr(ref, N_path)));
    return 0;
}

/* *ret .p NULL: the variable is not to be set. */
static int value_from(struct making *m, const struct val *from, struct str *ret, struct err *e)
{
    const struct val *ref;
    *ret = STR("");
    if ((ref = val_get(from, N_fieldRef)))
        return env_field_value(m->arena, m->pod, val_getstr(ref, N_fieldPath), m->w, ret, e);
    if ((ref = val_get(from, N_resourceFieldRef)))
        return resource_value(m->arena, m->pod, m->container, ref, m->w, ret, e);
    if ((ref = val_get(from, N_configMapKeyRef)))
        return key_value(m, false, ref, ret, e);
    if ((ref = val_get(from, N_secretKeyRef)))
        return key_value(m, true, ref, ret, e);
    if ((ref = val_get(from, N_fileKeyRef)))
        return file_key_value(m, ref, ret, e);
    return 0;
}

static int add_var(struct making *m, const struct val *var, struct err *e)
{
    struct str value = val_getstr(var, N_value);
    const struct val *from = val_get(var, N_valueFrom);
    if (value.n) {
        value = expand(m->arena, value, &m->own, &m->services);
    } else if (from) {
        int r = value_from(m, from, &value, e);
        if (r < 0)
            return r;
        if (!value.p)
            return 0;
        value = arena_str(m->arena, value);
    }
    env_set(m->arena, &m->own, arena_str(m->arena, val_getstr(var, N_name)), value.p ? value : STR(""));
    return 0;
}

int env_make(struct arena *a, const struct val *pod, const struct val *container, const struct env_world *w,
             struct env_list *ret, struct err *e)
{
    struct making m = {.arena = a, .pod = pod, .container = container, .w = w};
    struct links links = {a, &m.services, obj_namespace(pod), val_bool(val_at(pod, N_spec, N_enableServiceLinks), true)};
    if (w->services)
        w->services(w->ctx, link_service, &links);
    VAL_EACH (val_get(container, N_envFrom), from) {
        int r = add_from(&m, from, e);
        if (r < 0)
            return r;
    }
    VAL_EACH (val_get(container, N_env), var) {
        int r = add_var(&m, var, e);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < m.services.n; i++)
        if (!env_find(&m.own, m.services.items[i].name))
            env_set(a, &m.own, m.services.items[i].name, m.services.items[i].value);
    *ret = m.own;
    return 0;
}

/* ---- env files (KEP-3721) -------------------------------------------------------------------------------- */

int env_file_value(struct arena *a, struct str text, struct str key, struct str *ret, struct err *e)
{
    struct str line, found = STR_NULL;
    unsigned number = 0;
    while (str_next(&text, '\n', &line)) {
        struct str name, value;
        number++;
        line = str_trim(line);
        if (!line.n || line.p[0] == '#')
            continue;
        if (!str_cut(line, '=', &name, &value))
            return err_set(e, -EINVAL, "line %u of the env file has no '='", number);
        value = str_trim(value);
        if (value.n >= 2 && (value.p[0] == '\'' || value.p[0] == '"') && value.p[value.n - 1] == value.p[0])
            value = str_slice(value, 1, value.n - 2);
        if (str_eq(str_trim(name), key))
            found = arena_str(a, value);
    }
    *ret = found;
    return 0;
}
