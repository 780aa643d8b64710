/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/template.h"

#include "dns/config.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <strings.h>

enum { MAX_EXPANDED = 4096 };

/* ---- expanding ------------------------------------------------------------------------------------------- */

struct expansion {
    const struct template *t;
    const struct dns_query *q;
    const char *zone, *remote;
    const struct cel_regex *pattern; /* NULL: only whether the text could be expanded is of interest */
    struct str groups[TEMPLATE_GROUPS];
    char name[DNS_NAME_MAX + 2]; /* with its last dot; the groups point into it */
};

static bool put_group(const struct expansion *x, struct str name, struct buf *out)
{
    int64_t which = x->pattern ? cel_regex_group(x->pattern, name) : -1;
    if (which < 0 && str_to_i64(name, &which) != 0)
        return false;
    if (which < 0 || which >= TEMPLATE_GROUPS || (x->pattern && (size_t)which > cel_regex_groups(x->pattern)))
        return false;
    buf_putstr(out, x->groups[which]);
    return true;
}

static struct str unquoted(struct str s)
{
    bool quoted = s.n > 1 && (s.p[0] == '"' || s.p[0] == '`') && s.p[s.n - 1] == s.p[0];
    return quoted ? str_slice(s, 1, s.n - 2) : s;
}

static bool put_index(const struct expansion *x, struct str rest, struct buf *out)
{
    struct str of, which;
    str_cut(str_trim(rest), ' ', &of, &which);
    return (str_is(of, ".Match") || str_is(of, ".Group")) && put_group(x, unquoted(str_trim(which)), out);
}

/* One action, without its braces; x NULL: only whether it is known. */
static bool put_action(const struct expansion *x, struct str action, struct buf *out)
{
    char type[16];
    if (str_starts(action, STR("index ")))
        return put_index(x, str_from(action, 6), out);
    if (str_starts(action, STR(".Group.")))
        return put_group(x, str_from(action, 7), out);
    if (str_is(action, ".Name") || str_is(action, ".Question.Name"))
        buf_puts(out, x->name);
    else if (str_is(action, ".Zone"))
        buf_printf(out, "%s.", x->zone);
    else if (str_is(action, ".Type"))
        buf_puts(out, dns_type_text(x->q->type, type));
    else if (str_is(action, ".Class"))
        buf_puts(out, dns_class_text(x->q->class_));
    else if (str_is(action, ".Remote"))
        buf_puts(out, x->remote);
    else
        return false;
    return true;
}

static bool expand(const struct expansion *x, struct str text, struct buf *out)
{
    while (text.n) {
        const char *open = memmem(text.p, text.n, "{{", 2);
        size_t n = open ? (size_t)(open - text.p) : text.n;
        buf_put(out, text.p, n);
        text = str_from(text, n);
        const char *close = text.n ? memmem(text.p, text.n, "}}", 2) : NULL;
        if (!open)
            break;
        if (!close || out->n > MAX_EXPANDED)
            return false;
        struct str action = str_trim(str_slice(text, 2, (size_t)(close - text.p) - 2));
        if (str_starts(action, STR("- ")))
            action = str_trim(str_from(action, 2));
        if (!put_action(x, action, out))
            return false;
        text = str_from(text, (size_t)(close - text.p) + 2);
    }
    return out->n <= MAX_EXPANDED;
}

/* ---- records as text ---------------------------------------------------------------------------------------- */

/* The next word of a zone file's line: quoted ones lose their quotes. .p NULL: there is none. */
static struct str word(struct str *line)
{
    size_t n = 0;
    *line = str_trim(*line);
    if (!line->n)
        return STR_NULL;
    if (line->p[0] == '"') {
        const char *end = memchr(line->p + 1, '"', line->n - 1);
        struct str w = str_slice(*line, 1, end ? (size_t)(end - line->p) - 1 : line->n);
        *line = str_from(*line, w.n + 2);
        return w;
    }
    while (n < line->n && line->p[n] != ' ' && line->p[n] != '\t')
        n++;
    struct str w = str_slice(*line, 0, n);
    *line = str_from(*line, n);
    return w;
}

static bool put_name_word(struct str *line, struct buf *data)
{
    struct str w = word(line);
    char text[DNS_NAME_MAX];
    if (!w.p || w.n >= sizeof(text))
        return false;
    memcpy(text, w.p, w.n);
    text[w.n] = '\0';
    return dns_write_name(data, text);
}

static bool put_number_word(struct str *line, unsigned bytes, struct buf *data)
{
    uint64_t v;
    char b[4];
    struct str w = word(line);
    if (!w.p || str_to_u64(w, &v) || v > UINT32_MAX || (bytes == 2 && v > UINT16_MAX))
        return false;
    dns_set32(b, (uint32_t)v);
    buf_put(data, b + 4 - bytes, bytes);
    return true;
}

static bool put_ip_word(struct str *line, int family, struct buf *data)
{
    struct str w = word(line);
    char text[64];
    uint8_t b[16];
    if (w.n >= sizeof(text))
        return false;
    memcpy(text, w.p ? w.p : "", w.n);
    text[w.n] = '\0';
    if (inet_pton(family, text, b) != 1)
        return false;
    buf_put(data, b, family == AF_INET ? 4 : 16);
    return true;
}

