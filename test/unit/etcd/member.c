/* SPDX-License-Identifier: Apache-2.0 */
#include "member.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

bool member_there(void)
{
    return system("command -v etcd >/dev/null 2>&1") == 0;
}

static void free_url(char url[64])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&at, n) < 0 || getsockname(fd, (struct sockaddr *)&at, &n) < 0)
        abort();
    close(fd);
    snprintf(url, 64, "http://127.0.0.1:%d", ntohs(at.sin_port));
}

/* One test at a time has the folder, and what an earlier one left there goes. */
static void take(const char *dir)
{
    char text[128];
    snprintf(text, sizeof(text), "%s.lock", dir);
    int fd = open(text, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX) < 0)
        abort();
    snprintf(text, sizeof(text), "rm -rf '%s' && mkdir -m 700 '%s'", dir, dir);
    if (system(text) != 0)
        abort();
}

void member_start(struct member *m)
{
    if (!m->dir[0]) {
        snprintf(m->dir, sizeof(m->dir), "/tmp/cube-test-etcd");
        take(m->dir);
        free_url(m->url);
        free_url(m->peer_url);
    }
    m->pid = fork();
    if (m->pid)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    char log[80];
    snprintf(log, sizeof(log), "%s/log", m->dir);
    int fd = open(log, O_CREAT | O_WRONLY | O_APPEND, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    execlp("etcd", "etcd", "--data-dir", m->dir, "--listen-client-urls", m->url, "--advertise-client-urls", m->url,
           "--listen-peer-urls", m->peer_url, "--logger", "zap", "--log-level", "error", (char *)NULL);
    _exit(127);
}

void member_kill(struct member *m)
{
    if (m->pid > 0) {
        kill(m->pid, SIGKILL);
        waitpid(m->pid, NULL, 0);
    }
    m->pid = 0;
}

void member_remove(struct member *m)
{
    char command[128];
    member_kill(m);
    snprintf(command, sizeof(command), "rm -rf '%s'", m->dir);
    if (m->dir[0] && system(command) != 0)
        abort();
}
