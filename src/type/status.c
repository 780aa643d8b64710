/* SPDX-License-Identifier: Apache-2.0 */
#include "type/status.h"

#include <stdarg.h>

#include "names.h"
#include "type/resource.h"
#include "type/text.h"

void status_init(struct status *s, struct arena *a)
{
    *s = (struct status){.arena = a, .reason = ""};
}

/* ---- codes and reasons --------------------------------------------------------------------------------- */

static const struct {
    int code;
    const char *reason;
} reasons[] = {
    {400, "BadRequest"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "NotFound"},
    {405, "MethodNotAllowed"},
    {406, "NotAcceptable"},
    {409, "Conflict"},
    {410, "Expired"},
    {413, "RequestEntityTooLarge"},
    {415, "UnsupportedMediaType"},
    {422, "Invalid"},
    {429, "TooManyRequests"},
    {500, "InternalError"},
    {503, "ServiceUnavailable"},
    {504, "Timeout"},
};

static const char *reason_of(int code)
{
    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
        if (reasons[i].code == code)
            return reasons[i].reason;
    return "";
}

static PRINTF(2, 0) struct str vprint(struct arena *a, const char *fmt, va_list ap)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    buf_vprintf(&b, fmt, ap);
    return arena_str(a, buf_str(&b));
}

static int set(struct status *s, int code, const char *reason, struct str message)
{
    s->code = code;
    s->reason = reason ? reason : reason_of(code);
    s->message = message;
    return code;
}

#define SET_FMT(s, code, reason, fmt)                                                                        \
    do {                                                                                                     \
        va_list ap_;                                                                                         \
        va_start(ap_, fmt);                                                                                  \
        set((s), (code), (reason), vprint((s)->arena, (fmt), ap_));                                          \
        va_end(ap_);                                                                                         \
    } while (0)

int status_set(struct status *s, int code, const char *reason, const char *fmt, ...)
{
    SET_FMT(s, code, reason, fmt);
    return code;
}

int status_bad_request(struct status *s, const char *fmt, ...)
{
    SET_FMT(s, 400, "BadRequest", fmt);
    return 400;
}

int status_gone(struct status *s, const char *fmt, ...)
{
    SET_FMT(s, 410, "Expired", fmt);
    return 410;
}

int status_internal(struct status *s, const char *fmt, ...)
{
    SET_FMT(s, 500, "InternalError", fmt);
    s->causes = ARENA_NEW(s->arena, struct cause);
    s->causes[0] = (struct cause){.reason = "", .message = s->message};
    s->n_causes = s->cap_causes = 1;
    s->message = arena_printf(s->arena, "Internal error occurred: " STR_FMT, STR_ARG(s->message));
    return 500;
}

/* ---- about a resource ---------------------------------------------------------------------------------- */

/* "pods", "deployments.apps" */
static struct str qualified(struct arena *a, const struct resource *r)
{
    return r->group[0] ? arena_printf(a, "%s.%s", r->name, r->group) : str_of(r->name);
}

static void set_details(struct status *s, const struct resource *r, struct str name)
{
    s->group = str_of(r->group);
    s->kind = str_of(r->name);
    s->name = arena_str(s->arena, name);
}

int status_not_found(struct status *s, const struct resource *r, struct str name)
{
    set_details(s, r, name);
    return status_set(s, 404, "NotFound", STR_FMT " " STR_FMT " not found", STR_ARG(qualified(s->arena, r)),
                      STR_ARG(text_quote(s->arena, name)));
}

int status_already_exists(struct status *s, const struct resource *r, struct str name)
{
    set_details(s, r, name);
    return status_set(s, 409, "AlreadyExists", STR_FMT " " STR_FMT " already exists",
                      STR_ARG(qualified(s->arena, r)), STR_ARG(text_quote(s->arena, name)));
}

int status_conflict(struct status *s, const struct resource *r, struct str name, const char *why)
{
    if (!why)
        why = "the object has been modified; please apply your changes to the latest version and try again";
    set_details(s, r, name);
    return status_set(s, 409, "Conflict", "Operation cannot be fulfilled on " STR_FMT " " STR_FMT ": %s",
                      STR_ARG(qualified(s->arena, r)), STR_ARG(text_quote(s->arena, name)), why);
}

