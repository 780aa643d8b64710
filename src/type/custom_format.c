/* SPDX-License-Identifier: Apache-2.0 */
#include "type/custom_format.h"

#include <arpa/inet.h>
#include <strings.h>

#include "base/base64.h"
#include "base/time.h"
#include "type/validate-internal.h"

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool hex(char c)
{
    return digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* A form letter by letter: 0 a digit, x a hexadecimal one, anything else itself. */
static bool like(struct str s, const char *form)
{
    if (s.n != strlen(form))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (form[i] == '0' ? !digit(s.p[i]) : form[i] == 'x' ? !hex(s.p[i]) : form[i] != s.p[i])
            return false;
    return true;
}

static int number(struct str s, size_t at, size_t n)
{
    int v = 0;
    for (size_t i = at; i < at + n; i++)
        v = v * 10 + s.p[i] - '0';
    return v;
}

/* ---- time ---------------------------------------------------------------------------------------------- */

static bool is_date(struct str s)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (!like(s, "0000-00-00"))
        return false;
    int year = number(s, 0, 4), month = number(s, 5, 2), day = number(s, 8, 2);
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] + (leap && month == 2);
}

static bool is_zone(struct str s)
{
    if (str_is(s, "Z") || str_is(s, "z"))
        return true;
    return s.n == 6 && (s.p[0] == '+' || s.p[0] == '-') && like(str_from(s, 1), "00:00");
}

static bool is_date_time(struct str s)
{
    if (s.n < 20 || !is_date(str_n(s.p, 10)) || (s.p[10] != 'T' && s.p[10] != 't') || !like(str_slice(s, 11, 8), "00:00:00"))
        return false;
    struct str rest = str_from(s, 19);
    if (number(s, 11, 2) > 23 || number(s, 14, 2) > 59 || number(s, 17, 2) > 59)
        return false;
    if (rest.n && rest.p[0] == '.') {
        size_t n = 1;
        while (n < rest.n && digit(rest.p[n]))
            n++;
        rest = n > 1 ? str_from(rest, n) : STR("");
    }
    return is_zone(rest);
}

/* Go's durations, and anything with a number and a unit in it ("2 days"): the last word of a unit may go on. */
static bool is_duration(struct str s)
{
    static const struct {
        const char *word;
        bool prefix;
    } units[] = {{"ns", false}, {"nano", true}, {"us", false}, {"µs", false}, {"micro", true}, {"ms", false}, {"milli", true},
                 {"s", false},  {"sec", true},  {"m", false},  {"min", true},  {"h", false},     {"hr", false}, {"hour", true},
                 {"d", false},  {"day", true},  {"w", false},  {"wk", false},  {"week", true}};
    int64_t ns;
    if (duration_parse(s, &ns) == 0)
        return true;
    for (size_t i = 0; i < s.n;) {
        size_t digits = i, unit, end;
        while (digits < s.n && digit(s.p[digits]))
            digits++;
        for (unit = digits; unit < s.n && strchr(" \t\n\f\r", s.p[unit]); unit++)
            ;
        for (end = unit; end < s.n && (letter(s.p[end]) || str_starts(str_from(s, end), STR("µ")) || str_starts(str_from(s, end - 1), STR("µ")));)
            end++;
        struct str word = str_n(s.p + unit, end - unit);
        for (size_t k = 0; digits > i && k < ARRAY_SIZE(units); k++) {
            struct str known = str_of(units[k].word);
            if (word.n >= known.n && strncasecmp(word.p, known.p, known.n) == 0 && (units[k].prefix || word.n == known.n))
                return true;
        }
        i = digits > i ? digits : i + 1;
    }
    return false;
}

/* ---- addresses and names ------------------------------------------------------------------------------- */

static bool is_address(struct str s, int family)
{
    char text[64];
    unsigned char bin[16];
    if (!s.n || s.n >= sizeof(text))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    return inet_pton(family, text, bin) == 1;
}

static bool is_ipv4(struct str s)
{
    return is_address(s, AF_INET);
}

static bool is_ipv6(struct str s)
{
    return is_address(s, AF_INET6);
}

static bool passes(check_fn *fn, struct str s)
{
    struct check c = {.n = 0};
    fn(&c, s);
    return c.n == 0;
}

