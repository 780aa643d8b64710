/* SPDX-License-Identifier: Apache-2.0 */
#include "node/dra.h"

#include "names.h"
#include "type/meta.h"
#include "wire/json.h"

#include <zlib.h>

#define KIND "DRACheckpoint"
#define API_VERSION "checkpoint.dra.kubelet.k8s.io/v1"

static struct str key_of(struct arena *a, struct str ns, struct str name)
{
    return obj_key(a, ns, name);
}

static void claim_free(void *v)
{
    struct dra_claim *c = v;
    struct arena a = c->arena;
    map_done(&c->pods);
    arena_done(&a); /* the claim itself lives there */
}

void dra_state_done(struct dra_state *s)
{
    map_done_with(&s->claims, claim_free);
}

struct dra_claim *dra_state_find(const struct dra_state *s, struct str ns, struct str name)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    return map_get(&s->claims, key_of(&a, ns, name));
}

static struct dra_claim *add(struct dra_state *s, struct str ns, struct str name, struct str uid)
{
    struct arena own = ARENA_INIT, a CLEANUP_ARENA = ARENA_INIT;
    struct dra_claim *c = ARENA_NEW(&own, struct dra_claim);
    *c = (struct dra_claim){.uid = arena_str(&own, uid), .name = arena_str(&own, name), .ns = arena_str(&own, ns)};
    c->drivers = val_new(&own, VAL_MAP);
    c->arena = own;
    struct dra_claim *was = map_put(&s->claims, key_of(&a, ns, name), c);
    if (was)
        claim_free(was);
    return c;
}

static struct val *devices_of(struct dra_claim *c, struct str driver)
{
    struct val *list = (struct val *)(uintptr_t)val_key(c->drivers, driver);
    return list ? list : val_put(&c->arena, c->drivers, driver, (struct val){.kind = VAL_LIST});
}

struct dra_claim *dra_state_add(struct dra_state *s, const struct val *claim)
{
    struct dra_claim *c = add(s, obj_namespace(claim), obj_name(claim), obj_uid(claim));
    VAL_EACH (val_at(claim, N_status, N_allocation, N_devices, N_results), r)
        devices_of(c, val_getstr(r, N_driver));
    return c;
}

void dra_state_drop(struct dra_state *s, struct dra_claim *c)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    map_del(&s->claims, key_of(&a, c->ns, c->name));
    claim_free(c);
}

void dra_claim_set_devices(struct dra_claim *c, struct str driver, const struct val *devices)
{
    struct val *list = devices_of(c, driver);
    list->n = 0;
    VAL_EACH (devices, d)
        val_add(&c->arena, list, *val_copy(&c->arena, d));
}

/* ---- reading it ------------------------------------------------------------------------------------------- */

bool dra_device_is_for(const struct val *device, struct str request)
{
    const struct val *names = val_get(device, N_request_names);
    if (!request.n || !val_len(names))
        return true;
    VAL_EACH (names, n) {
        struct str base, sub;
        /* A container asks for "r" and gets what was chosen of it: "r/sub". */
        if (str_eq(val_str(n), request) || (str_cut(val_str(n), '/', &base, &sub) && str_eq(base, request)))
            return true;
    }
    return false;
}

void dra_claim_devices(const struct dra_claim *c, struct str request, struct arena *a, struct val *ret)
{
    VAL_EACH_ENTRY (c->drivers, driver, list) {
        (void)driver;
        VAL_EACH (list, d)
            VAL_EACH (dra_device_is_for(d, request) ? val_get(d, N_cdi_device_ids) : NULL, id) {
                bool there = false;
                VAL_EACH (ret, x)
                    there |= str_eq(val_getstr(x, N_name), val_str(id));
                if (!there)
                    val_set_str(a, val_add_obj(a, ret), N_name, val_str(id));
            }
    }
}

/* ---- the file: upstream's names, the data as a text within the text, with its CRC-32 -------------------------- */

static void put_strs(struct arena *a, struct val *o, const char *key, const struct val *list)
{
    val_put(a, o, str_of(key), list ? *list : (struct val){0});
}

static struct val device_out(struct arena *a, const struct val *d)
{
    struct val *o = val_new(a, VAL_MAP);
    struct str share = val_getstr(d, N_share_id);
    val_put_str(a, o, STR("PoolName"), val_getstr(d, N_pool_name));
    val_put_str(a, o, STR("DeviceName"), val_getstr(d, N_device_name));
    val_put(a, o, STR("ShareID"), share.n ? val_of_str(share) : (struct val){0});
    put_strs(a, o, "RequestNames", val_get(d, N_request_names));
    put_strs(a, o, "CDIDeviceIDs", val_get(d, N_cdi_device_ids));
    return *o;
}

