/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/describe.h"

#include "base/os.h"
#include "cli/jsonpath.h"
#include "cli/tab.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "type/selector.h"

#include <ctype.h>
#include <stdio.h>
#include <time.h>

/* ---- lines ------------------------------------------------------------------------------------------------------ */

void desc_put(struct desc *d, unsigned level, const char *fmt, ...)
{
    va_list ap;
    for (; level; level--)
        buf_puts(&d->text, "  ");
    va_start(ap, fmt);
    buf_vprintf(&d->text, fmt, ap);
    va_end(ap);
}

void desc_flush(struct desc *d)
{
    tab_align(&d->done, buf_str(&d->text), TAB_DESCRIBE, NULL);
    buf_clear(&d->text);
}

/* ---- texts ------------------------------------------------------------------------------------------------------ */

struct str desc_text(struct desc *d, const struct val *v)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (!v)
        return STR("");
    text_of_value(&b, v);
    return arena_str(&d->c->a, buf_str(&b));
}

struct str desc_time(struct desc *d, const struct val *time)
{
    struct wall t = val_time(time);
    time_t seconds = (time_t)(t.ns / NSEC_PER_SEC);
    struct tm tm;
    char text[64];
    if (!val_str(time).n || !localtime_r(&seconds, &tm))
        return STR("Mon, 01 Jan 0001 00:00:00 +0000"); /* Go's zero time */
    size_t n = strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S %z", &tm);
    return arena_str(&d->c->a, str_n(text, n));
}

struct str desc_age(struct desc *d, const struct val *time)
{
    char text[TIME_TEXT_MAX];
    struct wall t = val_time(time);
    if (!val_str(time).n)
        return STR("<unknown>");
    return arena_str(&d->c->a, str_of(duration_human(os_wall().ns - t.ns, text)));
}

struct str desc_pairs(struct desc *d, const struct val *map)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    VAL_EACH_ENTRY(map, k, v)
    {
        buf_printf(&b, "%s" STR_FMT "=" STR_FMT, b.n ? "," : "", STR_ARG(val_str(k)), STR_ARG(val_str(v)));
    }
    return b.n ? arena_str(&d->c->a, buf_str(&b)) : STR("<none>");
}

struct str desc_selector(struct desc *d, const struct val *label_selector)
{
    struct selector s;
    if (selector_from_val(&d->c->a, label_selector, &s, NULL) < 0)
        return STR("<error>");
    struct str text = s.nothing ? STR("") : selector_print(&d->c->a, &s);
    return text.n ? text : STR("<none>");
}

struct str desc_join(struct desc *d, const struct val *list, const char *between)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    VAL_EACH(list, v)
    {
        buf_printf(&b, "%s" STR_FMT, b.n ? between : "", STR_ARG(desc_text(d, v)));
    }
    return arena_str(&d->c->a, buf_str(&b));
}

struct str desc_lower(struct desc *d, struct str s)
{
    struct str out = arena_str(&d->c->a, s);
    for (size_t i = 0; i < out.n; i++)
        ((char *)out.p)[i] = (char)tolower((unsigned char)out.p[i]);
    return out;
}

/* ---- labels and annotations ------------------------------------------------------------------------------------- */

void desc_labels(struct desc *d, const char *indent, const char *title, const struct val *labels)
{
    bool first = true;
    desc_put(d, 0, "%s%s:\t", indent, title);
    VAL_EACH_ENTRY(labels, k, v)
    {
        if (!first)
            desc_put(d, 0, "%s\t", indent);
        desc_put(d, 0, STR_FMT "=" STR_FMT "\n", STR_ARG(val_str(k)), STR_ARG(val_str(v)));
        first = false;
    }
    if (first)
        desc_put(d, 0, "<none>\n");
}

enum { ANNOTATION_WIDTH = 140 };

static void put_folded(struct desc *d, struct str value)
{
    struct str rest = value, line;
    while (str_next(&rest, '\n', &line)) {
        bool cut = line.n > ANNOTATION_WIDTH - 2;
        desc_put(d, 0, "\t  " STR_FMT "%s\n", STR_ARG(str_slice(line, 0, ANNOTATION_WIDTH - 2)), cut ? "..." : "");
    }
}

