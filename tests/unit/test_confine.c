/* test_confine.c - what a confined process cannot do any more, and what it still can. Each claim is tried in a child of its own, which the filter never leaves.
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "confine.h"
#include "unit.h"

enum { FINE, NOT_CONFINED, NOT_REFUSED, NOT_ALLOWED };

static char folder[] = "/tmp/attnd-confine-XXXXXX";
static char existing[64], fresh[64];

/* The status of a child that is confined and then runs this. */
static int confined(int (*act)(void), bool may_unlink)
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        char why[128];
        _exit(srv_confine(may_unlink, why, sizeof why) ? act() : NOT_CONFINED);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status), "the child died of signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

/* Did that fail, and as it should? */
static int refused(long result)
{
    return result == -1 && errno == EPERM ? FINE : NOT_REFUSED;
}

static int run_a_program(void)
{
    char *argv[] = { (char *)(uintptr_t) "/bin/true", NULL }, *env[] = { NULL };
    return refused(execve("/bin/true", argv, env));
}

static int trace(void)
{
    return refused(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int write_a_file(void)
{
    return refused(open(existing, O_WRONLY)) || refused(open(existing, O_RDWR)) || refused(open(existing, O_RDONLY | O_TRUNC));
}

static int create_a_file(void)
{
    return refused(open(fresh, O_RDONLY | O_CREAT, 0600)) || refused(open(folder, O_TMPFILE | O_RDWR, 0600)) || refused(mkdir(fresh, 0700)) ||
           refused(rename(existing, fresh)) || refused(symlink(existing, fresh)) || refused(chmod(existing, 0777)) || refused(truncate(existing, 0));
}

static int remove_a_file(void)
{
    return refused(unlink(existing));
}

static int remove_a_file_that_may_be(void)
{
    return unlink(existing) == 0 ? FINE : NOT_ALLOWED;
}

static int connect_somewhere(void)
{
    struct sockaddr_un nowhere = { .sun_family = AF_UNIX };
    int own = socket(AF_UNIX, SOCK_STREAM, 0);
    if (own < 0)
        return NOT_ALLOWED; /* it takes the port's place when the server drains */
    return refused(socket(AF_UNIX, SOCK_DGRAM, 0)) || refused(socket(AF_INET, SOCK_STREAM, 0)) || refused(socket(AF_INET6, SOCK_DGRAM, 0)) ||
           refused(socket(AF_NETLINK, SOCK_RAW, 0)) || refused(socket(AF_PACKET, SOCK_RAW, 0)) ||
           refused(connect(own, (struct sockaddr *)&nowhere, sizeof nowhere)) || refused(sendto(own, "x", 1, MSG_FASTOPEN, NULL, 0)) ||
           refused(sendmsg(own, &(struct msghdr){ 0 }, MSG_FASTOPEN | MSG_NOSIGNAL));
}

static int open_a_door(void)
{
    struct sockaddr_un named = { .sun_family = AF_UNIX };
    int own = socket(AF_UNIX, SOCK_STREAM, 0);
    if (own < 0 || bind(own, (struct sockaddr *)&named, sizeof named.sun_family) != 0 || listen(own, 1) != 0)
        return NOT_ALLOWED; /* that one is under a name which the system makes up */
    own = socket(AF_UNIX, SOCK_STREAM, 0);
    memcpy(named.sun_path, fresh, strlen(fresh) + 1);
    return refused(bind(own, (struct sockaddr *)&named, sizeof named));
}

static int make_code(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return NOT_ALLOWED;
    if (refused(mprotect(page, 4096, PROT_READ | PROT_EXEC)))
        return NOT_REFUSED;
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EPERM ? FINE : NOT_REFUSED;
}

static int make_a_process(void)
{
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    return refused(child);
}

static int reach_others(void)
{
    struct rlimit limit = { 1, 1 };
    return refused(ioctl(STDIN_FILENO, TIOCSTI, "x")) || refused(kill(getppid(), 0)) || refused(setrlimit(RLIMIT_NOFILE, &limit)) || refused(setuid(1)) ||
           refused(prctl(PR_SET_DUMPABLE, 0)) || refused(chroot("/"));
}

static void *do_nothing(void *ctx)
{
    return ctx;
}

static int go_on(void)
{
    char bytes[64];
    int fd = open(existing, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, bytes, sizeof bytes) != 4 || close(fd) != 0)
        return NOT_ALLOWED;
    for (size_t n = 1; n < (size_t)64 << 20; n *= 4) {
        void *p = malloc(n);
        if (!p)
            return NOT_ALLOWED;
        memset(p, 1, n);
        free(p);
    }
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file || !fgets(bytes, sizeof bytes, file) || fclose(file) != 0)
        return NOT_ALLOWED;
    pthread_t thread; /* one more, where a job waits for its client */
    if (pthread_create(&thread, NULL, do_nothing, NULL) != 0 || pthread_join(thread, NULL) != 0)
        return NOT_ALLOWED;
    return write(STDERR_FILENO, "", 0) == 0 ? FINE : NOT_ALLOWED;
}