static bool put_texts(struct str *line, struct buf *data)
{
    for (struct str w = word(line); w.p; w = word(line)) {
        if (w.n > 255)
            return false;
        buf_putc(data, (char)w.n);
        buf_putstr(data, w);
    }
    return data->n > 0;
}

static bool put_text_data(int type, struct str *line, struct buf *data)
{
    switch (type) {
    case DNS_A: return put_ip_word(line, AF_INET, data);
    case DNS_AAAA: return put_ip_word(line, AF_INET6, data);
    case DNS_CNAME:
    case DNS_DNAME:
    case DNS_NS:
    case DNS_PTR: return put_name_word(line, data);
    case DNS_MX: return put_number_word(line, 2, data) && put_name_word(line, data);
    case DNS_SRV:
        return put_number_word(line, 2, data) && put_number_word(line, 2, data) && put_number_word(line, 2, data) &&
               put_name_word(line, data);
    case DNS_SOA:
        return put_name_word(line, data) && put_name_word(line, data) && put_number_word(line, 4, data) &&
               put_number_word(line, 4, data) && put_number_word(line, 4, data) && put_number_word(line, 4, data) &&
               put_number_word(line, 4, data);
    case DNS_HINFO:
    case DNS_TXT: return put_texts(line, data);
    default: return false;
    }
}

/* [TTL] [class] TYPE in any order of the first two, as RFC 1035 section 5.1 allows. */
static int read_type(struct str *line, uint32_t *ret_ttl)
{
    for (int i = 0; i < 3; i++) {
        struct str w = word(line);
        uint64_t n;
        int type = dns_type_find(w);
        if (type > 0)
            return type;
        if (w.n && !str_to_u64(w, &n) && n <= INT32_MAX)
            *ret_ttl = (uint32_t)n;
        else if (!str_is(w, "IN") && !str_is(w, "in") && !str_is(w, "CH"))
            return -1;
    }
    return -1;
}

int record_put_text(struct dns_reply *r, enum dns_section s, struct str text)
{
    struct buf data CLEANUP_BUF = BUF_INIT;
    uint32_t ttl = 3600; /* a zone file's when nothing is said */
    char owner[DNS_NAME_MAX];
    struct str name = word(&text);
    if (!name.p || name.n >= sizeof(owner))
        return -EINVAL;
    memcpy(owner, name.p, name.n);
    owner[name.n] = '\0';
    while (name.n && owner[name.n - 1] == '.')
        owner[--name.n] = '\0';
    int type = read_type(&text, &ttl);
    if (type < 0 || !put_text_data(type, &text, &data))
        return -EINVAL;
    bool questions_own = r->query && !strcasecmp(owner, r->query->name);
    dns_put_data(r, s, questions_own ? NULL : owner, (uint16_t)type, ttl, buf_str(&data));
    return 0;
}

/* ---- answering ------------------------------------------------------------------------------------------------ */

static bool matches(struct expansion *x, const struct template *t)
{
    if ((t->class_ != DNS_ANY && t->class_ != x->q->class_) || (t->type != DNS_ANY && t->type != x->q->type))
        return false;
    x->t = t;
    for (size_t i = 0; i < t->n_patterns; i++)
        if (cel_regex_match(t->patterns[i], str_of(x->name), x->groups, TEMPLATE_GROUPS)) {
            x->pattern = t->patterns[i];
            return true;
        }
    return false;
}

static int put_all(const struct expansion *x, struct dns_reply *reply, char ret_alias[static DNS_NAME_MAX])
{
    for (int s = DNS_ANSWER; s <= DNS_ADDITIONAL; s++)
        for (size_t i = 0; i < x->t->n_records; i++) {
            struct buf text CLEANUP_BUF = BUF_INIT;
            if ((int)x->t->records[i].section != s)
                continue;
            if (!expand(x, x->t->records[i].text, &text) || record_put_text(reply, (enum dns_section)s, buf_str(&text)) < 0)
                return TEMPLATE_FAILED;
            struct str line = buf_str(&text);
            uint32_t ttl;
            word(&line);
            if (s == DNS_ANSWER && (x->q->type == DNS_A || x->q->type == DNS_AAAA) && read_type(&line, &ttl) == DNS_CNAME) {
                struct str target = word(&line);
                snprintf(ret_alias, DNS_NAME_MAX, STR_FMT, STR_ARG(target));
                size_t n = strlen(ret_alias);
                while (n && ret_alias[n - 1] == '.')
                    ret_alias[--n] = '\0';
            }
        }
    return TEMPLATE_ANSWERED;
}

