/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses in files, as host-local keeps them, so that either can go on with what the other has left: a file an address in
 * data_dir/<network>/, named after it, with "<container>\r\n<interface>" in it; last_reserved_ip.<set>; lock. What host-local
 * must read every file for, we find by a file of our own in .cube/ (and read them all only where that is missing).
 */
#include "cni/cni.h"

#include "base/os.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 1024, FILE_MAX = 65536 };

/* ---- the next address; pure ------------------------------------------------------------------------------- */

static bool step(const struct cni_range_set *set, size_t *range, struct ip *ip)
{
    const struct cni_range *r = &set->list[*range];
    struct ip next;
    if (ip_compare(ip, &r->last) < 0 && ip_add(ip, 1, &next)) {
        *ip = next;
        return true;
    }
    *range = (*range + 1) % set->n;
    *ip = set->list[*range].first;
    return true;
}

static size_t range_of(const struct cni_range_set *set, const struct ip *ip)
{
    for (size_t i = 0; ip->family && i < set->n; i++)
        if (ip_compare(ip, &set->list[i].first) >= 0 && ip_compare(ip, &set->list[i].last) <= 0)
            return i;
    return set->n;
}

/* Round and round: an address that was just given back is not given out at once, since others may still talk to it. */
bool cni_ipam_next(const struct cni_range_set *set, const struct ip *last, cni_is_free *is_free, void *arg, struct ip *ret,
                   const struct cni_range **ret_range)
{
    size_t at = range_of(set, last), start;
    struct ip ip, first;
    if (!set->n)
        return false;
    if (at < set->n) {
        ip = *last;
        step(set, &at, &ip);
    } else {
        ip = set->list[at = 0].first;
    }
    first = ip;
    start = at;
    do {
        if (!ip_equal(&ip, &set->list[at].gateway) && is_free(arg, &ip)) {
            *ret = ip;
            *ret_range = &set->list[at];
            return true;
        }
        step(set, &at, &ip);
    } while (at != start || !ip_equal(&ip, &first));
    return false;
}

/* ---- the store -------------------------------------------------------------------------------------------- */

static int io_error(struct err *e, const char *what, const char *path)
{
    int r = errno;
    err_set(e, -r, "%s %s: %s", what, path, strerror(r));
    return CNI_IO;
}

static void file_of(const struct cni_store *s, const char *name, char ret[static PATH_SIZE])
{
    snprintf(ret, PATH_SIZE, "%s/%s", s->dir, name);
}

static void notes_of(const struct cni_store *s, const char *container, const char *ifname, char ret[static PATH_SIZE])
{
    snprintf(ret, PATH_SIZE, "%s/.cube/%s@%s", s->dir, container, ifname);
}

int cni_store_open(const char *data_dir, struct str network, struct cni_store *ret, struct err *e)
{
    struct cni_store s = {.lock = -1};
    char path[PATH_SIZE];
    int n = snprintf(s.dir, sizeof(s.dir), "%s/" STR_FMT, data_dir, STR_ARG(network));
    if (n < 0 || (size_t)n >= sizeof(s.dir))
        return err_set(e, CNI_BAD_CONFIG, "dataDir or the network's name is too long");
    file_of(&s, ".cube", path);
    if (access(path, F_OK) < 0 && (os_mkdir_all(s.dir, 0755) < 0 || os_mkdir(path, 0755) < 0))
        return io_error(e, "cannot make", path);
    file_of(&s, "lock", path);
    s.lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s.lock < 0 || flock(s.lock, LOCK_EX) < 0) {
        int c = io_error(e, "cannot lock", path);
        cni_store_close(&s);
        return c;
    }
    *ret = s;
    return 0;
}

void cni_store_close(struct cni_store *s)
{
    if (s->lock >= 0)
        close(s->lock);
    s->lock = -1;
}

