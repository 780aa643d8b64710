/* SPDX-License-Identifier: Apache-2.0 */
#include "ingress/annotations.h"

#include "type/meta.h"
#include "wire/quantity.h"

#define DEFAULT_TIMEOUT SECONDS(60)
#define MOST_TIMEOUT SECONDS(24 * 3600)

struct reading {
    struct arena *a;
    struct ingress_options *to;
};

static int read_redirect(struct reading *r, struct str text)
{
    r->to->no_redirect = str_is(text, "false");
    return str_is(text, "false") || str_is(text, "true") ? 0 : -EINVAL;
}

static int read_timeout(struct reading *r, struct str text)
{
    int64_t ns;
    if (duration_parse(text, &ns) < 0 || ns < MILLISECONDS(1) || ns > MOST_TIMEOUT)
        return -EINVAL;
    r->to->timeout = ns;
    return 0;
}

static int read_max_body(struct reading *r, struct str text)
{
    struct quantity q;
    int64_t n;
    if (quantity_parse(text, &q, NULL) < 0)
        return -EINVAL;
    n = quantity_units(q);
    if (n < 0)
        return -EINVAL;
    r->to->max_body = n;
    return 0;
}

/* A list that is not understood lets nobody in: it was there to keep somebody out. */
static int read_allow(struct reading *r, struct str text)
{
    static struct prefix nobody = {.ip = {.family = AF_INET, .b = {255, 255, 255, 255}}, .bits = 32};
    struct err e;
    if (prefixes_parse(r->a, arena_cstr(r->a, text), &r->to->allow, &e) == 0 && r->to->allow.n)
        return 0;
    r->to->allow = (struct prefixes){&nobody, 1};
    return -EINVAL;
}

static const struct annotation {
    const char *name, *want;
    int (*read)(struct reading *r, struct str text);
} annotations[] = {
    {"redirect-to-https", "true or false", read_redirect},
    {"timeout", "a duration such as 90s", read_timeout},
    {"max-body-size", "a quantity such as 10Mi", read_max_body},
    {"allow-from", "ranges such as 10.0.0.0/8,fd00::/8; nobody is let in", read_allow},
};

static const struct annotation *find(struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(annotations); i++)
        if (str_is(name, annotations[i].name))
            return &annotations[i];
    return NULL;
}

void annotations_read(struct arena *a, const struct val *ingress, struct ingress_options *ret, annotation_fault *fault,
                      void *ctx)
{
    struct ingress_options o = {.timeout = DEFAULT_TIMEOUT};
    struct reading r = {a, &o};
    VAL_EACH_ENTRY(val_get(obj_meta(ingress), N_annotations), k, v)
    {
        struct str name = val_str(k), prefix = STR(INGRESS_ANNOTATIONS);
        if (!str_starts(name, prefix))
            continue;
        const struct annotation *known = find(str_from(name, prefix.n));
        if (known && known->read(&r, val_str(v)) == 0)
            continue;
        if (fault)
            fault(ctx, known ? arena_printf(a, "annotation " STR_FMT " must be %s", STR_ARG(name), known->want)
                             : arena_printf(a, "annotation " STR_FMT " is not known", STR_ARG(name)));
    }
    *ret = o;
}
