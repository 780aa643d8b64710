/* SPDX-License-Identifier: Apache-2.0 */
/* What the server says of a definition: which of its names it got, whether it is served (upstream's naming, establishing and
 * API approval controllers). Pure. */
#include "apiserver/custom.h"

#include "names.h"
#include "type/meta.h"
#include "type/text.h"

/* ---- names --------------------------------------------------------------------------------------------- */

static bool has(const struct str *names, size_t n, struct str name)
{
    for (size_t i = 0; name.n && i < n; i++)
        if (str_eq(names[i], name))
            return true;
    return false;
}

static struct str in_use(struct arena *a, struct str name)
{
    return arena_printf(a, STR_FMT " is already in use", STR_ARG(text_quote(a, name)));
}

static const struct {
    name_id name;
    bool kind;
    const char *reason;
} single_names[] = {
    {N_plural, false, "PluralConflict"},
    {N_singular, false, "SingularConflict"},
    {N_kind, true, "KindConflict"},
    {N_listKind, true, "ListKindConflict"},
};

struct naming {
    const char *reason; /* NULL: no conflict */
    struct str message;
};

/* Only free short names are taken, all or none of them. */
static void accept_short_names(struct arena *a, struct val *accepted, const struct val *wanted, const struct custom_names *taken,
                               struct naming *n)
{
    const struct val *had = val_get(accepted, N_shortNames);
    size_t faults = 0;
    struct str *texts = ARENA_ARRAY(a, struct str, val_len(val_get(wanted, N_shortNames)) + 1);
    VAL_EACH (val_get(wanted, N_shortNames), s) {
        bool ours = false;
        VAL_EACH (had, h)
            ours = ours || val_equal(h, s);
        if (!ours && has(taken->resources, taken->n_resources, val_str(s)))
            texts[faults++] = in_use(a, val_str(s));
    }
    if (!faults) {
        val_set_ref(a, accepted, N_shortNames, val_get(wanted, N_shortNames));
        return;
    }
    struct str all = arena_join(a, texts, faults, STR(", "));
    *n = (struct naming){"ShortNamesConflict", faults > 1 ? arena_printf(a, "[" STR_FMT "]", STR_ARG(all)) : all};
}

static struct naming accept_names(struct arena *a, struct val *accepted, const struct val *wanted, const struct custom_names *taken)
{
    struct naming n = {.reason = NULL};
    for (size_t i = 0; i < ARRAY_SIZE(single_names); i++) {
        bool kind = single_names[i].kind;
        struct str name = val_getstr(wanted, single_names[i].name);
        bool used = has(kind ? taken->kinds : taken->resources, kind ? taken->n_kinds : taken->n_resources, name);
        if (i == 2)
            accept_short_names(a, accepted, wanted, taken, &n);
        if (used && !str_eq(name, val_getstr(accepted, single_names[i].name)))
            n = (struct naming){single_names[i].reason, in_use(a, name)};
        else
            val_set_ref(a, accepted, single_names[i].name, val_get(wanted, single_names[i].name));
    }
    val_set_ref(a, accepted, N_categories, val_get(wanted, N_categories));
    return n;
}

/* ---- conditions ---------------------------------------------------------------------------------------- */

static void establish(struct arena *a, struct val *conditions, bool named, struct wall now)
{
    const struct val *had = condition_find(conditions, STR("Established"));
    if (str_is(val_getstr(had, N_status), "True"))
        return;
    if (named)
        condition_set(a, conditions, STR("Established"), "True", "InitialNamesAccepted", STR("the initial names have been accepted"), now);
    else if (!had)
        condition_set(a, conditions, STR("Established"), "False", "NotAccepted", STR("not all names are accepted"), now);
}

static bool is_protected(struct str group)
{
    return str_is(group, "k8s.io") || str_is(group, "kubernetes.io") || str_ends(group, STR(".k8s.io")) ||
           str_ends(group, STR(".kubernetes.io"));
}

/* Groups of the project's own need a pull request's address, or the word that there is none. */
static void judge_approval(struct arena *a, struct val *conditions, const struct val *crd, struct wall now)
{
    static const char key[] = "api-approved.kubernetes.io";
    struct str said = obj_annotation(crd, str_of(key)), type = STR("KubernetesAPIApprovalPolicyConformant");
    if (!is_protected(val_str(val_at(crd, N_spec, N_group))))
        return;
    if (!said.n)
        condition_set(a, conditions, type, "False", "MissingAnnotation",
                      STR("protected groups must have approval annotation \"api-approved.kubernetes.io\", see "
                          "https://github.com/kubernetes/enhancements/pull/1111"), now);
    else if (str_starts(said, STR("unapproved")))
        condition_set(a, conditions, type, "False", "UnapprovedAnnotation",
                      arena_printf(a, "not approved: \"" STR_FMT "\"", STR_ARG(said)), now);
    else if (str_starts(said, STR("https://")) || str_starts(said, STR("http://")))
        condition_set(a, conditions, type, "True", "ApprovedAnnotation", arena_printf(a, "approved in " STR_FMT, STR_ARG(said)), now);
    else
        condition_set(a, conditions, type, "False", "InvalidAnnotation",
                      arena_printf(a, "protected groups must have approval annotation \"%s\" with either a URL or a reason starting with "
                                      "\"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111", key), now);
}

bool custom_judge(struct arena *a, struct val *crd, const struct custom_names *taken, struct wall now)
{
    const struct val *was = val_copy(a, val_get(crd, N_status));
    struct val *status = val_sub_obj(a, crd, N_status), *conditions = val_sub_list(a, status, N_conditions);
    struct naming n = accept_names(a, val_sub_obj(a, status, N_acceptedNames), val_at(crd, N_spec, N_names), taken);
    conditions = val_sub_list(a, status, N_conditions);
    condition_set(a, conditions, STR("NamesAccepted"), n.reason ? "False" : "True", n.reason ? n.reason : "NoConflicts",
                  n.reason ? n.message : STR("no conflicts found"), now);
    establish(a, conditions, !n.reason, now);
    judge_approval(a, conditions, crd, now);
    return !val_equal(was, status);
}