/* Whole or not at all: no address without its owner, whenever we are killed. */
static int write_new(const struct cni_store *s, const char *path, const char *text, size_t n, bool replace)
{
    char tmp[PATH_SIZE];
    file_of(s, ".cube/.new", tmp);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    int r = write(fd, text, n) == (ssize_t)n ? 0 : -EIO;
    close(fd);
    if (r == 0)
        r = (replace ? rename(tmp, path) : link(tmp, path)) < 0 ? -errno : 0;
    if (r < 0 || !replace)
        unlink(tmp);
    return r;
}

static size_t owner_text(const char *container, const char *ifname, char ret[static 256])
{
    int n = snprintf(ret, 256, "%s\r\n%s", container, ifname);
    return n < 0 ? 0 : MIN((size_t)n, (size_t)255);
}

static bool owns(const struct cni_store *s, const char *name, const char *container, const char *ifname)
{
    char path[PATH_SIZE], want[256], have[300];
    file_of(s, name, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, have, sizeof(have));
    if (fd >= 0)
        close(fd);
    size_t size = owner_text(container, ifname, want);
    struct str text = str_trim(str_n(have, n > 0 ? (size_t)n : 0));
    return str_eq(text, str_n(want, size)) || str_is(text, container); /* old stores know no interface */
}

static bool is_address(const char *name)
{
    struct ip ip;
    return ip_parse(str_of(name), &ip);
}

/* Every address of an attachment, one by one, until fn wants no more. True when there was one. */
typedef bool each_address(struct cni_store *s, const char *name, void *arg);
static bool scan(struct cni_store *s, const char *container, const char *ifname, each_address *fn, void *arg)
{
    DIR *d = opendir(s->dir);
    bool found = false;
    for (struct dirent *f; d && (f = readdir(d));)
        if (is_address(f->d_name) && owns(s, f->d_name, container, ifname)) {
            found = true;
            if (!fn(s, f->d_name, arg))
                break;
        }
    if (d)
        closedir(d);
    return found;
}

/* By our own record; false when it is not there. */
static bool by_record(struct cni_store *s, const char *container, const char *ifname, each_address *fn, void *arg)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str notes = cni_notes_read(&a, s, container, ifname), line, word, name;
    bool found = false;
    while (notes.n && str_next(&notes, '\n', &line))
        if (str_cut(line, ' ', &word, &name) && str_is(word, "ip")) {
            const char *c = arena_cstr(&a, name);
            found = true;
            if (is_address(c) && owns(s, c, container, ifname) && !fn(s, c, arg))
                break;
        }
    return found;
}

static bool drop(struct cni_store *s, const char *name, void *arg UNUSED)
{
    char path[PATH_SIZE];
    file_of(s, name, path);
    unlink(path);
    return true;
}

static bool note_it(struct cni_store *s UNUSED, const char *name, void *arg)
{
    snprintf(arg, IP_TEXT_MAX, "%s", name);
    return false;
}

/* ---- records ------------------------------------------------------------------------------------------------ */

int cni_notes_write(struct cni_store *s, const char *container, const char *ifname, struct str notes, struct err *e)
{
    char path[PATH_SIZE];
    notes_of(s, container, ifname, path);
    int r = write_new(s, path, notes.p ? notes.p : "", notes.n, true);
    return r < 0 ? (err_set(e, r, "cannot write %s: %s", path, strerror(-r)), CNI_IO) : 0;
}

struct str cni_notes_read(struct arena *a, struct cni_store *s, const char *container, const char *ifname)
{
    char path[PATH_SIZE];
    struct str text = STR_NULL;
    notes_of(s, container, ifname, path);
    return os_read_file(a, path, FILE_MAX, &text) < 0 ? STR_NULL : text;
}

void cni_notes_remove(struct cni_store *s, const char *container, const char *ifname)
{
    char path[PATH_SIZE];
    notes_of(s, container, ifname, path);
    unlink(path);
}

/* ---- ADD ------------------------------------------------------------------------------------------------------ */

