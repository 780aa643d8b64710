/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/util.h"

#include "type/meta.h"

void set_count(struct arena *a, struct val *obj, name_id name, int64_t n)
{
    if (n)
        val_set_int(a, obj, name, n);
    else
        val_del(obj, name);
}

void set_flag(struct arena *a, struct val *obj, name_id name, bool b)
{
    if (b)
        val_set_bool(a, obj, name, true);
    else
        val_del(obj, name);
}

void set_text(struct arena *a, struct val *obj, name_id name, struct str s)
{
    if (!str_empty(s))
        val_set_str(a, obj, name, s);
    else
        val_del(obj, name);
}

int64_t intstr_scaled(const struct val *v, int64_t total, bool round_up, int64_t absent)
{
    if (val_is(v, VAL_INT))
        return v->i;
    struct str s = val_str(v);
    int64_t percent;
    if (!str_ends(s, STR("%")) || str_to_i64(str_slice(s, 0, s.n - 1), &percent) < 0)
        return absent;
    percent = MIN(percent, (int64_t)INT32_MAX);
    return (percent * total + (round_up ? 99 : 0)) / 100;
}

int64_t seconds_ns(const struct val *v, int64_t absent)
{
    enum { MOST = 50 * 365 * 86400 };
    int64_t n = val_int(v, absent);
    return SECONDS(MAX(MIN(n, (int64_t)MOST), -(int64_t)MOST));
}

struct val *with_status(struct arena *a, const struct object *o, struct val **ret_status)
{
    struct val *v = val_copy_shallow(a, o->val);
    const struct val *old = val_get(o->val, N_status);
    *ret_status = val_set(a, v, N_status, old ? *val_copy_shallow(a, old) : *val_new(a, VAL_OBJ));
    return v;
}

struct val *with_meta(struct arena *a, const struct object *o, struct val **ret_meta)
{
    struct val *v = val_copy_shallow(a, o->val);
    *ret_meta = val_set(a, v, N_metadata, *val_copy_shallow(a, o->meta));
    return v;
}

void put_finalizer(struct arena *a, struct val *meta, struct str finalizer, bool wanted)
{
    struct val *list = val_new(a, VAL_LIST);
    VAL_EACH (val_get(meta, N_finalizers), f)
        if (!str_eq(val_str(f), finalizer))
            val_add(a, list, *f);
    if (wanted)
        val_add_str(a, list, finalizer);
    val_set_ref(a, meta, N_finalizers, list->n ? list : NULL);
}

struct val *own_map(struct arena *a, struct val *obj, name_id name)
{
    const struct val *old = val_get(obj, name);
    return val_set(a, obj, name, old ? *val_copy_shallow(a, old) : *val_new(a, VAL_MAP));
}

struct val *own_list(struct arena *a, struct val *obj, name_id name)
{
    const struct val *old = val_get(obj, name);
    return val_set(a, obj, name, old ? *val_copy_shallow(a, old) : *val_new(a, VAL_LIST));
}

struct str api_version(struct arena *a, const struct resource *res)
{
    char buf[256];
    return arena_str(a, str_of(resource_api_version(res, buf, sizeof(buf))));
}

struct val *conditions_without(struct arena *a, const struct val *conditions, struct str type)
{
    struct val *list = val_new(a, VAL_LIST);
    VAL_EACH (conditions, c)
        if (!str_eq(val_getstr(c, N_type), type))
            val_add(a, list, *c);
    return list;
}

struct str safe_digits(struct arena *a, uint32_t n)
{
    static const char letters[] = "bcdfghjklmnpqrstvwxz2456789"; /* upstream's alphabet of generated names */
    struct str digits = arena_printf(a, "%u", n);
    char *out = arena_bytes(a, digits.n + 1);
    for (size_t i = 0; i < digits.n; i++)
        out[i] = letters[(unsigned char)digits.p[i] % (sizeof(letters) - 1)];
    out[digits.n] = 0;
    return str_n(out, digits.n);
}

struct str short_hash(struct arena *a, struct str text, int64_t salt)
{
    uint32_t h = UINT32_C(2166136261); /* FNV-1a */
    for (size_t i = 0; i < text.n; i++)
        h = (h ^ (unsigned char)text.p[i]) * UINT32_C(16777619);
    for (int i = 0; i < 8; i++)
        h = (h ^ (unsigned char)(salt >> (8 * i))) * UINT32_C(16777619);
    return safe_digits(a, h);
}

struct str selector_as_go(struct arena *a, const struct val *s)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (!s)
        return STR("nil");
    buf_puts(&b, "&LabelSelector{MatchLabels:map[string]string{");
    VAL_EACH_ENTRY (val_get(s, N_matchLabels), k, v)
        buf_printf(&b, STR_FMT ": " STR_FMT ",", STR_ARG(val_str(k)), STR_ARG(val_str(v)));
    buf_puts(&b, "},MatchExpressions:[]LabelSelectorRequirement{");
    VAL_EACH (val_get(s, N_matchExpressions), e) {
        buf_printf(&b, "LabelSelectorRequirement{Key:" STR_FMT ",Operator:" STR_FMT ",Values:[",
                   STR_ARG(val_getstr(e, N_key)), STR_ARG(val_getstr(e, N_operator)));
        VAL_EACH (val_get(e, N_values), v)
            buf_printf(&b, "%s" STR_FMT, v == val_get(e, N_values)->items ? "" : " ", STR_ARG(val_str(v)));
        buf_puts(&b, "],},");
    }
    buf_puts(&b, "},}");
    return arena_str(a, buf_str(&b));
}