static pthread_barrier_t both;
static int of_thread;

static void *act_later(void *ctx)
{
    (void)ctx;
    pthread_barrier_wait(&both); /* it runs */
    pthread_barrier_wait(&both); /* all is confined */
    of_thread = run_a_program();
    return NULL;
}

/* In a child: a thread that was there before. */
static int confine_with_a_thread(void)
{
    pthread_t thread;
    char why[128];
    pthread_barrier_init(&both, NULL, 2);
    if (pthread_create(&thread, NULL, act_later, NULL) != 0)
        return NOT_ALLOWED;
    pthread_barrier_wait(&both);
    bool fine = srv_confine(false, why, sizeof why);
    pthread_barrier_wait(&both);
    pthread_join(thread, NULL);
    return fine ? of_thread : NOT_CONFINED;
}

/* In a child, and beside it what only looks like a thread. */
static int make_threads(void)
{
    pthread_t threads[20];
    pthread_barrier_init(&both, NULL, 2);
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        if (pthread_create(&threads[i], NULL, act_later, NULL) != 0)
            return NOT_ALLOWED;
        pthread_barrier_wait(&both);
        pthread_barrier_wait(&both);
        pthread_join(threads[i], NULL);
        if (of_thread != FINE)
            return of_thread;
    }
    errno = 0;
    if (syscall(SYS_clone3, NULL, 0) != -1 || errno != ENOSYS)
        return NOT_REFUSED;
    return refused(syscall(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL, NULL, NULL, NULL)) ||
           refused(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)) ||
           refused(syscall(SYS_clone, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_NEWUSER, NULL, NULL, NULL, NULL)) ||
           refused(unshare(CLONE_NEWUSER));
}

static void setup(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(existing, sizeof existing, "%s/existing", folder);
    snprintf(fresh, sizeof fresh, "%s/fresh", folder);
    FILE *file = fopen(existing, "w");
    ck_assert_ptr_nonnull(file);
    fputs("here", file);
    fclose(file);
}

static void teardown(void)
{
    unlink(existing);
    ck_assert_int_ne(access(fresh, F_OK), 0);
    rmdir(folder);
    memcpy(folder + sizeof folder - 7, "XXXXXX", 6);
}

START_TEST(what_is_not_needed_is_refused)
{
    int (*const acts[])(void) = { run_a_program,     trace,       write_a_file, create_a_file,  remove_a_file,
                                  connect_somewhere, open_a_door, make_code,    make_a_process, reach_others };
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
        ck_assert_msg(confined(acts[i], false) == FINE, "act %zu", i);
    ck_assert_int_eq(access(existing, F_OK), 0);
}
END_TEST

START_TEST(what_is_needed_goes_on)
{
    ck_assert_int_eq(confined(go_on, false), FINE);
}
END_TEST

START_TEST(threads_can_be_made_and_are_confined_too)
{
    ck_assert_int_eq(confined(make_threads, false), FINE);
}
END_TEST

START_TEST(files_may_be_removed_where_that_was_asked_for)
{
    ck_assert_int_eq(confined(remove_a_file_that_may_be, true), FINE);
    ck_assert_int_ne(access(existing, F_OK), 0);
}
END_TEST

START_TEST(threads_that_were_there_before_are_confined_too)
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(confine_with_a_thread());
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), FINE);
}
END_TEST

START_TEST(a_build_with_a_sanitizer_says_that_it_is_not_confined)
{
    char why[128] = "";
    ck_assert(!srv_confine(false, why, sizeof why));
    ck_assert_ptr_nonnull(strstr(why, "sanitizer"));
}
END_TEST

START_TEST(where_the_kernel_filters_nothing_it_says_why)
{
    char why[128] = "";
    ck_assert(!srv_confine(false, why, sizeof why));
    ck_assert_str_ne(why, "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("confine");
    TCase *tcase = tcase_create("confine");
    tcase_add_checked_fixture(tcase, setup, teardown);
    if (SANITIZED) {
        tcase_add_test(tcase, a_build_with_a_sanitizer_says_that_it_is_not_confined);
    } else if (is_emulated()) {
        tcase_add_test(tcase, where_the_kernel_filters_nothing_it_says_why);
    } else {
        tcase_add_test(tcase, what_is_not_needed_is_refused);
        tcase_add_test(tcase, what_is_needed_goes_on);
        tcase_add_test(tcase, threads_can_be_made_and_are_confined_too);
        tcase_add_test(tcase, files_may_be_removed_where_that_was_asked_for);
        tcase_add_test(tcase, threads_that_were_there_before_are_confined_too);
    }
    suite_add_tcase(suite, tcase);
    return unit_main(suite);
}
