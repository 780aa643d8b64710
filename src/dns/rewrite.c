/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/rewrite.h"

#include "dns/config.h"

#include <stdio.h>
#include <strings.h>

/* ---- reading ---------------------------------------------------------------------------------------------- */

/* Names are matched with their last dot, as people write them in patterns for CoreDNS. */
static struct str with_dot(struct arena *a, struct str s)
{
    char *p = arena_cstr(a, s);
    for (char *c = p; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c;
    return s.n && p[s.n - 1] == '.' ? str_n(p, s.n) : arena_printf(a, "%s.", p);
}

static struct str lower_text(struct arena *a, struct str s)
{
    struct str dotted = with_dot(a, s);
    return s.n && s.p[s.n - 1] == '.' ? dotted : arena_str(a, str_slice(dotted, 0, dotted.n - 1));
}

static const struct {
    const char *text;
    enum rewrite_how how;
} hows[] = {{"exact", REWRITE_EXACT},
            {"prefix", REWRITE_PREFIX},
            {"suffix", REWRITE_SUFFIX},
            {"substring", REWRITE_SUBSTRING},
            {"regex", REWRITE_REGEX}};

static int how_of(struct str s)
{
    for (size_t i = 0; i < ARRAY_SIZE(hows); i++)
        if (str_is(s, hows[i].text))
            return (int)hows[i].how;
    return -1;
}

/* One word of a rule at a time. */
struct words {
    const struct directive *d;
    size_t at;
};

static struct str next(struct words *w)
{
    return w->at < w->d->n_args ? w->d->args[w->at++] : STR_NULL;
}

static int read_answer(const struct config_parse *p, struct words *w, struct rewrite_rule *rule)
{
    struct str kind = next(w);
    if (str_is(kind, "answer"))
        kind = next(w);
    if (str_is(kind, "auto")) {
        rule->automatic = true;
        return 0;
    }
    if (!str_is(kind, "name") && !str_is(kind, "value"))
        return config_refuse(p, w->d, "an answer rule is auto, name or value, not \"" STR_FMT "\"", STR_ARG(kind));
    struct str from = next(w), to = next(w);
    struct rewrite_answer *more = ARENA_ARRAY(p->a, struct rewrite_answer, rule->n_answers + 1);
    if (!to.p)
        return config_refuse(p, w->d, "an answer rule wants a pattern and what takes its place");
    if (rule->n_answers)
        memcpy(more, rule->answers, rule->n_answers * sizeof(*more));
    rule->answers = more;
    struct rewrite_answer *a = &more[rule->n_answers];
    int r = pattern_compile(p->a, from, &a->from, p->e);
    if (r < 0)
        return r;
    a->value = str_is(kind, "value");
    a->to = lower_text(p->a, to);
    rule->n_answers++;
    return 0;
}

/* [exact|prefix|suffix|substring|regex] FROM TO, and what becomes of the answer. */
static int read_name(const struct config_parse *p, struct words *w, struct rewrite_rule *rule)
{
    int how = w->d->n_args - w->at >= 3 ? how_of(w->d->args[w->at]) : -1;
    if (how >= 0)
        w->at++;
    rule->how = how < 0 ? REWRITE_EXACT : (enum rewrite_how)how;
    struct str from = next(w), to = next(w);
    if (!to.p)
        return config_refuse(p, w->d, "a name rule wants two names");
    bool whole = rule->how == REWRITE_EXACT || rule->how == REWRITE_SUFFIX;
    rule->from = whole ? with_dot(p->a, from) : lower_text(p->a, from);
    rule->to = whole ? with_dot(p->a, to) : lower_text(p->a, to);
    rule->automatic = rule->how == REWRITE_EXACT;
    int r = rule->how == REWRITE_REGEX ? pattern_compile(p->a, from, &rule->pattern, p->e) : 0;
    while (r == 0 && w->at < w->d->n_args)
        r = read_answer(p, w, rule);
    return r;
}

static int class_of(struct str s)
{
    return str_is(s, "IN") ? DNS_IN : str_is(s, "CH") ? DNS_CH : str_is(s, "HS") ? 4 : str_is(s, "ANY") ? DNS_ANY : -1;
}

static int read_numbers(const struct config_parse *p, struct words *w, struct rewrite_rule *rule)
{
    struct str from = next(w), to = next(w);
    bool type = rule->what == REWRITE_TYPE;
    int a = type ? dns_type_find(from) : class_of(from), b = type ? dns_type_find(to) : class_of(to);
    if (a < 0 || b < 0 || w->at != w->d->n_args)
        return config_refuse(p, w->d, "a %s rule wants two %s", type ? "type" : "class", type ? "types" : "classes");
    rule->from_number = (uint16_t)a;
    rule->to_number = (uint16_t)b;
    return 0;
}

/* "30", "30-", "-30", "30-60" */
static int read_ttl_range(const struct config_parse *p, const struct directive *d, struct str s, struct rewrite_rule *rule)
{
    struct str low, high;
    int64_t min = 0, max = 0;
    bool range = str_cut(s, '-', &low, &high);
    if ((low.n && str_to_i64(low, &min)) || (high.n && str_to_i64(high, &max)) || min < 0 || max < 0 || (!low.n && !high.n) ||
        MAX(min, max) > INT32_MAX)
        return config_refuse(p, d, "\"" STR_FMT "\" is no TTL", STR_ARG(s));
    rule->ttl_min = (uint32_t)min;
    rule->ttl_max = !range ? (uint32_t)min : high.n ? (uint32_t)max : INT32_MAX;
    return 0;
}

/* ttl and rcode: [how] NAME VALUE... */
static int read_answer_rule(const struct config_parse *p, struct words *w, struct rewrite_rule *rule)
{
    int how = w->d->n_args - w->at >= 3 ? how_of(w->d->args[w->at]) : -1;
    if (how >= 0)
        w->at++;
    rule->how = how < 0 ? REWRITE_EXACT : (enum rewrite_how)how;
    struct str name = next(w), value = next(w);
    if (!value.p)
        return config_refuse(p, w->d, "this rule wants a name and what becomes of its answers");
    rule->from = rule->how == REWRITE_EXACT || rule->how == REWRITE_SUFFIX ? with_dot(p->a, name) : lower_text(p->a, name);
    int r = rule->how == REWRITE_REGEX ? pattern_compile(p->a, name, &rule->pattern, p->e) : 0;
    if (r < 0)
        return r;
    if (rule->what == REWRITE_TTL)
        return read_ttl_range(p, w->d, value, rule);
    int from = dns_code_find(value), to = dns_code_find(next(w));
    if (from < 0 || to < 0)
        return config_refuse(p, w->d, "an rcode rule wants two codes");
    rule->from_number = (uint16_t)from;
    rule->to_number = (uint16_t)to;
    return 0;
}

static const struct {
    const char *text;
    enum rewrite_what what;
    int (*read)(const struct config_parse *p, struct words *w, struct rewrite_rule *rule);
} whats[] = {
    {"name", REWRITE_NAME, read_name},       {"class", REWRITE_CLASS, read_numbers},    {"type", REWRITE_TYPE, read_numbers},
    {"ttl", REWRITE_TTL, read_answer_rule}, {"rcode", REWRITE_RCODE, read_answer_rule},
};

static int read_rule(const struct config_parse *p, const struct directive *d, struct rewrite_rule *ret)
{
    struct words w = {.d = d};
    struct rewrite_rule rule = {.stop = true};
    struct str word = next(&w);
    if (str_is(word, "stop") || str_is(word, "continue")) {
        rule.stop = str_is(word, "stop");
        word = next(&w);
    }
    for (size_t i = 0; i < ARRAY_SIZE(whats); i++) {
        if (!str_is(word, whats[i].text))
            continue;
        rule.what = whats[i].what;
        int r = whats[i].read(p, &w, &rule);
        if (r == 0)
            *ret = rule;
        return r;
    }
    return config_refuse(p, d, "rewrite: \"" STR_FMT "\" is none of the rules known here: name, class, type, ttl, rcode", STR_ARG(word));
}

/* "rewrite { name A B }": the rule's words are the first line's of the block, with answer lines below it. */
static struct directive joined(struct arena *a, const struct directive *d)
{
    struct directive out = *d;
    size_t n = d->n_args;
    for (size_t i = 0; i < d->n_body; i++)
        n += 1 + d->body[i].n_args;
    out.args = ARENA_ARRAY(a, struct str, n + 1);
    out.n_args = 0;
    for (size_t i = 0; i < d->n_args; i++)
        out.args[out.n_args++] = d->args[i];
    for (size_t i = 0; i < d->n_body; i++) {
        out.args[out.n_args++] = d->body[i].name;
        for (size_t j = 0; j < d->body[i].n_args; j++)
            out.args[out.n_args++] = d->body[i].args[j];
    }
    return out;
}

int rewrite_parse(const struct config_parse *p, const struct directive *d)
{
    struct rewrites *list = &p->block->rewrites;
    struct directive flat = joined(p->a, d);
    struct rewrite_rule rule, *more;
    if (!flat.n_args)
        return config_refuse(p, d, "rewrite wants a rule");
    if (list->n == REWRITES_MAX)
        return config_refuse(p, d, "more than %d rules", REWRITES_MAX);
    int r = read_rule(p, &flat, &rule);
    if (r < 0)
        return r;
    more = ARENA_ARRAY(p->a, struct rewrite_rule, list->n + 1);
    if (list->n)
        memcpy(more, list->rules, list->n * sizeof(*more));
    more[list->n] = rule;
    list->rules = more;
    list->n++;
    p->block->waits = true;
    return 0;
}

void rewrites_done(struct rewrites *r)
{
    for (size_t i = 0; i < r->n; i++) {
        pattern_done(&r->rules[i].pattern);
        for (size_t j = 0; j < r->rules[i].n_answers; j++)
            pattern_done(&r->rules[i].answers[j].from);
    }
}

/* ---- the question ------------------------------------------------------------------------------------------- */

/* "{0}" to "{15}" in text are the groups. */
static void fill_groups(struct str text, const struct str *groups, size_t n, struct buf *out)
{
    for (size_t at = 0; at < text.n;) {
        int64_t which;
        const char *end = text.p[at] == '{' ? memchr(text.p + at, '}', text.n - at) : NULL;
        struct str digits = end ? str_slice(text, at + 1, (size_t)(end - text.p) - at - 1) : STR_NULL;
        if (digits.n && !str_to_i64(digits, &which) && which >= 0 && (size_t)which < n) {
            buf_putstr(out, groups[which]);
            at += digits.n + 2;
        } else {
            buf_putc(out, text.p[at++]);
        }
    }
}

static void replace_all(struct str s, struct str from, struct str to, struct buf *out)
{
    while (s.n) {
        const char *hit = from.n ? memmem(s.p, s.n, from.p, from.n) : NULL;
        size_t n = hit ? (size_t)(hit - s.p) : s.n;
        buf_put(out, s.p, n);
        if (hit)
            buf_putstr(out, to);
        s = str_from(s, n + (hit ? from.n : 0));
    }
}

/* Whether the rule is for that name (with its last dot); what it becomes goes to out (may be NULL). */
static bool apply(const struct rewrite_rule *r, struct str name, struct buf *out)
{
    struct str groups[PATTERN_GROUPS], to = r->to;
    bool hit = false;
    switch (r->how) {
    case REWRITE_EXACT:
        hit = str_eq(name, r->from);
        if (hit && out)
            buf_putstr(out, to);
        break;
    case REWRITE_PREFIX:
        hit = str_starts(name, r->from);
        if (hit && out)
            buf_putstr(out, to), buf_putstr(out, str_from(name, r->from.n));
        break;
    case REWRITE_SUFFIX:
        hit = str_ends(name, r->from);
        if (hit && out)
            buf_put(out, name.p, name.n - r->from.n), buf_putstr(out, to);
        break;
    case REWRITE_SUBSTRING:
        hit = str_contains(name, r->from);
        if (hit && out)
            replace_all(name, r->from, to, out);
        break;
    case REWRITE_REGEX:
        hit = pattern_find(&r->pattern, name.p, groups);
        if (hit && out)
            fill_groups(to, groups, r->pattern.n, out);
        break;
    }
    return hit;
}

/* A name as it is kept in queries: without its last dot; false when it is no name. */
static bool set_name(struct dns_query *q, struct str name)
{
    struct buf wire CLEANUP_BUF = BUF_INIT;
    while (name.n && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n >= DNS_NAME_MAX)
        return false;
    char text[DNS_NAME_MAX];
    memcpy(text, name.p ? name.p : "", name.n);
    text[name.n] = '\0';
    if (!dns_write_name(&wire, text))
        return false;
    memcpy(q->name, text, name.n + 1);
    return true;
}

static bool apply_to_question(const struct rewrite_rule *rule, struct dns_query *q)
{
    char dotted[DNS_NAME_MAX + 2];
    int n = snprintf(dotted, sizeof(dotted), "%s.", q->name);
    struct buf out CLEANUP_BUF = BUF_INIT;
    switch (rule->what) {
    case REWRITE_NAME: return apply(rule, str_n(dotted, (size_t)n), &out) && set_name(q, buf_str(&out));
    case REWRITE_TYPE:
        if (q->type != rule->from_number)
            return false;
        q->type = rule->to_number;
        return true;
    case REWRITE_CLASS:
        if (q->class_ != rule->from_number)
            return false;
        q->class_ = rule->to_number;
        return true;
    case REWRITE_TTL:
    case REWRITE_RCODE: return apply(rule, str_n(dotted, (size_t)n), NULL);
    }
    return false;
}

void rewrite_question(const struct rewrites *r, struct dns_query *q, struct buf *question, struct rewriting *ret)
{
    struct rewriting w = {.rules = r};
    for (size_t i = 0; i < r->n; i++) {
        if (!apply_to_question(&r->rules[i], q))
            continue;
        w.applied |= UINT64_C(1) << i;
        w.changed = true;
        if (r->rules[i].stop)
            break;
    }
    if (w.changed) {
        dns_write_question(question, q->name, q->type, q->class_);
        q->question = buf_str(question);
    }
    *ret = w;
}

/* ---- the answer ---------------------------------------------------------------------------------------------- */

struct reply_job {
    const struct rewriting *w;
    const struct dns_query *asked, *changed;
    struct str wire;
    struct dns_reply *out;
};

static struct str dotted_name(const char *name, char buf[static DNS_NAME_MAX + 2])
{
    int n = snprintf(buf, DNS_NAME_MAX + 2, "%s.", name);
    for (char *c = buf; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c;
    return str_n(buf, (size_t)n);
}

/* A name of the answer by the rules that the question met; true when it changed. */
static bool rename_by_rules(const struct reply_job *j, char name[static DNS_NAME_MAX], bool value)
{
    bool changed = false;
    for (size_t i = 0; i < j->w->rules->n; i++) {
        const struct rewrite_rule *rule = &j->w->rules->rules[i];
        if (!(j->w->applied >> i & 1) || rule->what != REWRITE_NAME)
            continue;
        char text[DNS_NAME_MAX + 2];
        struct str dotted = dotted_name(name, text), groups[PATTERN_GROUPS];
        struct buf out CLEANUP_BUF = BUF_INIT;
        struct rewrite_rule back = {.how = rule->how, .from = rule->to, .to = rule->from};
        bool hit = rule->automatic && rule->how != REWRITE_REGEX && apply(&back, dotted, &out);
        for (size_t k = 0; !hit && k < rule->n_answers; k++) {
            const struct rewrite_answer *a = &rule->answers[k];
            hit = a->value == value && pattern_find(&a->from, dotted.p, groups);
            if (hit)
                fill_groups(a->to, groups, a->from.n, &out);
        }
        struct dns_query q;
        if (hit && set_name(&q, buf_str(&out))) {
            memcpy(name, q.name, DNS_NAME_MAX);
            changed = true;
        }
    }
    return changed;
}

static uint32_t ttl_by_rules(const struct reply_job *j, uint32_t ttl)
{
    for (size_t i = 0; i < j->w->rules->n; i++) {
        const struct rewrite_rule *rule = &j->w->rules->rules[i];
        if (j->w->applied >> i & 1 && rule->what == REWRITE_TTL)
            ttl = MIN(MAX(ttl, rule->ttl_min), rule->ttl_max);
    }
    return ttl;
}

static bool has_target(uint16_t type)
{
    return type == DNS_CNAME || type == DNS_PTR || type == DNS_NS || type == DNS_DNAME || type == DNS_SRV || type == DNS_MX;
}

static void put_with_target(const struct reply_job *j, const char *owner, const struct dns_record *r)
{
    size_t before = r->type == DNS_SRV ? 6 : r->type == DNS_MX ? 2 : 0, at = (size_t)(r->data.p - j->wire.p) + before;
    struct buf data CLEANUP_BUF = BUF_INIT;
    char target[DNS_NAME_MAX];
    if (r->data.n < before || !dns_read_name(j->wire, &at, target) || !rename_by_rules(j, target, true)) {
        dns_put_record(j->out, r->section, owner, r, j->wire);
        return;
    }
    buf_put(&data, r->data.p, before);
    dns_write_name(&data, target);
    dns_put_data(j->out, r->section, owner, r->type, r->ttl, buf_str(&data));
}

static bool put_back(void *arg, const struct dns_record *from)
{
    const struct reply_job *j = arg;
    struct dns_record r = *from;
    r.ttl = ttl_by_rules(j, r.ttl);
    bool questions_own = !strcasecmp(r.name, j->changed->name); /* it must fit what was asked, or no resolver takes it */
    if (!questions_own)
        rename_by_rules(j, r.name, false);
    const char *owner = questions_own ? NULL : r.name;
    if (has_target(r.type))
        put_with_target(j, owner, &r);
    else
        dns_put_record(j->out, r.section, owner, &r, j->wire);
    return true;
}

void rewrite_reply(const struct rewriting *w, const struct dns_query *asked, const struct dns_query *changed, struct str wire,
                   size_t limit, struct dns_reply *ret)
{
    struct reply_job j = {w, asked, changed, wire, ret};
    unsigned code = wire.n >= DNS_HEADER ? (uint8_t)wire.p[3] & 15 : DNS_SERVFAIL;
    bool authoritative = wire.n >= DNS_HEADER && wire.p[2] & 4;
    dns_reply_start(ret, asked, limit);
    if (!dns_each_record(wire, put_back, &j))
        code = DNS_SERVFAIL;
    for (size_t i = 0; i < w->rules->n; i++) {
        const struct rewrite_rule *rule = &w->rules->rules[i];
        if (w->applied >> i & 1 && rule->what == REWRITE_RCODE && rule->from_number == code)
            code = rule->to_number;
    }
    ret->truncated = ret->truncated || (wire.n >= DNS_HEADER && wire.p[2] & 2);
    dns_reply_end(ret, (enum dns_code)code, authoritative);
}