struct taking {
    struct cni_store *s;
    const char *owner;
    size_t n;
    int r; /* what went wrong */
};

static bool take(void *arg, const struct ip *ip)
{
    struct taking *t = arg;
    char name[IP_TEXT_MAX], path[PATH_SIZE];
    file_of(t->s, ip_format(ip, name), path);
    if (access(path, F_OK) == 0)
        return false;
    int r = write_new(t->s, path, t->owner, t->n, false);
    t->r = r == -EEXIST ? 0 : r;
    return r != -EEXIST; /* an error ends the search: IPv6 ranges have no end */
}

static struct ip last_given(struct cni_store *s, size_t set)
{
    char name[40], path[PATH_SIZE], text[64];
    struct ip ip = {0};
    snprintf(name, sizeof(name), "last_reserved_ip.%zu", set);
    file_of(s, name, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
    if (fd >= 0)
        close(fd);
    if (n > 0)
        ip_parse(str_trim(str_n(text, (size_t)n)), &ip);
    return ip;
}

static void remember_last(struct cni_store *s, size_t set, const struct ip *ip)
{
    char name[40], path[PATH_SIZE], text[IP_TEXT_MAX];
    snprintf(name, sizeof(name), "last_reserved_ip.%zu", set);
    file_of(s, name, path);
    ip_format(ip, text);
    write_new(s, path, text, strlen(text), true);
}

/* The address of this set that was asked for; NULL for none. */
static const struct ip *wish_for(const struct cni_ipam *ipam, const struct cni_range_set *set, const struct cni_range **range)
{
    for (size_t i = 0; i < ipam->n_wanted; i++) {
        size_t at = range_of(set, &ipam->wanted[i]);
        *range = at < set->n ? &set->list[at] : NULL;
        if (*range)
            return &ipam->wanted[i];
    }
    return NULL;
}

static int from_set(struct cni_store *s, const struct cni_request *r, size_t i, const char *owner, size_t owner_n,
                    struct cni_address *ret, struct err *e)
{
    const struct cni_range_set *set = &r->ipam.sets[i];
    struct taking t = {s, owner, owner_n, 0};
    const struct cni_range *range = NULL;
    const struct ip *wish = wish_for(&r->ipam, set, &range);
    struct ip last = last_given(s, i), ip = {0};
    char text[IP_TEXT_MAX];
    bool got = wish ? !ip_equal(wish, &range->gateway) && take(&t, wish) : cni_ipam_next(set, &last, take, &t, &ip, &range);
    if (t.r < 0)
        return err_set(e, CNI_IO, "cannot write into %s: %s", s->dir, strerror(-t.r));
    if (!got && wish)
        return err_set(e, CNI_FAILED, "the address %s is not to be had", ip_format(wish, text));
    if (!got)
        return err_set(e, CNI_FAILED, "no address is free in the range of %s",
                       prefix_format(&set->list[0].subnet, text));
    ip = wish ? *wish : ip;
    if (!wish)
        remember_last(s, i, &ip);
    *ret = (struct cni_address){.at = {ip, range->subnet.bits}, .gateway = range->gateway, .interface = -1};
    return 0;
}

static bool all_wishes_fit(const struct cni_ipam *ipam, struct err *e)
{
    for (size_t i = 0; i < ipam->n_wanted; i++) {
        bool fits = false;
        char text[IP_TEXT_MAX];
        for (size_t j = 0; j < ipam->n_sets; j++)
            fits = fits || range_of(&ipam->sets[j], &ipam->wanted[i]) < ipam->sets[j].n;
        if (!fits) {
            err_set(e, CNI_BAD_CONFIG, "the address %s is in none of the ranges", ip_format(&ipam->wanted[i], text));
            return false;
        }
    }
    return true;
}

static int record(struct cni_store *s, const struct cni_request *r, const struct cni_address *list, size_t n, struct err *e)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    char text[IP_TEXT_MAX];
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "ip %s\n", ip_format(&list[i].at.ip, text));
    return cni_notes_write(s, r->container, r->ifname, buf_str(&b), e);
}

