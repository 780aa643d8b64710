/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines for people: time, level, component, sentence; one line each, to standard error. Library code (base,
 * wire, net, type, store, auth) returns errors instead of logging; the outermost function logs once.
 */
#pragma once

#include "base/err.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

void log_set_level(enum log_level level); /* default LOG_INFO */
bool log_enabled(enum log_level level); /* for some component at least */
/* Upstream's numbers: 4 and more is LOG_DEBUG, 6 and more LOG_TRACE. May change while running. */
void log_set_verbosity(int64_t v);
int64_t log_verbosity(void);

struct log_config {
    const char *format;  /* "text", "json" (a line is an object: ts, logger, msg, v or err); NULL: text */
    const char *vmodule; /* "kubelet=4,api*=6": the number for components that fit; NULL: none. Must outlive the logging. */
    int64_t verbosity;
    bool split_text, split_json; /* errors to standard error, the rest to standard output */
};
/* -EINVAL with a sentence that names the flag. */
int log_configure(const struct log_config *o, struct err *e);
void log_line(enum log_level level, const char *component, const char *fmt, ...) PRINTF(3, 4);

#define log_error(component, ...) log_line(LOG_ERROR, component, __VA_ARGS__)
#define log_warn(component, ...) log_line(LOG_WARN, component, __VA_ARGS__)
#define log_info(component, ...) log_line(LOG_INFO, component, __VA_ARGS__)
#define log_debug(component, ...)                                                                            \
    do {                                                                                                     \
        if (log_enabled(LOG_DEBUG))                                                                          \
            log_line(LOG_DEBUG, component, __VA_ARGS__);                                                     \
    } while (0)
