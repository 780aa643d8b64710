/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/editor.h"

#include "base/os.h"
#include "wire/yaml.h"

#include <fcntl.h>
#include <unistd.h>

enum { MAX_EDITED = 64 << 20 };

static const char *editor(void)
{
    static const char *const names[] = {"KUBE_EDITOR", "EDITOR"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const char *e = getenv(names[i]);
        if (e && e[0])
            return e;
    }
    return "vi";
}

static int write_new(struct cli *c, struct str text, const char *suffix, const char **ret)
{
    const char *dir = getenv("TMPDIR");
    const char *path = cli_printf(c, "%s/kubectl-edit-%llx%s", dir && dir[0] ? dir : "/tmp",
                                  (unsigned long long)os_random_u64(), suffix).p;
    int fd = os_open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0)
        return cli_fail(c, "cannot create %s: %s", path, strerror(-fd));
    ssize_t n = os_pwrite(fd, text.p, text.n, 0);
    os_close(fd);
    if (n != (ssize_t)text.n)
        return cli_fail(c, "cannot write %s: %s", path, n < 0 ? strerror((int)-n) : "no space");
    *ret = path;
    return 0;
}

int editor_run(struct cli *c, struct str text, const char *suffix, struct str *ret_text, const char **ret_file)
{
    const char *file = NULL;
    int status = 0, r = write_new(c, text, suffix, &file);
    pid_t pid;
    if (r)
        return r;
    cli_flush(c);
    /* The variable may hold flags and quotes: a shell takes it apart. */
    const char *argv[] = {"/bin/sh", "-c", cli_printf(c, "%s \"$0\"", editor()).p, file, NULL};
    struct os_spawn s = {.argv = argv, .in = STDIN_FILENO, .out = -1, .err = -1};
    r = os_spawn(&s, &pid);
    if (r == 0)
        r = os_wait_pid(pid, &status, MONO_NEVER);
    if (r < 0 || status)
        return cli_fail(c, "there was a problem with the editor \"%s\"", editor());
    r = os_read_file(&c->a, file, MAX_EDITED, ret_text);
    if (r < 0)
        return cli_fail(c, "cannot read %s: %s", file, strerror(-r));
    *ret_file = file;
    return 0;
}

struct str editor_uncomment(struct cli *c, struct str text)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct str rest = text, line;
    while (str_next(&rest, '\n', &line)) {
        if (str_starts(line, STR("#")))
            continue;
        buf_putstr(&b, line);
        if (rest.p)
            buf_putc(&b, '\n');
    }
    return arena_str(&c->a, buf_str(&b));
}

int editor_edit_new(struct cli *c, struct info *i)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct manifests m = {0};
    struct str text;
    const char *file = NULL;
    yaml_encode(&b, NULL, i->v);
    int r = editor_run(c, buf_str(&b), ".yaml", &text, &file);
    if (r == 0)
        r = manifest_parse(c, file, editor_uncomment(c, text), &m);
    if (r)
        return r;
    os_unlink(file);
    if (m.n != 1)
        return cli_fail(c, "Edit cancelled, saved file was empty.");
    m.items[0].source = i->source;
    return info_of_manifest(c, &m.items[0], i);
}