int cni_ipam_add(struct arena *a, struct cni_store *s, const struct cni_request *r, struct cni_address **ret, size_t *ret_n,
                 struct err *e)
{
    struct cni_address *list = ARENA_ARRAY(a, struct cni_address, r->ipam.n_sets + 1);
    char owner[256], have[IP_TEXT_MAX];
    size_t owner_n = owner_text(r->container, r->ifname, owner), n = 0;
    if (!r->ipam.n_sets)
        return err_set(e, CNI_BAD_CONFIG, "ipam: no ranges");
    if (!all_wishes_fit(&r->ipam, e))
        return CNI_BAD_CONFIG;
    if (by_record(s, r->container, r->ifname, note_it, have))
        return err_set(e, CNI_FAILED, "%s of container %s has the address %s already", r->ifname, r->container, have);
    int c = 0;
    while (c == 0 && n < r->ipam.n_sets)
        if ((c = from_set(s, r, n, owner, owner_n, &list[n], e)) == 0)
            n++;
    c = c ? c : record(s, r, list, n, e);
    for (size_t i = 0; c && i < n; i++) {
        char name[IP_TEXT_MAX];
        drop(s, ip_format(&list[i].at.ip, name), NULL);
    }
    if (c)
        return c;
    *ret = list;
    *ret_n = n;
    return 0;
}

/* ---- DEL, CHECK, GC ---------------------------------------------------------------------------------------------- */

int cni_ipam_del(struct cni_store *s, const char *container, const char *ifname, struct err *e UNUSED)
{
    if (!by_record(s, container, ifname, drop, NULL))
        scan(s, container, ifname, drop, NULL);
    cni_notes_remove(s, container, ifname);
    return 0;
}

int cni_ipam_check(struct cni_store *s, const char *container, const char *ifname, struct err *e)
{
    char have[IP_TEXT_MAX] = "";
    by_record(s, container, ifname, note_it, have);
    if (have[0] || scan(s, container, ifname, note_it, have))
        return 0;
    return err_set(e, CNI_CHECK_FAILED, "no address is recorded for %s of container %s", ifname, container);
}

static bool is_valid(const struct cni_attachment *valid, size_t n, struct str container, struct str ifname)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(valid[i].container, container) && (!ifname.n || str_eq(valid[i].ifname, ifname)))
            return true;
    return false;
}

static void gc_records(struct cni_store *s, const struct cni_attachment *valid, size_t n, cni_stale *fn, void *arg)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    char path[PATH_SIZE], **names;
    file_of(s, ".cube", path);
    if (os_list_dir(&a, path, &names) < 0)
        return;
    for (; *names; names++) {
        struct str container, ifname;
        if (!str_cut(str_of(*names), '@', &container, &ifname) || is_valid(valid, n, container, ifname))
            continue;
        const char *c = arena_cstr(&a, container), *i = arena_cstr(&a, ifname);
        fn(arg, c, i, cni_notes_read(&a, s, c, i));
        cni_ipam_del(s, c, i, NULL);
    }
}

int cni_ipam_gc(struct cni_store *s, const struct cni_attachment *valid, size_t n, cni_stale *fn, void *arg,
                struct err *e UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    char **names;
    gc_records(s, valid, n, fn, arg);
    if (os_list_dir(&a, s->dir, &names) < 0)
        return 0;
    for (; *names; names++) { /* what host-local has left, or we without a record */
        char path[PATH_SIZE];
        struct str text, container, ifname;
        file_of(s, *names, path);
        if (!is_address(*names) || os_read_file(&a, path, 4096, &text) < 0)
            continue;
        str_cut(text, '\n', &container, &ifname);
        if (!is_valid(valid, n, str_trim(container), str_trim(ifname)))
            unlink(path);
    }
    return 0;
}