void desc_annotations(struct desc *d, const char *title, const struct val *annotations)
{
    bool first = true;
    desc_put(d, 0, "%s:\t", title);
    VAL_EACH_ENTRY(annotations, k, v)
    {
        struct str key = val_str(k), value = val_str(v);
        if (str_is(key, "kubectl.kubernetes.io/last-applied-configuration"))
            continue;
        if (!first)
            desc_put(d, 0, "\t");
        first = false;
        if (str_ends(value, STR("\n")))
            value.n--;
        if (value.n + key.n + 2 > ANNOTATION_WIDTH || str_find(value, '\n') >= 0) {
            desc_put(d, 0, STR_FMT ":\n", STR_ARG(key));
            put_folded(d, value);
        } else {
            desc_put(d, 0, STR_FMT ": " STR_FMT "\n", STR_ARG(key), STR_ARG(value));
        }
    }
    if (first)
        desc_put(d, 0, "<none>\n");
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static struct str controller_text(struct desc *d, const struct val *v)
{
    const struct val *ref = obj_controller(v);
    return ref ? cli_printf(d->c, STR_FMT "/" STR_FMT, STR_ARG(val_getstr(ref, N_kind)), STR_ARG(val_getstr(ref, N_name)))
               : STR_NULL;
}

static struct str row_text(struct desc *d, const struct desc_row *row, const struct val *object, const struct val *v)
{
    switch (row->kind) {
    case ROW_TEXT:
    case ROW_LIST:
        return desc_text(d, v);
    case ROW_BOOL:
        return val_bool(v, false) ? STR("True") : STR("False");
    case ROW_TIME:
        return desc_time(d, v);
    case ROW_SECONDS:
        return cli_printf(d->c, "%llds", (long long)val_int(v, 0));
    case ROW_PAIRS:
        return desc_pairs(d, v);
    case ROW_SELECTOR:
        return desc_selector(d, v);
    case ROW_JOIN:
        return desc_join(d, v, ",");
    case ROW_JOIN_SPACED:
        return desc_join(d, v, ", ");
    case ROW_CONTROLLER:
        return controller_text(d, object);
    case ROW_LABELS:
    case ROW_ANNOTATIONS:
    case ROW_TITLE:
        break;
    }
    return STR("");
}

static bool is_absent(const struct desc_row *row, const struct val *object, const struct val *v)
{
    if (row->kind == ROW_CONTROLLER)
        return !obj_controller(object);
    if (!v || v->kind == VAL_NULL || (v->kind == VAL_STR && !v->n))
        return true;
    return (row->kind == ROW_JOIN || row->kind == ROW_JOIN_SPACED) && !val_len(v);
}

void desc_rows(struct desc *d, const struct val *object, const struct desc_row *rows)
{
    for (; rows->label; rows++) {
        const struct val *v = val_path(object, rows->path);
        if (rows->kind == ROW_LABELS) {
            desc_labels(d, "", rows->label, v);
            continue;
        }
        if (rows->kind == ROW_ANNOTATIONS) {
            desc_annotations(d, rows->label, v);
            continue;
        }
        bool absent = is_absent(rows, object, v);
        if (absent && !rows->absent)
            continue;
        if (rows->kind == ROW_TITLE) {
            desc_put(d, rows->level, "%s\n", rows->label);
            continue;
        }
        struct str text = absent ? str_of(rows->absent) : row_text(d, rows, object, v);
        desc_put(d, rows->level, "%s\t" STR_FMT "\n", rows->label, STR_ARG(text));
    }
}

const struct desc_row desc_meta_rows[] = {
    {0, "Name:", ROW_TEXT, AT(N_metadata, N_name), ""},
    {0, "Namespace:", ROW_TEXT, AT(N_metadata, N_namespace), NULL},
    {0, "Labels", ROW_LABELS, AT(N_metadata, N_labels), NULL},
    {0, "Annotations", ROW_ANNOTATIONS, AT(N_metadata, N_annotations), NULL},
    {0},
};

/* ---- lists -------------------------------------------------------------------------------------------------------- */

void desc_resource_list(struct desc *d, unsigned level, const struct val *list)
{
    VAL_EACH_ENTRY(list, k, v) /* servers write maps sorted */
    {
        desc_put(d, level, STR_FMT ":\t" STR_FMT "\n", STR_ARG(val_str(k)), STR_ARG(desc_text(d, v)));
    }
}

void desc_conditions(struct desc *d, const struct val *conditions)
{
    if (!val_len(conditions))
        return;
    desc_put(d, 0, "Conditions:\n  Type\tStatus\tReason\n");
    desc_put(d, 1, "----\t------\t------\n");
    VAL_EACH(conditions, v)
    {
        desc_put(d, 1, STR_FMT " \t" STR_FMT "\t" STR_FMT "\n", STR_ARG(val_getstr(v, N_type)), STR_ARG(val_getstr(v, N_status)),
                 STR_ARG(val_getstr(v, N_reason)));
    }
}

/* Sorted by a text of each item. */
struct keyed {
    struct str key;
    const struct val *v;
};

static int compare_keyed(const void *a, const void *b)
{
    return str_cmp(((const struct keyed *)a)->key, ((const struct keyed *)b)->key);
}

static void put_toleration(struct desc *d, const struct val *v)
{
    struct str key = val_getstr(v, N_key), value = val_getstr(v, N_value), effect = val_getstr(v, N_effect);
    const struct val *seconds = val_get(v, N_tolerationSeconds);
    desc_put(d, 0, STR_FMT, STR_ARG(key));
    if (value.n)
        desc_put(d, 0, "=" STR_FMT, STR_ARG(value));
    if (effect.n)
        desc_put(d, 0, ":" STR_FMT, STR_ARG(effect));
    if (str_is(val_getstr(v, N_operator), "Exists") && !value.n)
        desc_put(d, 0, "%sop=Exists", key.n || effect.n ? " " : "");
    if (seconds)
        desc_put(d, 0, " for %llds", (long long)val_int(seconds, 0));
    desc_put(d, 0, "\n");
}

void desc_tolerations(struct desc *d, const char *title, const struct val *tolerations)
{
    size_t n = 0;
    struct keyed *all = ARENA_ARRAY(&d->c->a, struct keyed, val_len(tolerations) + 1);
    VAL_EACH(tolerations, v)
    {
        all[n++] = (struct keyed){val_getstr(v, N_key), v};
    }
    qsort(all, n, sizeof(*all), compare_keyed);
    desc_put(d, 0, "%s:\t%s", title, n ? "" : "<none>\n");
    for (size_t i = 0; i < n; i++) {
        if (i)
            desc_put(d, 0, "\t");
        put_toleration(d, all[i].v);
    }
}

void desc_taints(struct desc *d, const struct val *taints)
{
    size_t n = 0;
    struct keyed *all = ARENA_ARRAY(&d->c->a, struct keyed, val_len(taints) + 1);
    VAL_EACH(taints, v)
    {
        all[n++] = (struct keyed){cli_printf(d->c, STR_FMT "," STR_FMT, STR_ARG(val_getstr(v, N_effect)),
                                             STR_ARG(val_getstr(v, N_key))), v};
    }
    qsort(all, n, sizeof(*all), compare_keyed);
    desc_put(d, 0, "Taints:\t%s", n ? "" : "<none>\n");
    for (size_t i = 0; i < n; i++) {
        struct str value = val_getstr(all[i].v, N_value), effect = val_getstr(all[i].v, N_effect);
        desc_put(d, 0, "%s" STR_FMT "%s" STR_FMT "%s" STR_FMT "\n", i ? "\t" : "", STR_ARG(val_getstr(all[i].v, N_key)),
                 value.n ? "=" : "", STR_ARG(value), effect.n ? ":" : "", STR_ARG(effect));
    }
}

struct str access_modes(struct desc *d, const struct val *modes)
{
    static const char *const known[][2] = {{"ReadWriteOnce", "RWO"}, {"ReadOnlyMany", "ROX"}, {"ReadWriteMany", "RWX"},
                                           {"ReadWriteOncePod", "RWOP"}};
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        bool has = false;
        VAL_EACH(modes, v)
        {
            has |= str_is(val_str(v), known[i][0]);
        }
        if (has)
            buf_printf(&b, "%s%s", b.n ? "," : "", known[i][1]);
    }
    return arena_str(&d->c->a, buf_str(&b));
}

