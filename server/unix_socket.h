/* unix_socket.h - a listening socket with a name in the file system, for a proxy on the same machine.
 *
 * Its mode is 0660: who may ask is decided by its owner, its group and the folder it is in. A socket file that is left from before and at which nobody answers
 * is replaced; anything else at that path is an error.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef UNIX_SOCKET_H
#define UNIX_SOCKET_H

#include <stddef.h>
#include <sys/types.h>

/* Which file it was: another program may have put its own in that place since. Zero: none. */
typedef struct srv_unix_file {
    dev_t device;
    ino_t inode;
} srv_unix_file;

/* The socket, not blocking; -1: `error` says why. */
int srv_unix_listen(const char *path, srv_unix_file *, char *error, size_t size);
/* Removes the file, if it is still that one. Fine for none. */
void srv_unix_remove(const char *path, srv_unix_file *);

#endif