int status_forbidden(struct status *s, const struct resource *r, struct str name, const char *why)
{
    if (!r)
        return status_set(s, 403, "Forbidden", "forbidden: %s", why);
    struct str what = qualified(s->arena, r);
    set_details(s, r, name);
    if (str_empty(name))
        return status_set(s, 403, "Forbidden", STR_FMT " is forbidden: %s", STR_ARG(what), why);
    return status_set(s, 403, "Forbidden", STR_FMT " " STR_FMT " is forbidden: %s", STR_ARG(what),
                      STR_ARG(text_quote(s->arena, name)), why);
}

int status_method_not_supported(struct status *s, const struct resource *r, const char *action)
{
    set_details(s, r, STR_NULL);
    return status_set(s, 405, "MethodNotAllowed", "%s is not supported on resources of kind \"" STR_FMT "\"",
                      action, STR_ARG(qualified(s->arena, r)));
}

/* ---- 422 and its causes -------------------------------------------------------------------------------- */

static bool cause_same(const struct cause *a, const struct cause *b)
{
    return str_eq(a->field, b->field) && str_eq(a->message, b->message);
}

static bool cause_seen(const struct status *s, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (cause_same(&s->causes[j], &s->causes[i]))
            return true;
    return false;
}

/* "path: body", or "[a, b]" when several differ. */
static void put_causes(struct buf *b, const struct status *s)
{
    size_t start = b->n, n = 0;
    for (size_t i = 0; i < s->n_causes; i++) {
        if (cause_seen(s, i))
            continue;
        if (n++)
            buf_puts(b, ", ");
        buf_printf(b, STR_FMT ": " STR_FMT, STR_ARG(s->causes[i].field), STR_ARG(s->causes[i].message));
    }
    if (n > 1) {
        buf_putc(b, ']');
        buf_putc(b, 0); /* room for the opening bracket */
        b->n--;
        memmove(b->p + start + 1, b->p + start, b->n - start);
        b->p[start] = '[';
        b->n++;
    }
}

int status_invalid(struct status *s, struct str group, struct str kind, struct str name)
{
    if (!s->n_causes)
        return 0;
    CLEANUP_BUF struct buf b = BUF_INIT;
    buf_putstr(&b, kind);
    if (group.n)
        buf_printf(&b, "." STR_FMT, STR_ARG(group));
    buf_printf(&b, " " STR_FMT " is invalid: ", STR_ARG(text_quote(s->arena, name)));
    put_causes(&b, s);
    s->group = arena_str(s->arena, group);
    s->kind = arena_str(s->arena, kind);
    s->name = arena_str(s->arena, name);
    return set(s, 422, "Invalid", arena_str(s->arena, buf_str(&b)));
}

/* Is it among the last ones? What clients send may break one rule a million times. */
static bool said(const struct status *s, const char *reason, struct str field, struct str message)
{
    enum { LOOKED_AT = 64 };
    for (size_t i = s->n_causes; i > 0 && s->n_causes - i < LOOKED_AT; i--) {
        const struct cause *c = &s->causes[i - 1];
        if (strcmp(c->reason, reason) == 0 && str_eq(c->field, field) && str_eq(c->message, message))
            return true;
    }
    return false;
}

static void add(struct status *s, const char *reason, struct str path, struct str message)
{
    struct str field = path.n ? arena_str(s->arena, path) : STR("<nil>");
    if (said(s, reason, field, message))
        return;
    if (s->n_causes == s->cap_causes) {
        size_t cap = s->cap_causes ? 2 * s->cap_causes : 8;
        struct cause *causes = ARENA_ARRAY(s->arena, struct cause, cap);
        if (s->n_causes)
            memcpy(causes, s->causes, s->n_causes * sizeof(*causes));
        s->causes = causes;
        s->cap_causes = cap;
    }
    s->causes[s->n_causes++] = (struct cause){.reason = reason, .field = field, .message = message};
}

void cause_add(struct status *s, const char *reason, struct str path, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(s, reason, path, vprint(s->arena, fmt, ap));
    va_end(ap);
}

static void add_plain(struct status *s, const char *reason, const char *title, struct str path,
                      const char *detail)
{
    bool more = detail && detail[0];
    cause_add(s, reason, path, "%s%s%s", title, more ? ": " : "", more ? detail : "");
}

void cause_required(struct status *s, struct str path, const char *detail)
{
    add_plain(s, "FieldValueRequired", "Required value", path, detail);
}

void cause_forbidden(struct status *s, struct str path, const char *detail)
{
    add_plain(s, "FieldValueForbidden", "Forbidden", path, detail);
}

static void add_value(struct status *s, const char *reason, const char *title, struct str path,
                      const struct val *v, struct str detail)
{
    cause_add(s, reason, path, "%s: " STR_FMT "%s" STR_FMT, title, STR_ARG(text_value(s->arena, v)),
              detail.n ? ": " : "", STR_ARG(detail));
}

