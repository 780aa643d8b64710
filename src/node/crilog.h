/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log files that container runtimes write (CRI, "container log format"): one line a piece of output,
 *     2006-01-02T15:04:05.999999999Z stdout F the text
 * where P in place of F says that the line goes on in the next. Pure.
 */
#pragma once

#include "base/str.h"
#include "base/time.h"

struct crilog_line {
    struct wall time;
    struct str stamp;   /* its text */
    bool from_stderr;
    bool partial;       /* the output line does not end here */
    struct str text;    /* without the newline of the log */
};

/* One line of a file, without its newline: 0 or -EINVAL. */
int crilog_parse(struct str line, struct crilog_line *ret);

/* Where in a file of n bytes the last `lines` output lines begin. text: its last bytes, at least. An output line in
 * several pieces counts once per piece, as upstream counts. */
size_t crilog_tail(struct str text, int64_t lines);

/* The last output of a log for people: at most max bytes and lines, newlines between. Appended to b. */
void crilog_last(struct str text, size_t max, unsigned lines, struct buf *b);