/* ---- pods of a controller ----------------------------------------------------------------------------------------- */

struct str desc_pods_status(struct desc *d, const struct info *i)
{
    static const char *const phases[] = {"Running", "Pending", "Succeeded", "Failed"};
    unsigned n[4] = {0};
    struct selector s;
    struct val *list = NULL;
    struct status st;
    const struct val *own = val_at(i->v, N_spec, N_selector);
    if (i->kind->res->index == RES_REPLICATIONCONTROLLERS)
        selector_from_map(&d->c->a, own, &s);
    else if (selector_from_val(&d->c->a, own, &s, NULL) < 0)
        return STR("error in fetching pods: invalid selector");
    struct str query = query_with(d->c, STR_NULL, "labelSelector", selector_print(&d->c->a, &s));
    if (request_list(d->c, kind_at(d->c, RES_PODS), i->ns, query, &list, &st))
        return cli_printf(d->c, "error in fetching pods: " STR_FMT, STR_ARG(st.message));
    VAL_EACH(val_get(list, N_items), pod)
    {
        for (size_t k = 0; k < ARRAY_SIZE(phases) && obj_controlled_by(pod, obj_uid(i->v)); k++)
            n[k] += str_is(val_str(val_at(pod, N_status, N_phase)), phases[k]);
    }
    return cli_printf(d->c, "%u Running / %u Waiting / %u Succeeded / %u Failed", n[0], n[1], n[2], n[3]);
}

