/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `template` of a Corefile: answers made of text with {{ .Name }} and the like. The actions are those that name answers
 * need: .Name .Zone .Class .Type .Remote .Regex .Question.Name, .Group.name, index .Match N, index .Group "name".
 */
#pragma once

#include "cel/cel.h"
#include "dns/message.h"

enum { TEMPLATE_GROUPS = 16 };

struct template_record {
    enum dns_section section;
    struct str text;
};

struct template {
    int class_, type; /* 255: any */
    const char *const *zones;
    size_t n_zones;
    struct cel_regex **patterns;
    size_t n_patterns;
    struct template_record *records;
    size_t n_records;
    enum dns_code code;
    bool falls;
    const char *const *fall;
    size_t n_fall;
};

struct templates {
    struct template *items;
    size_t n;
};

struct config_parse;
struct directive;
int template_plugin_parse(const struct config_parse *p, const struct directive *d);
void templates_done(struct templates *t);

enum template_outcome { TEMPLATE_ANSWERED, TEMPLATE_NOT_OURS, TEMPLATE_FAILED };
/* *ret_alias: the target of a CNAME whose addresses were asked for, to be asked of the rest; "" for none. */
int template_answer(const struct templates *t, const struct dns_query *q, const char *remote, struct dns_reply *reply,
                    enum dns_code *ret_code, char ret_alias[static DNS_NAME_MAX]);
/* A record as zone files write it, "name 60 IN A 1.2.3.4", into the reply: 0 or -EINVAL. */
int record_put_text(struct dns_reply *r, enum dns_section s, struct str text);
