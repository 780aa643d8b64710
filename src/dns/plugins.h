/* SPDX-License-Identifier: Apache-2.0 */
/* Private to dns/: how each plug-in of a Corefile is read. */
#pragma once

#include "dns/config.h"

/* One directive of a block: 0, or -EINVAL with a sentence, also when no plug-in of that name is known. */
int plugin_parse(const struct config_parse *p, const struct directive *d);
/* After a block's last directive: whether they go together. */
int plugins_ready(const struct config_parse *p, const struct directive *block);

int parse_acl(const struct config_parse *p, const struct directive *d);
int parse_cache(const struct config_parse *p, const struct directive *d);
int parse_forward(const struct config_parse *p, const struct directive *d);
int parse_hosts(const struct config_parse *p, const struct directive *d);
int parse_kubernetes(const struct config_parse *p, const struct directive *d);
int parse_log(const struct config_parse *p, const struct directive *d);
int parse_tls(const struct config_parse *p, const struct directive *d);