static bool is_cidr(struct str s)
{
    struct str host, bits;
    int64_t n;
    return str_cut(s, '/', &host, &bits) && str_to_i64(bits, &n) == 0 && n >= 0 &&
           ((is_ipv4(host) && n <= 32) || (is_ipv6(host) && n <= 128));
}

static bool is_mac(struct str s)
{
    return like(s, "xx:xx:xx:xx:xx:xx") || like(s, "xx-xx-xx-xx-xx-xx") || like(s, "xxxx.xxxx.xxxx") ||
           like(s, "xx:xx:xx:xx:xx:xx:xx:xx") || like(s, "xx-xx-xx-xx-xx-xx-xx-xx");
}

/* Letters, digits and signs such as "=" (Unicode's symbols; of other bytes than ASCII any). */
static bool of_host(char c)
{
    return letter(c) || digit(c) || (unsigned char)c >= 0x80 || (c && strchr("$+<=>^`|~", c));
}

/* Of a name without dots only the second character may be a dash. */
static bool is_label(struct str s, bool alone)
{
    if (!s.n || s.n > (alone ? 64 : 63) || s.p[s.n - 1] == '-')
        return alone && s.n == 2 && of_host(s.p[0]);
    for (size_t i = 0; i < s.n; i++)
        if (!of_host(s.p[i]) && !(s.p[i] == '-' && (alone ? i == 1 : i > 0)))
            return false;
    return true;
}

static bool is_hostname(struct str s)
{
    struct str label, rest = s;
    size_t n = 0;
    if (!s.n || s.n > 255)
        return false;
    if (str_find(s, '.') < 0)
        return s.n <= 63 && is_label(s, true);
    while (str_find(rest, '.') >= 0) {
        str_cut(rest, '.', &label, &rest);
        if (!is_label(label, false))
            return false;
    }
    for (; n < rest.n && (letter(rest.p[n]) || (unsigned char)rest.p[n] >= 0x80); n++)
        ;
    return n == rest.n && n >= 2 && n <= 63;
}

/* RFC 5322's dot-atom. */
static bool is_dot_atom(struct str s)
{
    char before = '.';
    for (size_t i = 0; i < s.n; before = s.p[i++]) {
        char c = s.p[i];
        bool dot = c == '.' && before != '.';
        if (!dot && !letter(c) && !digit(c) && (unsigned char)c < 0x80 && !(c && strchr("!#$%&'*+-/=?^_`{|}~", c)))
            return false;
    }
    return before != '.';
}

static bool is_email(struct str s)
{
    struct str who, where;
    return str_cut(s, '@', &who, &where) && is_dot_atom(who) && is_dot_atom(where);
}

/* An absolute one, or an absolute path. */
static bool is_uri(struct str s)
{
    struct str scheme, rest;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= 0x20 || s.p[i] == 0x7f)
            return false;
    if (s.n && s.p[0] == '/')
        return true;
    if (!str_cut(s, ':', &scheme, &rest) || !scheme.n || !letter(scheme.p[0]))
        return false;
    for (size_t i = 1; i < scheme.n; i++)
        if (!letter(scheme.p[i]) && !digit(scheme.p[i]) && scheme.p[i] != '+' && scheme.p[i] != '-' && scheme.p[i] != '.')
            return false;
    return true;
}

static bool is_short_name(struct str s)
{
    return passes(check_label_of_dns, s);
}

static bool is_long_name(struct str s)
{
    return passes(check_subdomain, s);
}

/* ---- identifiers --------------------------------------------------------------------------------------- */

/* Each dash may be left out. version: its digit, 0: any; variant: the first of the fourth group is 8, 9, a or b. */
static bool is_uuid_of(struct str s, char version, bool variant)
{
    static const int groups[] = {8, 4, 4, 4, 12};
    size_t at = 0;
    for (size_t g = 0; g < ARRAY_SIZE(groups); g++) {
        if (g && at < s.n && s.p[at] == '-')
            at++;
        if ((g == 2 && version && at < s.n && s.p[at] != version) || (g == 3 && variant && at < s.n && !strchr("89abAB", s.p[at])))
            return false;
        for (int i = 0; i < groups[g]; i++, at++)
            if (at >= s.n || !hex(s.p[at]))
                return false;
    }
    return at == s.n;
}

