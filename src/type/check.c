/* SPDX-License-Identifier: Apache-2.0 */
#include "type/check.h"

#include <arpa/inet.h>

#include "type/meta.h"

static void say(struct check *c, const char *text)
{
    if (c->n < CHECK_MAX)
        c->texts[c->n++] = text;
}

/* ---- classes of characters ----------------------------------------------------------------------------- */

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}
static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static bool is_lower_alnum(char c)
{
    return is_lower(c) || is_digit(c);
}
static bool is_alpha(char c)
{
    return is_lower(c) || (c >= 'A' && c <= 'Z');
}
static bool is_alnum(char c)
{
    return is_alpha(c) || is_digit(c);
}
static bool is_label_char(char c)
{
    return is_lower_alnum(c) || c == '-';
}
static bool is_key_char(char c)
{
    return is_alnum(c) || c == '-' || c == '_' || c == '.';
}
static bool is_identifier_char(char c)
{
    return is_alnum(c) || c == '_';
}
static bool is_header_char(char c)
{
    return is_alnum(c) || c == '-';
}

static bool all(struct str s, bool (*is)(char))
{
    for (size_t i = 0; i < s.n; i++)
        if (!is(s.p[i]))
            return false;
    return true;
}

/* Not empty, made of `inner`, first and last of `outer`. */
static bool shaped(struct str s, bool (*outer)(char), bool (*inner)(char))
{
    return s.n && outer(s.p[0]) && outer(s.p[s.n - 1]) && all(s, inner);
}

static bool is_subdomain(struct str s)
{
    struct str rest = s, part;
    if (!s.n)
        return false;
    while (str_next(&rest, '.', &part))
        if (!shaped(part, is_lower_alnum, is_label_char))
            return false;
    return true;
}

/* ---- DNS names ----------------------------------------------------------------------------------------- */

#define LABEL_RE "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#define SUBDOMAIN_RE LABEL_RE "(\\." LABEL_RE ")*"
#define SUBDOMAIN_TEXT                                                                                       \
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "    \
    "must start "                                                                                            \
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "              \
    "'" SUBDOMAIN_RE "')"

void check_label_of_dns(struct check *c, struct str s)
{
    if (s.n > 63)
        say(c, "must be no more than 63 characters");
    if (shaped(s, is_lower_alnum, is_label_char))
        return;
    say(c, is_subdomain(s) ? "must not contain dots"
                           : "a lowercase RFC 1123 label must consist of lower case alphanumeric characters "
                             "or '-', and must start and "
                             "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
                             "for validation is "
                             "'" LABEL_RE "')");
}

void check_label_of_dns1035(struct check *c, struct str s)
{
    if (s.n > 63)
        say(c, "must be no more than 63 characters");
    if (!shaped(s, is_lower_alnum, is_label_char) || !is_lower(s.p[0]))
        say(c, "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
               "alphabetic "
               "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used "
               "for "
               "validation is '[a-z]([-a-z0-9]*[a-z0-9])?')");
}

void check_subdomain(struct check *c, struct str s)
{
    if (s.n > 253)
        say(c, "must be no more than 253 characters");
    if (!is_subdomain(s))
        say(c, SUBDOMAIN_TEXT);
}

void check_wildcard_subdomain(struct check *c, struct str s)
{
    if (s.n > 253)
        say(c, "must be no more than 253 characters");
    if (!str_starts(s, STR("*.")) || !is_subdomain(str_from(s, 2)))
        say(c,
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which "
            "must consist "
            "of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. "
            "'*.example.com', regex used for validation is '\\*\\." SUBDOMAIN_RE "')");
}

/* ---- labels -------------------------------------------------------------------------------------------- */

#define KEY_RE "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
#define KEY_TEXT                                                                                             \
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric " \
    "character "                                                                                             \
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '" KEY_RE "')"

static void check_key_prefix(struct check *c, struct str prefix)
{
    if (!prefix.n) {
        say(c, "prefix part must be non-empty");
        return;
    }
    if (prefix.n > 253)
        say(c, "prefix part must be no more than 253 bytes");
    if (!is_subdomain(prefix))
        say(c, "prefix part " SUBDOMAIN_TEXT);
}

void check_label_key(struct check *c, struct str s)
{
    struct str prefix, name = s, rest;
    if (str_cut(s, '/', &prefix, &rest)) {
        if (str_find(rest, '/') >= 0) {
            say(c, "a valid label key " KEY_TEXT
                   " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')");
            return;
        }
        check_key_prefix(c, prefix);
        name = rest;
    }
    if (!name.n)
        say(c, "name part must be non-empty");
    else if (name.n > 63)
        say(c, "name part must be no more than 63 bytes");
    if (!shaped(name, is_alnum, is_key_char))
        say(c, "name part " KEY_TEXT);
}

void check_label_text(struct check *c, struct str s)
{
    if (s.n > 63)
        say(c, "must be no more than 63 bytes");
    if (s.n && !shaped(s, is_alnum, is_key_char))
        say(c, "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
               "'.', and must "
               "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', "
               "regex used for "
               "validation is '(" KEY_RE ")?')");
}

/* ---- other names --------------------------------------------------------------------------------------- */

static bool is_env_char(char c)
{
    return c >= ' ' && c <= '~' && c != '=';
}

