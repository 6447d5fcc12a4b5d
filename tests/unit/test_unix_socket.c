/* test_unix_socket.c - of many who start at one path in the same moment, one gets it, whatever was left there, and keeps it.
 * SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"
#include "unix_socket.h"

enum { STARTERS = 8, ROUNDS = 50 };

static char folder[] = "/tmp/attnd-socket-XXXXXX";
static char path[64];

static void setup(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/s", folder);
}

static void teardown(void)
{
    unlink(path);
    rmdir(folder);
    memcpy(folder + sizeof folder - 7, "XXXXXX", 6);
}

static struct sockaddr_un address(void)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    return at;
}

static bool answers(void)
{
    struct sockaddr_un at = address();
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    bool connected = connect(fd, (const struct sockaddr *)&at, sizeof at) == 0;
    close(fd);
    return connected;
}

/* A child that starts when the pipe `go` closes, says how that went, and lives until `stop` closes. */
static void start(int go[2], int said[2], int stop[2])
{
    srv_unix_file file = { 0 };
    char error[256], byte = 'n';
    close(go[1]);
    close(stop[1]);
    (void)!read(go[0], &byte, 1);
    byte = srv_unix_listen(path, &file, error, sizeof error) >= 0 ? 'y' : 'n';
    (void)!write(said[1], &byte, 1);
    (void)!read(stop[0], &byte, 1);
    _exit(0);
}

/* How many of those who start at once get the path, and does one of them answer there afterwards? */
static int count_winners(bool *answered)
{
    int go[2], said[2], stop[2], winners = 0;
    ck_assert(pipe(go) == 0 && pipe(said) == 0 && pipe(stop) == 0);
    for (int i = 0; i < STARTERS; i++) {
        pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0)
            start(go, said, stop);
    }
    close(go[1]);
    for (int i = 0; i < STARTERS; i++) {
        char byte = 0;
        ck_assert_int_eq(read(said[0], &byte, 1), 1);
        winners += byte == 'y';
    }
    *answered = answers();
    close(stop[1]);
    for (int i = 0; i < STARTERS; i++)
        wait(NULL);
    close(go[0]);
    close(said[0]);
    close(said[1]);
    close(stop[0]);
    return winners;
}

START_TEST(one_of_many_gets_the_path_and_keeps_it)
{
    for (int round = 0; round < ROUNDS; round++) { /* what the round before has left is there */
        bool answered = false;
        ck_assert_int_eq(count_winners(&answered), 1);
        ck_assert(answered);
        ck_assert(!answers());
    }
}
END_TEST

/* The other one is held up between its bind and its listen. */
START_TEST(a_socket_at_which_nobody_listens_yet_is_not_taken_for_a_stale_one)
{
    struct sockaddr_un at = address();
    int lock = open(folder, O_RDONLY | O_DIRECTORY), own = socket(AF_UNIX, SOCK_STREAM, 0), status = 0;
    ck_assert_int_eq(flock(lock, LOCK_EX), 0);
    ck_assert_int_eq(bind(own, (const struct sockaddr *)&at, sizeof at), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        srv_unix_file file = { 0 };
        char error[256];
        close(lock); /* a copy of the same lock */
        _exit(srv_unix_listen(path, &file, error, sizeof error) >= 0 ? 1 : strstr(error, "another program answers there") ? 0 : 2);
    }
    usleep(200000);
    ck_assert_int_eq(listen(own, 1), 0);
    close(lock);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(WEXITSTATUS(status), 0);
    ck_assert(answers());
    close(own);
}
END_TEST

START_TEST(a_file_of_somebody_else_is_not_removed)
{
    srv_unix_file file = { 0 }, none = { 0 };
    char error[256];
    int fd = srv_unix_listen(path, &file, error, sizeof error);
    ck_assert_int_ge(fd, 0);
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0660);
    srv_unix_remove(path, &none);
    ck_assert(answers());
    ck_assert_int_eq(unlink(path), 0);
    int other = open(path, O_CREAT | O_WRONLY | O_EXCL, 0600); /* not with the same inode: fd holds that one */
    ck_assert_int_ge(other, 0);
    srv_unix_remove(path, &file);
    ck_assert_int_eq(access(path, F_OK), 0);
    close(other);
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("unix_socket");
    TCase *tcase = tcase_create("unix_socket");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, one_of_many_gets_the_path_and_keeps_it);
    tcase_add_test(tcase, a_socket_at_which_nobody_listens_yet_is_not_taken_for_a_stale_one);
    tcase_add_test(tcase, a_file_of_somebody_else_is_not_removed);
    suite_add_tcase(suite, tcase);
    return unit_main(suite);
}
