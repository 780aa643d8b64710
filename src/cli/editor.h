/* SPDX-License-Identifier: Apache-2.0 */
/* The user's editor on a temporary file. */
#pragma once

#include "cli/select.h"

/* Lets the user edit the text: 0 with what it is then and the file it stays in (to be removed by the caller), or 1. */
int editor_run(struct cli *c, struct str text, const char *suffix, struct str *ret_text, const char **ret_file);
/* Lets the user change an object before it is created: the info's value is the new one. 0 or 1. */
int editor_edit_new(struct cli *c, struct info *i);
/* Without the lines that start with '#'. */
struct str editor_uncomment(struct cli *c, struct str text);