static struct val claim_out(struct arena *a, const struct dra_claim *c)
{
    struct val *o = val_new(a, VAL_MAP), *pods = val_new(a, VAL_MAP), *drivers = val_new(a, VAL_MAP);
    val_put_str(a, o, STR("ClaimUID"), c->uid);
    val_put_str(a, o, STR("ClaimName"), c->name);
    val_put_str(a, o, STR("Namespace"), c->ns);
    MAP_EACH (&c->pods, e)
        val_put(a, pods, e->key, *val_new(a, VAL_MAP));
    VAL_EACH_ENTRY (c->drivers, k, list) {
        struct val *state = val_new(a, VAL_MAP), *devices = val_new(a, VAL_LIST);
        VAL_EACH (list, d)
            val_add(a, devices, device_out(a, d));
        val_put(a, state, STR("Devices"), devices->n ? *devices : (struct val){0});
        val_put(a, drivers, val_str(k), *state);
    }
    val_put(a, o, STR("PodUIDs"), *pods);
    val_put(a, o, STR("DriverState"), *drivers);
    return *o;
}

static uint32_t sum_of(struct str s)
{
    return (uint32_t)crc32(0, (const Bytef *)s.p, (uInt)s.n);
}

struct str dra_state_text(const struct dra_state *s, struct arena *a)
{
    struct buf b CLEANUP_BUF = BUF_INIT, out CLEANUP_BUF = BUF_INIT;
    struct val *data = val_new(a, VAL_MAP), *list = val_new(a, VAL_LIST);
    MAP_EACH (&s->claims, e)
        val_add(a, list, claim_out(a, e->value));
    val_put_str(a, data, STR("kind"), STR(KIND));
    val_put_str(a, data, STR("apiVersion"), STR(API_VERSION));
    val_put(a, data, STR("ClaimInfoStateList"), *list);
    json_encode(&b, NULL, data, 0);
    buf_puts(&out, "{\"Data\":");
    json_encode_str(&out, buf_str(&b), 0);
    buf_printf(&out, ",\"Checksum\":%u}", sum_of(buf_str(&b)));
    return arena_str(a, buf_str(&out));
}

static void copy_strs(struct arena *a, struct val *to, name_id name, const struct val *list)
{
    VAL_EACH (list, x)
        val_add_str(a, val_sub_list(a, to, name), val_str(x));
}

static struct str text_at(const struct val *v, const char *key)
{
    return val_str(val_key(v, str_of(key)));
}

static void device_in(struct dra_claim *c, struct str driver, const struct val *d)
{
    struct val *o = val_add_obj(&c->arena, devices_of(c, driver));
    struct str share = text_at(d, "ShareID");
    val_set_str(&c->arena, o, N_pool_name, text_at(d, "PoolName"));
    val_set_str(&c->arena, o, N_device_name, text_at(d, "DeviceName"));
    if (share.n)
        val_set_str(&c->arena, o, N_share_id, share);
    copy_strs(&c->arena, o, N_request_names, val_key(d, STR("RequestNames")));
    copy_strs(&c->arena, o, N_cdi_device_ids, val_key(d, STR("CDIDeviceIDs")));
}

static void claim_in(struct dra_state *s, const struct val *v)
{
    struct dra_claim *c = add(s, text_at(v, "Namespace"), text_at(v, "ClaimName"), text_at(v, "ClaimUID"));
    VAL_EACH_ENTRY (val_key(v, STR("PodUIDs")), uid, set) {
        (void)set;
        map_put(&c->pods, val_str(uid), c);
    }
    VAL_EACH_ENTRY (val_key(v, STR("DriverState")), driver, state) {
        devices_of(c, val_str(driver));
        VAL_EACH (val_key(state, STR("Devices")), d)
            device_in(c, val_str(driver), d);
    }
}

int dra_state_read(struct dra_state *s, struct str text, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *file, *data;
    int r = json_decode(&a, NULL, text, 0, NULL, &file, e);
    struct str inner = r == 0 ? text_at(file, "Data") : STR_NULL;
    if (r == 0 && (int64_t)sum_of(inner) != val_int(val_key(file, STR("Checksum")), -1))
        r = err_set(e, -EINVAL, "the checksum is wrong");
    if (r == 0)
        r = json_decode(&a, NULL, inner, 0, NULL, &data, e);
    if (r == 0 && !str_is(text_at(data, "apiVersion"), API_VERSION))
        r = err_set(e, -EINVAL, "apiVersion \"" STR_FMT "\" is not known", STR_ARG(text_at(data, "apiVersion")));
    if (r < 0)
        return r;
    VAL_EACH (val_key(data, STR("ClaimInfoStateList")), v)
        if (text_at(v, "ClaimName").n)
            claim_in(s, v);
    return 0;
}
