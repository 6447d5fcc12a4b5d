/* machine.c - how much of the machine is ours: CPUs by affinity and cgroup quota, memory by cgroup limit.
 *
 * A container's limits stand in files of its cgroup and of every level above: cgroup v2 has cpu.max ("quota period" or "max period") and memory.max, v1
 * cpu.cfs_quota_us with cpu.cfs_period_us (-1: none) and memory.limit_in_bytes. The process's own path stands in /proc/self/cgroup; inside a cgroup
 * namespace that path is "/" or leads out of what is mounted, in which case the root of the mount is what counts.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/machine.h"

#include "attn_runtime.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool read_line(const char *path, char *line, int size)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    bool ok = fgets(line, size, f) != NULL;
    fclose(f);
    return ok;
}

/* The first number in a file; false when there is none ("max"). */
static bool read_number(const char *folder, const char *file, long long *out)
{
    char path[PATH_MAX], line[128], *end;
    if (snprintf(path, sizeof path, "%s/%s", folder, file) >= (int)sizeof path || !read_line(path, line, sizeof line))
        return false;
    *out = strtoll(line, &end, 10);
    return end != line;
}

/* CPUs that one cgroup folder allows, 0 for no limit there. */
static double folder_cpus(const char *folder)
{
    char path[PATH_MAX], line[128];
    long long quota, period;
    if (snprintf(path, sizeof path, "%s/cpu.max", folder) < (int)sizeof path && read_line(path, line, sizeof line))
        return sscanf(line, "%lld %lld", &quota, &period) == 2 && period > 0 ? (double)quota / (double)period : 0;
    if (read_number(folder, "cpu.cfs_quota_us", &quota) && read_number(folder, "cpu.cfs_period_us", &period) && quota > 0 && period > 0)
        return (double)quota / (double)period;
    return 0;
}

static double folder_memory(const char *folder)
{
    long long bytes;
    if (read_number(folder, "memory.max", &bytes) || read_number(folder, "memory.limit_in_bytes", &bytes))
        return bytes > 0 ? (double)bytes : 0;
    return 0;
}

static void keep_smaller(double *least, double value)
{
    if (value > 0 && (*least <= 0 || value < *least))
        *least = value;
}

/* The least of what `limit` says from root + path up to root. */
static void walk_up(const char *root, const char *path, double (*limit)(const char *), double *least)
{
    char folder[PATH_MAX];
    if (snprintf(folder, sizeof folder, "%s%s", root, path) >= (int)sizeof folder)
        return;
    size_t stop = strlen(root);
    for (;;) {
        keep_smaller(least, limit(folder));
        char *slash = strrchr(folder + stop, '/');
        if (!slash)
            return;
        *slash = '\0';
    }
}

/* Is `name` one of the comma-separated names? ("cpuset" is not "cpu".) */
static bool lists(const char *names, const char *name)
{
    size_t n = strlen(name);
    for (;; names++) {
        if (strncmp(names, name, n) == 0 && (names[n] == ',' || names[n] == ':' || names[n] == '\0'))
            return true;
        names = strchr(names, ',');
        if (!names)
            return false;
    }
}

/* The least limit over every hierarchy listed in `list`; `controller` is cgroup v1's name for it. */
static double least_limit(const char *list, const char *mount, const char *controller, double (*limit)(const char *))
{
    double least = 0;
    char line[PATH_MAX], root[PATH_MAX];
    FILE *f = fopen(list, "re");
    if (!f)
        return 0;
    while (fgets(line, sizeof line, f)) {
        char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        bool unified = names[1] == '\0';
        if (!unified && !lists(names + 1, controller))
            continue;
        int n = unified ? snprintf(root, sizeof root, "%s", mount) : snprintf(root, sizeof root, "%s/%s", mount, controller);
        if (n < (int)sizeof root)
            walk_up(root, path, limit, &least);
    }
    fclose(f);
    return least;
}

double attn_cgroup_cpus(const char *list, const char *mount)
{
    return least_limit(list, mount, "cpu", folder_cpus);
}

double attn_cgroup_memory(const char *list, const char *mount)
{
    return least_limit(list, mount, "memory", folder_memory);
}

int attn_cpus_allowed(void)
{
    cpu_set_t set;
    int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    double quota = attn_cgroup_cpus("/proc/self/cgroup", "/sys/fs/cgroup");
    if (quota > 0 && quota < (double)cpus)
        cpus = (int)(quota + 0.999); /* half a CPU is one thread, 1.5 are two */
    return cpus > 1 ? cpus : 1;
}

uint64_t attn_memory_allowed(void)
{
    double bytes = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    keep_smaller(&bytes, attn_cgroup_memory("/proc/self/cgroup", "/sys/fs/cgroup"));
    return (uint64_t)bytes;
}

uint64_t attn_memory_line(const char *path, const char *key)
{
    unsigned long long kibibytes = 0;
    char line[256];
    size_t n = strlen(key);
    FILE *f = fopen(path, "re");
    while (f && kibibytes == 0 && fgets(line, sizeof line, f))
        if (strncmp(line, key, n) == 0 && line[n] == ':' && sscanf(line + n + 1, "%llu", &kibibytes) != 1)
            break;
    if (f)
        fclose(f);
    return (uint64_t)kibibytes << 10;
}

uint64_t attn_memory_free(void)
{
    uint64_t system = attn_memory_line("/proc/meminfo", "MemAvailable"), own = attn_memory_line("/proc/self/status", "RssAnon");
    double limit = attn_cgroup_memory("/proc/self/cgroup", "/sys/fs/cgroup");
    uint64_t left = limit <= 0 ? UINT64_MAX : limit > (double)own ? (uint64_t)limit - own : 0; /* pages of files are given back under pressure */
    if (system == 0)                                                                           /* a kernel or a sandbox that does not say */
        system = attn_memory_allowed();
    return system < left ? system : left;
}
