/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the API server's own configuration (group apiserver.config.k8s.io), YAML or JSON, read strictly. */
#pragma once

#include "base/err.h"
#include "wire/schema.h"
#include "wire/value.h"

/* The one object of the file. versions: those of the group that may be used, by commas. Unknown and doubled fields are errors.
 * 0, or -errno with a sentence. ret_text (may be NULL): the file as it was read. */
int config_file_read(struct arena *a, const char *path, const struct type *t, const char *kind, const char *versions,
                     struct str *ret_text, struct val **ret, struct err *e);
