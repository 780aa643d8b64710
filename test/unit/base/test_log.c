/* SPDX-License-Identifier: Apache-2.0 */
/* What a log line looks like, in both formats, and which lines there are. */
#include "../testing.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What fn writes to standard error (2) or output (1). */
static const char *written(int fd, void (*fn)(void))
{
    static char text[4096];
    char path[] = "/tmp/cube-log-XXXXXX";
    int file = mkstemp(path), old = dup(fd);
    assert_true(file >= 0 && old >= 0);
    unlink(path);
    fflush(NULL);
    dup2(file, fd);
    fn();
    dup2(old, fd);
    close(old);
    ssize_t n = pread(file, text, sizeof(text) - 1, 0);
    assert_true(n >= 0);
    text[n] = 0;
    close(file);
    return text;
}

static void one_of_each(void)
{
    log_error("kubelet", "e \"%s\"\n", "x\ty");
    log_warn("kubelet", "w");
    log_info("kubelet", "i");
    log_debug("kubelet", "d");
    log_line(LOG_TRACE, "kubelet", "t");
}

static void configure(struct log_config o)
{
    struct err e = {0};
    assert_int_equal(log_configure(&o, &e), 0);
}

static void text_lines(void **state UNUSED)
{
    configure((struct log_config){0});
    const char *t = written(2, one_of_each);
    assert_non_null(strstr(t, " E kubelet: e \"x y\" \n"));
    assert_non_null(strstr(t, " I kubelet: i\n"));
    assert_null(strstr(t, " D kubelet"));
}

static void json_lines(void **state UNUSED)
{
    configure((struct log_config){.format = "json", .verbosity = 4});
    const char *t = written(2, one_of_each);
    assert_int_equal(strncmp(t, "{\"ts\":", 6), 0);
    assert_non_null(strstr(t, "\"logger\":\"kubelet\",\"msg\":\"e \\\"x\\u0009y\\\"\\u000a\",\"severity\":\"error\"}\n"));
    assert_non_null(strstr(t, "\"msg\":\"w\",\"v\":0,\"severity\":\"warning\"}\n"));
    assert_non_null(strstr(t, "\"msg\":\"i\",\"v\":0}\n"));
    assert_non_null(strstr(t, "\"msg\":\"d\",\"v\":4}\n"));
    assert_null(strstr(t, "\"msg\":\"t\""));
    configure((struct log_config){0});
}

static void levels_change_while_running(void **state UNUSED)
{
    configure((struct log_config){0});
    log_set_verbosity(6);
    assert_int_equal(log_verbosity(), 6);
    assert_non_null(strstr(written(2, one_of_each), " T kubelet: t\n"));
    log_set_verbosity(3);
    assert_null(strstr(written(2, one_of_each), " D kubelet: d\n"));
    log_set_verbosity(0);
}

static void single_components(void **state UNUSED)
{
    configure((struct log_config){.vmodule = "kube*=4,proxy=6"});
    const char *t = written(2, one_of_each);
    assert_non_null(strstr(t, " D kubelet: d\n"));
    assert_null(strstr(t, " T kubelet: t\n"));
    configure((struct log_config){.vmodule = "proxy=6"});
    assert_null(strstr(written(2, one_of_each), " D kubelet: d\n"));
    configure((struct log_config){0});
}

static void two_streams(void **state UNUSED)
{
    configure((struct log_config){.split_text = true});
    const char *t = written(2, one_of_each);
    assert_non_null(strstr(t, " E kubelet"));
    assert_null(strstr(t, " I kubelet"));
    assert_non_null(strstr(written(1, one_of_each), " I kubelet: i\n"));
    configure((struct log_config){0});
}

static void refuses(void **state UNUSED)
{
    struct err e = {0};
    assert_int_equal(log_configure(&(struct log_config){.format = "xml"}, &e), -EINVAL);
    assert_string_equal(e.text, "--logging-format: \"xml\" is not one of text, json");
    assert_int_equal(log_configure(&(struct log_config){.vmodule = "a"}, &e), -EINVAL);
    assert_string_equal(e.text, "--vmodule: \"a\" is no pattern=N");
    configure((struct log_config){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_lines),        cmocka_unit_test(json_lines),  cmocka_unit_test(levels_change_while_running),
        cmocka_unit_test(single_components), cmocka_unit_test(two_streams), cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
