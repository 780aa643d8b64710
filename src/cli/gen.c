/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/gen.h"

#include "names.h"
#include "type/check.h"
#include "wire/yaml.h"

struct val *gen_object(struct cli *c, const struct kind *k, struct str name)
{
    struct arena *a = &c->a;
    struct val *v = val_new(a, VAL_OBJ);
    val_set_str(a, v, N_kind, k->kind);
    val_set_str(a, v, N_apiVersion, k->api_version);
    struct val *meta = val_sub_obj(a, v, N_metadata);
    val_set_str(a, meta, N_name, name);
    if (k->namespaced && c->ns_given)
        val_set_str(a, meta, N_namespace, c->ns);
    return v;
}

int gen_labels(struct cli *c, const char *text, struct val **ret)
{
    struct str rest = str_of(text), part, key, value;
    struct val *map = val_new(&c->a, VAL_MAP);
    while (text && text[0] && str_next(&rest, ',', &part)) {
        if (!str_cut(part, '=', &key, &value) || str_find(value, '=') >= 0)
            return cli_fail(c, "unexpected label spec: " STR_FMT, STR_ARG(part));
        if (!key.n)
            return cli_fail(c, "unexpected empty label key");
        val_put_str(&c->a, map, key, value);
    }
    *ret = map;
    return 0;
}

int gen_env(struct cli *c, struct val *list, const char *text)
{
    struct str name, value;
    struct check bad = {.n = 0};
    bool has_value = str_cut(str_of(text), '=', &name, &value);
    check_env_name(&bad, name);
    if (!has_value || !name.n || bad.n)
        return cli_fail(c, "invalid env: %s", text);
    struct val *v = val_add_obj(&c->a, list);
    val_set_str(&c->a, v, N_name, name);
    if (value.n)
        val_set_str(&c->a, v, N_value, value);
    return 0;
}

struct val gen_port(struct cli *c, struct str text)
{
    int64_t n;
    if (str_to_i64(text, &n) == 0)
        return val_of_int(n);
    return val_of_str(arena_str(&c->a, text));
}

int gen_override(struct cli *c, const struct overrides *o, const struct type *t, struct val **v)
{
    static const struct {
        const char *word;
        enum patch_kind kind;
    } words[] = {{"merge", PATCH_MERGE}, {"strategic", PATCH_STRATEGIC}, {"json", PATCH_JSON}};
    const char *word = o->type && o->type[0] ? o->type : "merge";
    struct err e = {0};
    struct str patch;
    struct status s;
    if (!o->text || !o->text[0])
        return 0;
    if (yaml_to_json(&c->a, str_of(o->text), NULL, &patch, &e) < 0)
        return cli_fail(c, "invalid overrides: %s", e.text);
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (strcmp(word, words[i].word))
            continue;
        status_init(&s, &c->a);
        return patch_apply(&c->a, words[i].kind, t, *v, patch, NULL, v, &s) ? cli_refused(c, &s) : 0;
    }
    return cli_fail(c, "invalid override type: %s", word);
}
