/* SPDX-License-Identifier: Apache-2.0 */
#include "overlay/peer.h"

#include "names.h"
#include "type/meta.h"
#include "wire/json.h"

#include <stdio.h>

/* ---- annotations -------------------------------------------------------------------------------------- */

struct str annotation_prefix(struct arena *a, const char *prefix)
{
    struct str p = str_of(prefix && *prefix ? prefix : FLANNEL_PREFIX);
    ssize_t slash = str_find(p, '/');
    if (slash >= 0 && str_find(str_from(p, (size_t)slash + 1), '/') >= 0)
        return STR_NULL;
    bool ends = str_ends(p, STR("/")) || str_ends(p, STR("-"));
    struct str out = arena_printf(a, STR_FMT "%s", STR_ARG(p), slash < 0 ? "/" : ends ? "" : "-");
    /* A key that begins so must be a good one. */
    return check_qualified_name(arena_printf(a, STR_FMT "x", STR_ARG(out))) ? STR_NULL : out;
}

static struct str note(const struct object *node, struct str prefix, const char *name)
{
    char key[320];
    int n = snprintf(key, sizeof(key), STR_FMT "%s", STR_ARG(prefix), name);
    return node && n > 0 && (size_t)n < sizeof(key) ? obj_annotation(node->val, str_n(key, (size_t)n)) : STR_NULL;
}

static const char *const notes_data[FAMILIES] = {"backend-data", "backend-v6-data"};
static const char *const notes_address[FAMILIES] = {"public-ip", "public-ipv6"};
static const char *const notes_overwrite[FAMILIES] = {"public-ip-overwrite", "public-ipv6-overwrite"};

bool vtep_parse(struct str json, uint8_t ret_mac[static 6])
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v = NULL;
    if (!json.n || json_decode(&a, NULL, json, 0, NULL, &v, NULL) < 0)
        return false;
    return vtep_read(v, ret_mac);
}

bool vtep_read(const struct val *v, uint8_t ret_mac[static 6])
{
    return mac_parse(val_str(val_key(v, STR("VtepMAC"))), ret_mac);
}

struct str vtep_format(struct arena *a, uint32_t vni, const uint8_t mac[static 6])
{
    char text[MAC_TEXT_MAX];
    return arena_printf(a, "{\"VNI\":%u,\"VtepMAC\":\"%s\"}", vni, mac_format(mac, text));
}

/* ---- nodes ---------------------------------------------------------------------------------------- */

static const struct val *addresses_of(const struct object *node)
{
    return node ? val_at(node->val, N_status, N_addresses) : NULL;
}

static const struct val *ranges_of(const struct object *node)
{
    return node ? val_at(node->val, N_spec, N_podCIDRs) : NULL;
}

static bool notes_differ(const struct object *old, const struct object *new_, struct str prefix)
{
    const struct val *a = val_get(obj_meta(old->val), N_annotations), *b = val_get(obj_meta(new_->val), N_annotations);
    if (a == b)
        return false;
    VAL_EACH_ENTRY (a, k, v)
        if (str_starts(val_str(k), prefix) && !val_equal(v, val_key(b, val_str(k))))
            return true;
    VAL_EACH_ENTRY (b, k, v)
        if (str_starts(val_str(k), prefix) && !val_equal(v, val_key(a, val_str(k))))
            return true;
    return false;
}

bool peer_differs(const struct object *old, const struct object *new_, struct str prefix)
{
    return !old || !new_ || !val_equal(addresses_of(old), addresses_of(new_)) ||
           !val_equal(ranges_of(old), ranges_of(new_)) ||
           !val_equal(val_at(old->val, N_spec, N_podCIDR), val_at(new_->val, N_spec, N_podCIDR)) ||
           notes_differ(old, new_, prefix);
}

static void read_addresses(const struct object *node, struct peer *p)
{
    struct ip ip;
    VAL_EACH (addresses_of(node), v) {
        if (!str_is(val_getstr(v, N_type), "InternalIP") || !ip_parse(val_getstr(v, N_address), &ip))
            continue;
        struct ip *to = &p->internal[family_of(&ip)];
        if (!to->family) /* the first of a family is the node's own choice */
            *to = ip;
    }
}

static void add_range(struct peer *p, struct str text)
{
    struct prefix range;
    if (prefix_parse(text, &range) && range.bits) /* no node has the whole world */
        p->pods.list[p->pods.n++] = range;
}

static void read_ranges(struct arena *a, const struct object *node, struct peer *p)
{
    const struct val *list = ranges_of(node);
    p->pods.list = ARENA_ARRAY(a, struct prefix, val_len(list) + 1);
    VAL_EACH (list, v)
        add_range(p, val_str(v));
    if (!val_len(list)) /* older than dual stack */
        add_range(p, val_str(val_at(node->val, N_spec, N_podCIDR)));
}