int template_answer(const struct templates *t, const struct dns_query *q, const char *remote, struct dns_reply *reply,
                    enum dns_code *ret_code, char ret_alias[static DNS_NAME_MAX])
{
    struct expansion x = {.q = q, .remote = remote};
    snprintf(x.name, sizeof(x.name), "%s.", q->name);
    ret_alias[0] = '\0';
    for (size_t i = 0; i < t->n; i++) {
        const struct template *one = &t->items[i];
        x.zone = dns_zone_of(one->zones, one->n_zones, str_of(q->name));
        if (!x.zone)
            continue;
        if (!matches(&x, one)) {
            bool other = (one->class_ != DNS_ANY && one->class_ != q->class_) || (one->type != DNS_ANY && one->type != q->type);
            if (other || dns_zone_of(one->fall, one->n_fall, str_of(q->name)))
                continue;
            return TEMPLATE_FAILED;
        }
        if (one->code == DNS_SERVFAIL)
            return TEMPLATE_FAILED;
        *ret_code = one->code;
        return put_all(&x, reply, ret_alias);
    }
    return TEMPLATE_NOT_OURS;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static void add_record(struct arena *a, struct template *t, enum dns_section s, struct str text)
{
    t->records = arena_grow(a, t->records, t->n_records, sizeof(*t->records));
    t->records[t->n_records++] = (struct template_record){s, text};
}

/* Every action must be one that we know: refused when the file is read, not when somebody asks. */
static int check_actions(const struct config_parse *p, const struct directive *d, struct str text)
{
    static const struct dns_query q = {.type = DNS_A, .class_ = DNS_IN};
    struct expansion x = {.q = &q, .zone = "", .remote = ""};
    for (const char *open; (open = text.n ? memmem(text.p, text.n, "{{", 2) : NULL);) {
        text = str_from(text, (size_t)(open - text.p));
        const char *close = memmem(text.p, text.n, "}}", 2);
        struct buf out CLEANUP_BUF = BUF_INIT;
        struct str action = close ? str_trim(str_slice(text, 2, (size_t)(close - text.p) - 2)) : STR_NULL;
        bool named = str_starts(action, STR(".Group.")) || str_starts(action, STR("index .Group "));
        if (!close || (!named && !put_action(&x, action, &out)))
            return config_refuse(p, d, "the template action \"" STR_FMT "\" is not known here", STR_ARG(action));
        text = str_from(text, (size_t)(close - text.p) + 2);
    }
    return 0;
}

static int read_patterns(const struct config_parse *p, const struct directive *d, struct template *t)
{
    for (size_t i = 0; i < d->n_args; i++) {
        t->patterns = arena_grow(p->a, t->patterns, t->n_patterns, sizeof(*t->patterns));
        int r = config_pattern(p, d, d->args[i], &t->patterns[t->n_patterns]);
        if (r < 0)
            return r;
        t->n_patterns++;
    }
    return d->n_args ? 0 : config_refuse(p, d, "match wants a pattern");
}

static int read_line(const struct config_parse *p, const struct directive *d, struct template *t)
{
    static const char *const sections[] = {"", "answer", "authority", "additional"};
    for (int s = DNS_ANSWER; s <= DNS_ADDITIONAL; s++) {
        if (!str_is(d->name, sections[s]))
            continue;
        for (size_t i = 0; i < d->n_args; i++) {
            int r = check_actions(p, d, d->args[i]);
            if (r < 0)
                return r;
            add_record(p->a, t, (enum dns_section)s, d->args[i]);
        }
        return d->n_args ? 0 : config_refuse(p, d, "%s wants a record", sections[s]);
    }
    if (str_is(d->name, "match"))
        return read_patterns(p, d, t);
    if (str_is(d->name, "rcode")) {
        int code = d->n_args == 1 ? dns_code_find(d->args[0]) : -1;
        t->code = (enum dns_code)MAX(code, 0);
        return code < 0 ? config_refuse(p, d, "rcode wants a code as NXDOMAIN") : 0;
    }
    if (str_is(d->name, "fallthrough"))
        return config_fall(p, d, &t->fall, &t->n_fall);
    if (str_is(d->name, "upstream"))
        return 0;
    return config_refuse(p, d, "template: \"" STR_FMT "\" is not known here", STR_ARG(d->name));
}

int template_plugin_parse(const struct config_parse *p, const struct directive *d)
{
    struct templates *list = &p->block->templates;
    if (d->n_args < 2)
        return config_refuse(p, d, "template wants a class and a type");
    list->items = arena_grow(p->a, list->items, list->n, sizeof(*list->items));
    struct template *t = &list->items[list->n++]; /* from now on templates_done knows it */
    *t = (struct template){.class_ = dns_class_find(d->args[0]), .type = dns_type_find(d->args[1])};
    p->block->waits = true;
    if (t->class_ < 0 || t->type < 0)
        return config_refuse(p, d, "template wants a class and a type");
    int r = config_zones(p, d, 2, &t->zones, &t->n_zones);
    for (size_t i = 0; r == 0 && i < d->n_body; i++)
        r = read_line(p, &d->body[i], t);
    if (r == 0 && !t->n_patterns) {
        static struct str all = {".*", 2};
        r = read_patterns(p, &(struct directive){.name = STR("match"), .args = &all, .n_args = 1}, t);
    }
    return r;
}

void templates_done(struct templates *t)
{
    for (size_t i = 0; i < t->n; i++)
        for (size_t j = 0; j < t->items[i].n_patterns; j++)
            cel_regex_free(t->items[i].patterns[j]);
}