static bool is_uuid(struct str s)
{
    return is_uuid_of(s, 0, false);
}

static bool is_uuid3(struct str s)
{
    return is_uuid_of(s, '3', false);
}

static bool is_uuid4(struct str s)
{
    return is_uuid_of(s, '4', true);
}

static bool is_uuid5(struct str s)
{
    return is_uuid_of(s, '5', true);
}

static bool is_object_id(struct str s)
{
    return like(s, "xxxxxxxxxxxxxxxxxxxxxxxx");
}

/* Digits with blanks and dashes between them; X (ten) may be the last. */
static size_t digits_of(struct str s, int *d, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '-' || s.p[i] == ' ')
            continue;
        if (n == max || (!digit(s.p[i]) && (s.p[i] != 'X' || i + 1 < s.n)))
            return 0;
        d[n++] = s.p[i] == 'X' ? 10 : s.p[i] - '0';
    }
    return n;
}

static bool is_isbn10(struct str s)
{
    int d[13], sum = 0;
    if (digits_of(s, d, 13) != 10)
        return false;
    for (int i = 0; i < 10; i++)
        sum += (10 - i) * d[i];
    return sum % 11 == 0;
}

static bool is_isbn13(struct str s)
{
    int d[13], sum = 0;
    if (digits_of(s, d, 13) != 13 || d[12] > 9)
        return false;
    for (int i = 0; i < 13; i++)
        sum += (i % 2 ? 3 : 1) * d[i];
    return sum % 10 == 0;
}

static bool is_isbn(struct str s)
{
    return is_isbn10(s) || is_isbn13(s);
}

/* By Luhn's sum. */
static bool is_credit_card(struct str s)
{
    int d[19], sum = 0;
    size_t n = digits_of(s, d, 19);
    if (n < 13)
        return false;
    for (size_t i = 0; i < n; i++) {
        int x = d[n - 1 - i] * (i % 2 ? 2 : 1);
        sum += x > 9 ? x - 9 : x;
    }
    return sum % 10 == 0;
}

static bool is_ssn(struct str s)
{
    return like(s, "000-00-0000") || like(s, "000 00 0000") || like(s, "000000000");
}

/* ---- others -------------------------------------------------------------------------------------------- */

static bool is_hex_color(struct str s)
{
    if (s.n && s.p[0] == '#')
        s = str_from(s, 1);
    return like(s, "xxx") || like(s, "xxxxxx");
}

static bool is_rgb_color(struct str s)
{
    struct str part;
    int n = 0;
    if (!str_starts(s, STR("rgb(")) || s.p[s.n - 1] != ')')
        return false;
    s = str_slice(s, 4, s.n - 5);
    for (; str_next(&s, ',', &part); n++) {
        int64_t v;
        if (str_to_i64(str_trim(part), &v) < 0 || v < 0 || v > 255)
            return false;
    }
    return n == 3;
}

static bool is_base64(struct str s)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    return s.n && base64_take(&b, s) == 0;
}

static const struct {
    const char *name;
    bool (*fits)(struct str s);
} formats[] = {
    {"date", is_date},         {"date-time", is_date_time}, {"datetime", is_date_time}, {"duration", is_duration},
    {"ipv4", is_ipv4},         {"ipv6", is_ipv6},           {"cidr", is_cidr},          {"mac", is_mac},
    {"hostname", is_hostname}, {"email", is_email},         {"uri", is_uri},            {"k8s-short-name", is_short_name},
    {"k8s-long-name", is_long_name}, {"uuid", is_uuid},     {"uuid3", is_uuid3},        {"uuid4", is_uuid4},
    {"uuid5", is_uuid5},       {"bsonobjectid", is_object_id}, {"isbn", is_isbn},       {"isbn10", is_isbn10},
    {"isbn13", is_isbn13},     {"creditcard", is_credit_card}, {"ssn", is_ssn},         {"hexcolor", is_hex_color},
    {"rgbcolor", is_rgb_color}, {"byte", is_base64},
};

bool custom_format_known(struct str format)
{
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
        if (str_is(format, formats[i].name))
            return true;
    return str_is(format, "password");
}

bool custom_format_fits(struct str format, struct str s)
{
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
        if (str_is(format, formats[i].name))
            return formats[i].fits(s);
    return true;
}
