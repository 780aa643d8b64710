/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/os.h"

#include <fnmatch.h>
#include <stdio.h>
#include <unistd.h>

enum { DEBUG_FROM = 4, TRACE_FROM = 6, MODULES_MAX = 32 };

static enum log_level level_now = LOG_INFO, level_most = LOG_INFO; /* most: with those of single components */
static int64_t verbosity_now;
static bool as_json, split;
static struct module {
    char pattern[48];
    enum log_level level;
} modules[MODULES_MAX];
static size_t n_modules;

static enum log_level level_of(int64_t v)
{
    return v >= TRACE_FROM ? LOG_TRACE : v >= DEBUG_FROM ? LOG_DEBUG : LOG_INFO;
}

void log_set_level(enum log_level level)
{
    level_now = level_most = level;
    for (size_t i = 0; i < n_modules; i++)
        level_most = MAX(level_most, modules[i].level);
}

void log_set_verbosity(int64_t v)
{
    verbosity_now = v;
    log_set_level(level_of(v));
}

int64_t log_verbosity(void)
{
    return verbosity_now;
}

bool log_enabled(enum log_level level)
{
    return level <= level_most;
}

/* "pattern=N" */
static int take_module(struct str text, struct err *e)
{
    struct str name, number;
    int64_t v;
    if (!str_cut(text, '=', &name, &number) || !name.n || name.n >= sizeof(modules[0].pattern) || str_to_i64(number, &v) < 0)
        return err_set(e, -EINVAL, "--vmodule: \"" STR_FMT "\" is no pattern=N", STR_ARG(text));
    if (n_modules == MODULES_MAX)
        return err_set(e, -EINVAL, "--vmodule: more than %d patterns", MODULES_MAX);
    struct module *m = &modules[n_modules++];
    snprintf(m->pattern, sizeof(m->pattern), STR_FMT, STR_ARG(name));
    m->level = level_of(v);
    return 0;
}

int log_configure(const struct log_config *o, struct err *e)
{
    struct str rest = str_of(o->vmodule ? o->vmodule : ""), one;
    bool json = o->format && !strcmp(o->format, "json");
    int r = 0;
    if (o->format && *o->format && !json && strcmp(o->format, "text"))
        return err_set(e, -EINVAL, "--logging-format: \"%s\" is not one of text, json", o->format);
    n_modules = 0;
    while (r == 0 && str_next(&rest, ',', &one))
        if (one.n)
            r = take_module(one, e);
    as_json = json;
    split = json ? o->split_json : o->split_text;
    log_set_verbosity(o->verbosity);
    return r;
}

/* The first pattern that fits a component decides, else the level for all. */
static bool enabled_for(enum log_level level, const char *component)
{
    for (size_t i = 0; i < n_modules; i++)
        if (fnmatch(modules[i].pattern, component, 0) == 0)
            return level <= modules[i].level || level <= level_now;
    return level <= level_now;
}

static void put_quoted(struct buf *b, const char *text)
{
    buf_putc(b, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            buf_putc(b, '\\');
        if ((unsigned char)*text < ' ')
            buf_printf(b, "\\u%04x", (unsigned char)*text);
        else
            buf_putc(b, *text);
    }
    buf_putc(b, '"');
}

static void put_json(struct buf *b, enum log_level level, const char *component, const char *message)
{
    static const int numbers[] = {[LOG_INFO] = 0, [LOG_WARN] = 0, [LOG_DEBUG] = DEBUG_FROM, [LOG_TRACE] = TRACE_FROM};
    struct wall now = os_wall();
    buf_printf(b, "{\"ts\":%lld.%03d,\"logger\":", (long long)(now.ns / 1000000), (int)(now.ns / 1000 % 1000));
    put_quoted(b, component);
    buf_puts(b, ",\"msg\":");
    put_quoted(b, message);
    if (level != LOG_ERROR)
        buf_printf(b, ",\"v\":%d", numbers[level]);
    if (level == LOG_WARN)
        buf_puts(b, ",\"severity\":\"warning\"");
    if (level == LOG_ERROR)
        buf_puts(b, ",\"severity\":\"error\"");
    buf_putc(b, '}');
}

static void put_text(struct buf *b, enum log_level level, const char *component, const char *message)
{
    static const char letters[] = "EWIDT";
    char time[TIME_TEXT_MAX];
    buf_printf(b, "%s %c %s: %s", time_format_micro(os_wall(), time), letters[level], component, message);
    for (size_t i = 0; i < b->n; i++)
        if ((unsigned char)b->p[i] < ' ')
            b->p[i] = ' '; /* text from outside must not forge lines */
}

/* One write(2) a line, so that lines of several threads and processes do not mix. */
void log_line(enum log_level level, const char *component, const char *fmt, ...)
{
    if (!log_enabled(level) || !enabled_for(level, component))
        return;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct buf message CLEANUP_BUF = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&message, fmt, ap);
    va_end(ap);
    (as_json ? put_json : put_text)(&b, level, component, message.p ? message.p : "");
    buf_putc(&b, '\n');
    ssize_t r UNUSED = write(split && level != LOG_ERROR ? STDOUT_FILENO : STDERR_FILENO, b.p, b.n);
}
