/* base/machine.h - the readers of cgroups and of /proc with their roots named, for tests.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_MACHINE_H
#define ATTN_MACHINE_H

#include <stdint.h>

/* The least limit that cgroups v1 or v2 set, over every level above the process; 0: none. `list` is /proc/self/cgroup, `mount` /sys/fs/cgroup. */
double attn_cgroup_cpus(const char *list, const char *mount);
double attn_cgroup_memory(const char *list, const char *mount);
/* Bytes on the line "key: N kB" of a file like /proc/meminfo; 0: there is none. */
uint64_t attn_memory_line(const char *path, const char *key);

#endif