/* Where it says it is; else where its Node says it is. */
static void read_notes(const struct object *node, struct str prefix, struct peer *p)
{
    p->announced = str_is(note(node, prefix, "kube-subnet-manager"), "true");
    p->backend = p->announced ? note(node, prefix, "backend-type") : STR_NULL;
    for (unsigned f = 0; f < FAMILIES; f++) {
        struct ip ip;
        if (ip_parse(note(node, prefix, notes_overwrite[f]), &ip) && family_of(&ip) == f)
            p->overwrite[f] = ip;
        bool said = p->announced && ip_parse(note(node, prefix, notes_address[f]), &ip) && family_of(&ip) == f;
        p->address[f] = said ? ip : p->internal[f];
        p->has_mac[f] = vtep_parse(note(node, prefix, notes_data[f]), p->mac[f]);
    }
}

static void read_node(struct arena *a, const struct object *node, struct str prefix, struct peer *ret)
{
    *ret = (struct peer){.name = node->name, .since = val_time(val_get(obj_meta(node->val), N_creationTimestamp))};
    read_addresses(node, ret);
    read_ranges(a, node, ret);
    read_notes(node, prefix, ret);
}

static int compare_age(const void *a, const void *b)
{
    const struct peer *x = a, *y = b;
    return x->since.ns != y->since.ns ? (x->since.ns < y->since.ns ? -1 : 1) : str_cmp(x->name, y->name);
}

void peers_sort(struct peer *list, size_t n)
{
    if (n)
        qsort(list, n, sizeof(*list), compare_age);
}

bool peers_of_nodes(struct arena *a, const struct tree *nodes, struct str self, struct str prefix, struct peer **ret,
                    size_t *ret_n, struct peer *ret_self)
{
    struct peer *list = ARENA_ARRAY(a, struct peer, tree_count(nodes) + 1);
    size_t n = 0;
    bool found = false;
    TREE_EACH (nodes, STR_NULL, it) {
        struct peer *p = &list[n];
        read_node(a, it.object, prefix, p);
        if (str_eq(p->name, self)) {
            *ret_self = *p;
            found = true;
        } else if (p->pods.n && (p->address[V4].family || p->address[V6].family)) {
            n++;
        }
    }
    peers_sort(list, n);
    *ret = list;
    *ret_n = n;
    return found;
}

/* ---- saying ------------------------------------------------------------------------------------------- */

struct patch_maker {
    struct buf b;
    const struct object *node;
    struct str prefix;
};

static void say(struct patch_maker *m, struct arena *a, const char *name, struct str text)
{
    if (str_eq(note(m->node, m->prefix, name), text))
        return;
    buf_puts(&m->b, m->b.n ? "," : "{\"metadata\":{\"annotations\":{");
    json_encode_str(&m->b, arena_printf(a, STR_FMT "%s", STR_ARG(m->prefix), name), 0);
    buf_putc(&m->b, ':');
    json_encode_str(&m->b, text, 0);
}

struct str announcement_patch(struct arena *a, const struct object *node, struct str prefix,
                              const struct announcement *what)
{
    struct patch_maker m = {.node = node, .prefix = prefix};
    say(&m, a, "kube-subnet-manager", STR("true"));
    say(&m, a, "backend-type", str_of(backend_name(what->backend)));
    for (unsigned f = 0; f < FAMILIES; f++) {
        char text[IP_TEXT_MAX];
        struct str other = note(node, prefix, notes_overwrite[f]);
        if (!what->address[f].family)
            continue;
        say(&m, a, notes_data[f],
            what->backend == BACKEND_VXLAN ? vtep_format(a, what->vni, what->mac[f]) : STR("null"));
        say(&m, a, notes_address[f], other.n ? other : str_of(ip_format(&what->address[f], text)));
    }
    if (m.b.n)
        buf_puts(&m.b, "}}}");
    struct str out = arena_str(a, buf_str(&m.b));
    buf_done(&m.b);
    return out;
}

struct str network_available_patch(struct arena *a, const struct object *node, struct wall now)
{
    char time[TIME_TEXT_MAX];
    VAL_EACH (val_at(node->val, N_status, N_conditions), c)
        if (str_is(val_getstr(c, N_type), "NetworkUnavailable") && str_is(val_getstr(c, N_status), "False"))
            return STR_NULL;
    time_format(now, time);
    return arena_printf(a, "{\"status\":{\"conditions\":[{\"type\":\"NetworkUnavailable\",\"status\":\"False\","
                           "\"reason\":\"OverlayIsUp\",\"message\":\"The overlay is running on this node\","
                           "\"lastHeartbeatTime\":\"%s\",\"lastTransitionTime\":\"%s\"}]}}", time, time);
}
