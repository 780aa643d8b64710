/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/os.h"

#include <stdio.h>
#include <unistd.h>

static enum log_level level_now = LOG_INFO;

void log_set_level(enum log_level level)
{
    level_now = level;
}

bool log_enabled(enum log_level level)
{
    return level <= level_now;
}

/* One write(2) a line, so that lines of several threads and processes do not mix. */
void log_line(enum log_level level, const char *component, const char *fmt, ...)
{
    static const char letters[] = "EWIDT";
    if (!log_enabled(level))
        return;
    char time[TIME_TEXT_MAX];
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_printf(&b, "%s %c %s: ", time_format_micro(os_wall(), time), letters[level], component);
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    for (size_t i = 0; i < b.n; i++)
        if ((unsigned char)b.p[i] < ' ')
            b.p[i] = ' '; /* text from outside must not forge lines */
    buf_putc(&b, '\n');
    ssize_t r UNUSED = write(STDERR_FILENO, b.p, b.n);
}