void cause_invalid(struct status *s, struct str path, const struct val *value, const char *detail)
{
    add_value(s, "FieldValueInvalid", "Invalid value", path, value, str_of(detail));
}

void cause_duplicate(struct status *s, struct str path, const struct val *value)
{
    add_value(s, "FieldValueDuplicate", "Duplicate value", path, value, STR_NULL);
}

void cause_not_found(struct status *s, struct str path, const struct val *value)
{
    add_value(s, "FieldValueNotFound", "Not found", path, value, STR_NULL);
}

void cause_not_supported(struct status *s, struct str path, const struct val *value,
                         const char *const *supported)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    for (size_t i = 0; supported && supported[i]; i++)
        buf_printf(&b, "%s" STR_FMT,
                   i ? ", " : "supported values: ", STR_ARG(text_quote(s->arena, str_of(supported[i]))));
    add_value(s, "FieldValueNotSupported", "Unsupported value", path, value, buf_str(&b));
}

void cause_too_long(struct status *s, struct str path, size_t max)
{
    cause_add(s, "FieldValueTooLong", path, "Too long: may not be more than %zu byte%s", max,
              max == 1 ? "" : "s");
}

void cause_too_many(struct status *s, struct str path, size_t n, size_t max)
{
    cause_add(s, "FieldValueTooMany", path, "Too many: %zu: must have at most %zu item%s", n, max,
              max == 1 ? "" : "s");
}

/* ---- the Status object --------------------------------------------------------------------------------- */

static void set_text(struct arena *a, struct val *v, name_id name, struct str s)
{
    if (s.n)
        val_set_str(a, v, name, s);
}

static void set_causes(struct arena *a, struct val *details, const struct status *s)
{
    if (!s->n_causes)
        return;
    struct val *list = val_sub_list(a, details, N_causes);
    for (size_t i = 0; i < s->n_causes; i++) {
        struct val *c = val_add_obj(a, list);
        set_text(a, c, N_reason, str_of(s->causes[i].reason));
        set_text(a, c, N_message, s->causes[i].message);
        set_text(a, c, N_field, s->causes[i].field);
    }
}

struct val *status_to_val(const struct status *s, struct arena *a)
{
    struct val *v = val_new(a, VAL_OBJ);
    val_set_str(a, v, N_kind, STR("Status"));
    val_set_str(a, v, N_apiVersion, STR("v1"));
    val_set(a, v, N_metadata, (struct val){.kind = VAL_OBJ});
    val_set_str(a, v, N_status,
                s->code && s->code < 400 ? STR("Success")
                : s->code                ? STR("Failure")
                                         : STR("Success"));
    set_text(a, v, N_message, s->message);
    set_text(a, v, N_reason, str_of(s->reason));
    if (s->name.n || s->group.n || s->kind.n || s->uid.n || s->n_causes || s->retry_after) {
        struct val *d = val_sub_obj(a, v, N_details);
        set_text(a, d, N_name, s->name);
        set_text(a, d, N_group, s->group);
        set_text(a, d, N_kind, s->kind);
        set_text(a, d, N_uid, s->uid);
        set_causes(a, d, s);
        if (s->retry_after)
            val_set_int(a, d, N_retryAfterSeconds, s->retry_after);
    }
    if (s->code)
        val_set_int(a, v, N_code, s->code);
    return v;
}

void status_from_val(struct status *s, const struct val *v)
{
    const struct val *d = val_get(v, N_details);
    struct arena *a = s->arena;
    s->code = (int)val_int(val_get(v, N_code), 0);
    s->reason = arena_cstr(a, val_getstr(v, N_reason));
    s->message = arena_str(a, val_getstr(v, N_message));
    s->name = arena_str(a, val_getstr(d, N_name));
    s->group = arena_str(a, val_getstr(d, N_group));
    s->kind = arena_str(a, val_getstr(d, N_kind));
    s->uid = arena_str(a, val_getstr(d, N_uid));
    s->retry_after = (int)val_int(val_get(d, N_retryAfterSeconds), 0);
    s->n_causes = 0;
    VAL_EACH (val_get(d, N_causes), c) {
        add(s, arena_cstr(a, val_getstr(c, N_reason)), val_getstr(c, N_field),
            arena_str(a, val_getstr(c, N_message)));
        s->causes[s->n_causes - 1].field = arena_str(a, val_getstr(c, N_field));
    }
}
