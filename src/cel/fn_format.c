/* SPDX-License-Identifier: Apache-2.0 */
/* format.dns1123Label().validate(s) and its like (k8s.io/apiserver/pkg/cel/library: format). */
#include "cel/cel-internal.h"

#include "type/check.h"
#include "type/text.h"
#include "wire/leaf.h"

#define FN(name) static struct cel_val name(struct cel_run *r, const struct cel_val *v, unsigned n)

struct format_val {
    struct cel_opaque o;
    const char *name;
    check_fn *check; /* of the name itself; NULL: `own` */
    bool prefix;     /* a dash at the end stands for what will follow */
    bool (*own)(struct arena *a, struct str s, const char **ret_wrong);
};

static bool own_uri(struct arena *a, struct str s, const char **ret_wrong)
{
    const char *wrong;
    if (cel_is_url(a, s, &wrong))
        return true;
    struct str q = text_quote(a, s);
    *ret_wrong = arena_printf(a, "parse " STR_FMT ": %s", STR_ARG(q), wrong).p;
    return false;
}

static bool matches(struct str s, const char *pattern)
{
    struct cel_regex *re = cel_regex_new(str_of(pattern), NULL, 0);
    size_t start, end;
    bool ok = re && cel_regex_find(re, s, 0, &start, &end);
    cel_regex_free(re);
    return ok;
}

static bool own_uuid(struct arena *a, struct str s, const char **ret_wrong)
{
    *ret_wrong = "does not match the UUID format";
    return matches(s, "(?i)^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$");
}

static bool own_byte(struct arena *a, struct str s, const char **ret_wrong)
{
    *ret_wrong = "invalid base64";
    return matches(s, "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$");
}

static bool own_date(struct arena *a, struct str s, const char **ret_wrong)
{
    struct cel_val t;
    *ret_wrong = "invalid date";
    return s.n == 10 && cel_timestamp_parse(arena_printf(a, STR_FMT "T00:00:00Z", STR_ARG(s)), &t);
}

static bool own_datetime(struct arena *a, struct str s, const char **ret_wrong)
{
    struct cel_val t;
    *ret_wrong = "invalid datetime";
    return matches(s, "(?i)^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))$") &&
           cel_timestamp_parse(s, &t);
}

static struct str format_text(struct arena *a, const struct cel_opaque *o)
{
    return str_of(((const struct format_val *)o)->name);
}

static bool format_equal(const struct cel_opaque *x, const struct cel_opaque *y)
{
    return !strcmp(((const struct format_val *)x)->name, ((const struct format_val *)y)->name);
}

/* size: how long upstream takes the pattern to be, for the cost. */
#define FORMAT(name, check, prefix, own, size) {{&cel_format, format_equal, format_text, size}, name, check, prefix, own}
static const struct format_val formats[] = {
    FORMAT("dns1123Label", check_label_of_dns, false, NULL, 30),
    FORMAT("dns1123Subdomain", check_subdomain, false, NULL, 60),
    FORMAT("dns1035Label", check_label_of_dns1035, false, NULL, 30),
    FORMAT("qualifiedName", check_label_key, false, NULL, 60),
    FORMAT("dns1123LabelPrefix", check_label_of_dns, true, NULL, 30),
    FORMAT("dns1123SubdomainPrefix", check_subdomain, true, NULL, 60),
    FORMAT("dns1035LabelPrefix", check_label_of_dns1035, true, NULL, 30),
    FORMAT("labelValue", check_label_text, false, NULL, 40),
    FORMAT("uri", NULL, false, own_uri, 1103),
    FORMAT("uuid", NULL, false, own_uuid, 69),
    FORMAT("byte", NULL, false, own_byte, 84),
    FORMAT("date", NULL, false, own_date, 70),
    FORMAT("datetime", NULL, false, own_datetime, 70),
};

static struct cel_val optional(struct cel_run *r, struct cel_val v)
{
    struct cel_val *inner = ARENA_NEW(r->arena, struct cel_val);
    *inner = v;
    return (struct cel_val){.kind = CEL_OPTIONAL, .inner = inner};
}

FN(validate)
{
    const struct format_val *f = CEL_OPAQUE_AS(v[0], struct format_val);
    struct str s = cel_str(v[1]);
    struct check c = {.n = 0};
    if (f->prefix && s.n > 1 && s.p[s.n - 1] == '-')
        s = arena_printf(r->arena, STR_FMT "a", (int)s.n - 2, s.p);
    if (f->check)
        f->check(&c, s);
    else
        c.n = !f->own(r->arena, s, &c.texts[0]);
    if (!c.n)
        return (struct cel_val){.kind = CEL_OPTIONAL};
    struct cel_val list = cel_new_list(r->arena, NULL, 0);
    for (unsigned i = 0; i < c.n; i++)
        list = cel_list_append(r->arena, list, cel_of_str(str_of(c.texts[i])));
    return optional(r, list);
}

FN(named)
{
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
        if (str_is(cel_str(v[0]), formats[i].name))
            return optional(r, cel_of_opaque(&formats[i].o));
    return (struct cel_val){.kind = CEL_OPTIONAL};
}

/* format.NAME(): which, the call's name tells. */
FN(constant)
{
    struct str name = str_from(r->site->name, strlen("format."));
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
        if (str_is(name, formats[i].name))
            return cel_of_opaque(&formats[i].o);
    return cel_no_overload();
}

#define LIB CEL_LIB_KUBERNETES
#define CONSTANT(name)                                                                                       \
    {                                                                                                        \
        "format." name, "format." name, "() kubernetes.NamedFormat", constant, COST_ONE, LIB, 31             \
    }

const struct cel_fn cel_fns_format[] = {
    CONSTANT("dns1123Label"),
    CONSTANT("dns1123Subdomain"),
    CONSTANT("dns1035Label"),
    CONSTANT("qualifiedName"),
    CONSTANT("dns1123LabelPrefix"),
    CONSTANT("dns1123SubdomainPrefix"),
    CONSTANT("dns1035LabelPrefix"),
    CONSTANT("labelValue"),
    CONSTANT("uri"),
    CONSTANT("uuid"),
    CONSTANT("byte"),
    CONSTANT("date"),
    CONSTANT("datetime"),
    {"validate", "format-validate", "kubernetes.NamedFormat.(string) optional_type(list(string))", validate, COST_FORMAT, LIB,
     31},
    {"format.named", "format-named", "(string) optional_type(kubernetes.NamedFormat)", named, COST_ONE, LIB, 31},
};
const size_t n_cel_fns_format = ARRAY_SIZE(cel_fns_format);
