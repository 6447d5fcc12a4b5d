/* source.c - a model's files, from a directory or from the program itself.
 *
 * Only regular files are opened (a FIFO would block, a device never end), and symbolic links are followed, because the hub's cache is made of them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct attn_source {
    int directory;                      /* -1 for a model inside the program */
    const attn_embedded_file *embedded; /* NULL for a directory */
};

static const char builtin_prefix[] = "builtin:";

attn_where attn_at(const char *file, const char *item)
{
    attn_where w;
    int n = snprintf(w.text, sizeof w.text, "%s: %s", file, item);
    (void)n; /* a name too long for `where` is cut, like everything in it */
    return w;
}

static attn_status fail_errno(attn_error *err, const char *where, const char *what, int code)
{
    char text[128];
    return attn_fail(err, ATTN_E_IO, where, "%s: %s", what, strerror_r(code, text, sizeof text));
}

static attn_status find_embedded(const attn_embedded_file **out, const char *source, attn_error *err)
{
    const attn_embedded_model *models = attn_embedded_models();
    char known[128] = "";
    size_t used = 0;
    for (const attn_embedded_model *m = models; m->name; m++) {
        if (strcmp(m->name, source + strlen(builtin_prefix)) == 0) {
            *out = m->files;
            return ATTN_OK;
        }
        int n = snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", m->name);
        used = n < 0 || (size_t)n >= sizeof known - used ? sizeof known - 1 : used + (size_t)n;
    }
    return attn_fail(err, ATTN_E_UNSUPPORTED, source, "there is no such model inside the program; there are: %s", known);
}

attn_status attn_source_open(attn_source **out, const char *name, attn_error *err)
{
    *out = NULL;
    attn_status st = ATTN_OK;
    attn_source *s = attn_calloc(1, sizeof *s);
    if (!s)
        return attn_fail_memory(err);
    s->directory = -1;
    if (strncmp(name, builtin_prefix, strlen(builtin_prefix)) == 0) {
        st = find_embedded(&s->embedded, name, err);
    } else {
        s->directory = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->directory < 0)
            st = fail_errno(err, name, "the model's directory cannot be opened", errno);
    }
    if (st == ATTN_OK) {
        *out = s;
        s = NULL;
    }
    attn_source_close(s);
    return st;
}

void attn_source_close(attn_source *s)
{
    if (!s)
        return;
    if (s->directory >= 0)
        close(s->directory);
    attn_free(s);
}

static const attn_embedded_file *embedded_file(const attn_source *s, const char *name)
{
    for (const attn_embedded_file *f = s->embedded; f->name; f++)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

bool attn_source_has(const attn_source *s, const char *file)
{
    struct stat info; /* a link that leads nowhere is there too: opening it says so, where passing over it would be silent */
    return s->embedded ? embedded_file(s, file) != NULL : fstatat(s->directory, file, &info, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool ends_in(const char *name, const char *ending)
{
    size_t n = strlen(name), tail = strlen(ending);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7F) /* it would be shown on a terminal */
            return false;
    return n >= tail && strcmp(name + n - tail, ending) == 0;
}

bool attn_source_find(const attn_source *s, const char *ending, char *name, size_t size)
{
    *name = '\0';
    int fd = s->embedded ? -1 : openat(s->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *all = fd >= 0 ? fdopendir(fd) : NULL;
    if (!all && fd >= 0)
        close(fd);
    for (struct dirent *entry = all ? readdir(all) : NULL; entry; entry = readdir(all))
        if (ends_in(entry->d_name, ending) && strlen(entry->d_name) < size && (!*name || strcmp(entry->d_name, name) < 0))
            memcpy(name, entry->d_name, strlen(entry->d_name) + 1);
    if (all)
        closedir(all);
    return *name;
}

static attn_status map_file(attn_file *out, int fd, const char *name, attn_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return fail_errno(err, name, "its size cannot be read", errno);
    if (!S_ISREG(info.st_mode))
        return attn_fail(err, ATTN_E_IO, name, "is not a regular file");
    out->bytes = (const uint8_t *)"";
    out->size = (size_t)info.st_size;
    if (out->size == 0)
        return ATTN_OK;
    void *map = mmap(NULL, out->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return fail_errno(err, name, "cannot be mapped", errno);
    out->bytes = out->map = map;
    return ATTN_OK;
}

attn_status attn_file_open(attn_file *out, const attn_source *s, const char *file, attn_error *err)
{
    *out = (attn_file){ 0 };
    if (s->embedded) {
        const attn_embedded_file *f = embedded_file(s, file);
        if (!f)
            return attn_fail(err, ATTN_E_IO, file, "is not among the model's files");
        *out = (attn_file){ .bytes = f->begin, .size = (size_t)(f->end - f->begin) };
        return ATTN_OK;
    }
    int fd = openat(s->directory, file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail_errno(err, file, "cannot be opened", errno);
    attn_status st = map_file(out, fd, file, err);
    close(fd);
    return st;
}

void attn_file_close(attn_file *f)
{
    if (f->map)
        munmap(f->map, f->size);
    *f = (attn_file){ 0 };
}

void attn_file_drop(const uint8_t *begin, size_t n)
{
    /* Pages are shared with neighbours at both ends, so only those wholly inside go. The program's own constants are an unwritten mapping of a file too. */
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = attn_round_up((uintptr_t)begin, page), last = ((uintptr_t)begin + n) / page * page;
    if (first < last)
        madvise((void *)first, last - first, MADV_DONTNEED);
}
