/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/config_file.h"

#include "base/os.h"
#include "names.h"
#include "wire/json.h"
#include "wire/yaml.h"

enum { FILE_MAX = 4 << 20 };

#define GROUP "apiserver.config.k8s.io"

static bool version_fits(struct str api_version, const char *versions)
{
    struct str group, version, rest = str_of(versions), one;
    if (!str_cut(api_version, '/', &group, &version) || !str_is(group, GROUP))
        return false;
    while (str_next(&rest, ',', &one))
        if (str_eq(one, version))
            return true;
    return false;
}

int config_file_read(struct arena *a, const char *path, const struct type *t, const char *kind, const char *versions,
                     struct str *ret_text, struct val **ret, struct err *e)
{
    struct json_report rep = {0};
    struct str text, json;
    int r = os_read_file(a, path, FILE_MAX, &text);
    if (r < 0)
        return err_set(e, r, "%s", strerror(-r));
    r = yaml_to_json(a, text, &rep, &json, e);
    if (r == 0)
        r = json_decode(a, t, json, 0, &rep, ret, e);
    if (r == 0 && rep.n)
        return err_set(e, -EINVAL, STR_FMT, STR_ARG(rep.problems[0]));
    if (r == 0 && (!str_is(val_getstr(*ret, N_kind), kind) || !version_fits(val_getstr(*ret, N_apiVersion), versions)))
        return err_set(e, -EINVAL, "expected an " GROUP "/%s %s", versions, kind);
    if (r == 0 && ret_text)
        *ret_text = text;
    return r;
}