void check_env_name(struct check *c, struct str s)
{
    if (!s.n)
        say(c, "environment variable name must be non-empty");
    if (!all(s, is_env_char))
        say(c, "a valid environment variable name must consist only of printable ASCII characters other than "
               "'='");
}

static void check_dots(struct check *c, struct str s)
{
    if (str_is(s, "."))
        say(c, "must not be '.'");
    else if (str_is(s, ".."))
        say(c, "must not be '..'");
    else if (str_starts(s, STR("..")))
        say(c, "must not start with '..'");
}

void check_config_key(struct check *c, struct str s)
{
    if (s.n > 253)
        say(c, "must be no more than 253 characters");
    if (!s.n || !all(s, is_key_char))
        say(c, "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
               "'key.name',  or "
               "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')");
    check_dots(c, s);
}

void check_port_name(struct check *c, struct str s)
{
    bool letter = false;
    for (size_t i = 0; i < s.n; i++)
        letter = letter || is_lower(s.p[i]);
    if (s.n > 15)
        say(c, "must be no more than 15 characters");
    if (!s.n || !all(s, is_label_char))
        say(c, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    if (!letter)
        say(c, "must contain at least one letter (a-z)");
    if (str_contains(s, STR("--")))
        say(c, "must not contain consecutive hyphens");
    if (s.n && (s.p[0] == '-' || s.p[s.n - 1] == '-'))
        say(c, "must not begin or end with a hyphen");
}

void check_c_identifier(struct check *c, struct str s)
{
    if (!s.n || is_digit(s.p[0]) || !all(s, is_identifier_char))
        say(c, "a valid C identifier must start with alphabetic character or '_', followed by a string of "
               "alphanumeric "
               "characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is "
               "'[A-Za-z_][A-Za-z0-9_]*')");
}

void check_percent(struct check *c, struct str s)
{
    if (s.n < 2 || s.p[s.n - 1] != '%' || !all(str_slice(s, 0, s.n - 1), is_digit))
        say(c, "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or "
               "'93%', regex "
               "used for validation is '[0-9]+%')");
}

void check_http_header(struct check *c, struct str s)
{
    if (!s.n || !all(s, is_header_char))
        say(c, "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', "
               "regex used for "
               "validation is '[-A-Za-z0-9]+')");
}

void check_path_segment(struct check *c, struct str s)
{
    if (str_is(s, "."))
        say(c, "may not be '.'");
    else if (str_is(s, ".."))
        say(c, "may not be '..'");
    if (str_find(s, '/') >= 0)
        say(c, "may not contain '/'");
    if (str_find(s, '%') >= 0)
        say(c, "may not contain '%'");
}

/* ---- addresses ----------------------------------------------------------------------------------------- */

static bool ip_family(struct str s, int *ret_family)
{
    char text[INET6_ADDRSTRLEN + 1];
    unsigned char addr[16];
    if (s.n >= sizeof(text) || memchr(s.p ? s.p : "", 0, s.n))
        return false;
    memcpy(text, s.p ? s.p : "", s.n);
    text[s.n] = 0;
    *ret_family = str_find(s, ':') >= 0 ? AF_INET6 : AF_INET;
    return inet_pton(*ret_family, text, addr) == 1;
}

void check_ip(struct check *c, struct str s)
{
    int family;
    if (!ip_family(s, &family))
        say(c, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
}

void check_cidr(struct check *c, struct str s)
{
    struct str ip, bits;
    int family;
    uint64_t n = 0;
    bool right = str_cut(s, '/', &ip, &bits) && ip_family(ip, &family) && bits.n && bits.n <= 3 &&
                 all(bits, is_digit) && (bits.n == 1 || bits.p[0] != '0') && str_to_u64(bits, &n) == 0 &&
                 n <= (family == AF_INET ? 32 : 128);
    if (!right)
        say(c, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
}

/* ---- by name ------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    check_fn *fn;
} formats[] = {
    {"dns-label", check_label_of_dns},
    {"dns-subdomain", check_subdomain},
    {"dns-label-1035", check_label_of_dns1035},
    {"qualified-name", check_label_key},
    {"label-key", check_label_key},
    {"label-value", check_label_text},
    {"env-name", check_env_name},
    {"config-key", check_config_key},
    {"port-name", check_port_name},
    {"ip", check_ip},
    {"cidr", check_cidr},
    {"path-segment", check_path_segment},
};

check_fn *check_find(const char *format)
{
    for (size_t i = 0; format && i < ARRAY_SIZE(formats); i++)
        if (strcmp(formats[i].name, format) == 0)
            return formats[i].fn;
    return NULL;
}

static const char *first(check_fn *fn, struct str s)
{
    struct check c = {0};
    fn(&c, s);
    return c.n ? c.texts[0] : NULL;
}

const char *check_dns_label(struct str s)
{
    return first(check_label_of_dns, s);
}
const char *check_dns_subdomain(struct str s)
{
    return first(check_subdomain, s);
}
const char *check_dns1035_label(struct str s)
{
    return first(check_label_of_dns1035, s);
}
const char *check_qualified_name(struct str s)
{
    return first(check_label_key, s);
}
const char *check_label_value(struct str s)
{
    return first(check_label_text, s);
}