/* ---- events ------------------------------------------------------------------------------------------------------- */

static void list_events(struct desc *d, const struct info *i, struct str uid, bool with_kind, struct val *all)
{
    struct status s;
    struct val *list = NULL;
    struct str fields = cli_printf(d->c, "involvedObject.name=" STR_FMT ",involvedObject.namespace=" STR_FMT, STR_ARG(i->name),
                                   STR_ARG(i->ns));
    if (with_kind)
        fields = cli_printf(d->c, STR_FMT ",involvedObject.kind=" STR_FMT, STR_ARG(fields), STR_ARG(i->kind->kind));
    fields = cli_printf(d->c, STR_FMT ",involvedObject.uid=" STR_FMT, STR_ARG(fields), STR_ARG(uid));
    if (request_list(d->c, kind_at(d->c, RES_EVENTS), i->ns, query_with(d->c, STR_NULL, "fieldSelector", fields), &list, &s))
        return;
    VAL_EACH(val_get(list, N_items), v)
    {
        val_add(&d->c->a, all, *v);
    }
}

static struct str event_interval(struct desc *d, const struct val *e)
{
    const struct val *series = val_get(e, N_series), *time = val_get(e, N_eventTime);
    struct str first = desc_age(d, val_str(time).n ? time : val_get(e, N_firstTimestamp));
    int64_t count = val_int(val_get(e, N_count), 0);
    if (series)
        return cli_printf(d->c, STR_FMT " (x%lld over " STR_FMT ")", STR_ARG(desc_age(d, val_get(series, N_lastObservedTime))),
                          (long long)val_int(val_get(series, N_count), 0), STR_ARG(first));
    if (count > 1)
        return cli_printf(d->c, STR_FMT " (x%lld over " STR_FMT ")", STR_ARG(desc_age(d, val_get(e, N_lastTimestamp))),
                          (long long)count, STR_ARG(first));
    return first;
}

static void put_event(struct desc *d, const struct val *e)
{
    struct str source = val_str(val_at(e, N_source, N_component)), path = val_str(val_at(e, N_involvedObject, N_fieldPath));
    if (!source.n)
        source = val_getstr(e, N_reportingComponent);
    desc_put(d, 1, STR_FMT "\t" STR_FMT "\t" STR_FMT "\t" STR_FMT "\t" STR_FMT "%s" STR_FMT "\n", STR_ARG(val_getstr(e, N_type)),
             STR_ARG(val_getstr(e, N_reason)), STR_ARG(event_interval(d, e)), STR_ARG(source), STR_ARG(path), path.n ? ": " : "",
             STR_ARG(str_trim(val_getstr(e, N_message))));
}

/* By time; the sort keeps the order of those of one second. */
static void sort_events(struct val *list)
{
    for (size_t i = 1; i < val_len(list); i++)
        for (size_t k = i; k > 0; k--) {
            struct val *a = &list->items[k - 1], *b = &list->items[k], t = *b;
            if (val_time(val_get(a, N_lastTimestamp)).ns <= val_time(val_get(b, N_lastTimestamp)).ns)
                break;
            *b = *a;
            *a = t;
        }
}

void desc_events(struct desc *d, const struct info *i)
{
    struct val *all = val_new(&d->c->a, VAL_LIST);
    unsigned res = i->kind->res ? i->kind->res->index : 0;
    struct str mirror = obj_annotation(i->v, STR("kubernetes.io/config.mirror"));
    if (!d->events)
        return;
    list_events(d, i, res == RES_PODS && mirror.n ? mirror : obj_uid(i->v), res != RES_PODS, all);
    if (res == RES_NODES) /* the kubelet gives its node's name for the uid */
        list_events(d, i, i->name, true, all);
    if (!val_len(all)) {
        desc_put(d, 0, "Events:\t<none>\n");
        return;
    }
    desc_flush(d);
    sort_events(all);
    desc_put(d, 0, "Events:\n  Type\tReason\tAge\tFrom\tMessage\n");
    desc_put(d, 1, "----\t------\t----\t----\t-------\n");
    VAL_EACH(all, v)
    {
        put_event(d, v);
    }
}
