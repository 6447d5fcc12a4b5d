/* confine.c - see confine.h. The list is what strace saw of all HTTP suites, and what glibc and GnuTLS may do instead on other kernels.
 * SPDX-License-Identifier: Apache-2.0 */
#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* With any arguments. Names that an architecture does not have are left out by libseccomp. */
static const int allowed[] = {
    /* bytes in and out */
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(pread64),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(close),
    SCMP_SYS(lseek),
    SCMP_SYS(fcntl),
    SCMP_SYS(dup3),
    SCMP_SYS(fstat),
    SCMP_SYS(stat),
    SCMP_SYS(lstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(statx),
    SCMP_SYS(getdents64),
    /* the sockets there are */
    SCMP_SYS(accept),
    SCMP_SYS(accept4),
    SCMP_SYS(listen),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendfile),
    SCMP_SYS(shutdown),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(select),
    SCMP_SYS(pselect6),
    /* memory; what is executable is judged below */
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    /* threads that wait for each other, and end */
    SCMP_SYS(futex),
    SCMP_SYS(futex_waitv),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(membarrier),
    SCMP_SYS(rseq),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(gettid),
    SCMP_SYS(getpid),
    SCMP_SYS(getcpu),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    /* signals, time, randomness, figures */
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigtimedwait),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(getrusage),
    SCMP_SYS(sysinfo),
    SCMP_SYS(uname),
};

/* Under a condition on one argument. */
typedef struct condition {
    int call;
    struct scmp_arg_cmp argument;
} condition;

enum {
    WRITES = O_ACCMODE | O_CREAT | O_TRUNC,
    SOCKET_TYPE = 0xf,
    THREAD = CLONE_VM | CLONE_THREAD | CLONE_SIGHAND,
    APART =
        CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET /* a thread has no namespaces of its own */
};
#define REQUEST UINT64_C(0xffffffff)

static int add_conditions(scmp_filter_ctx filter)
{
    const condition conditions[] = {
        { SCMP_SYS(open), SCMP_CMP(1, SCMP_CMP_MASKED_EQ, WRITES, O_RDONLY) },
        { SCMP_SYS(openat), SCMP_CMP(2, SCMP_CMP_MASKED_EQ, WRITES, O_RDONLY) },
        { SCMP_SYS(mmap), SCMP_CMP(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0) },
        { SCMP_SYS(mprotect), SCMP_CMP(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0) },
        { SCMP_SYS(ioctl), SCMP_CMP(1, SCMP_CMP_MASKED_EQ, REQUEST, FIONREAD) }, /* and none that types into a terminal */
        { SCMP_SYS(ioctl), SCMP_CMP(1, SCMP_CMP_MASKED_EQ, REQUEST, FIONBIO) },
        { SCMP_SYS(ioctl), SCMP_CMP(1, SCMP_CMP_MASKED_EQ, REQUEST, TCGETS) },
        { SCMP_SYS(sendto), SCMP_CMP(3, SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0) }, /* which connects */
        { SCMP_SYS(sendmsg), SCMP_CMP(2, SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0) },
        { SCMP_SYS(bind), SCMP_CMP(2, SCMP_CMP_EQ, sizeof(sa_family_t)) },            /* to a name that the system makes up: any other makes a file */
        { SCMP_SYS(prctl), SCMP_CMP(0, SCMP_CMP_EQ, PR_SET_NAME) },                   /* a thread of libmicrohttpd that begins late */
        { SCMP_SYS(clone), SCMP_CMP(0, SCMP_CMP_MASKED_EQ, THREAD | APART, THREAD) }, /* a thread in the place of one that waits for a client; no process */
        { SCMP_SYS(prlimit64), SCMP_CMP(2, SCMP_CMP_EQ, 0) },                         /* looking at limits, not setting them */
        { SCMP_SYS(tgkill), SCMP_CMP(0, SCMP_CMP_EQ, (scmp_datum_t)getpid()) },       /* abort */
    };
    int code = 0;
    for (size_t i = 0; code == 0 && i < sizeof conditions / sizeof *conditions; i++)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, conditions[i].call, 1, conditions[i].argument);
    return code;
}

/* The one that takes the port's place when the server drains. It cannot connect, since connect is not there, and a stream cannot be sent to an address. */
static int add_socket(scmp_filter_ctx filter)
{
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, SCMP_CMP(0, SCMP_CMP_EQ, AF_UNIX),
                            SCMP_CMP(1, SCMP_CMP_MASKED_EQ, SOCKET_TYPE, SOCK_STREAM));
}

static int add_rules(scmp_filter_ctx filter, bool may_unlink)
{
    int code = add_conditions(filter);
    if (code == 0)
        code = add_socket(filter);
    if (code == 0) /* its flags lie in memory, which a filter does not see: glibc then takes clone */
        code = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    for (size_t i = 0; code == 0 && i < sizeof allowed / sizeof *allowed; i++)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    if (code == 0 && may_unlink)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(unlink), 0);
    if (code == 0 && may_unlink)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(unlinkat), 0);
    return code;
}

bool srv_confine(bool may_unlink, char *why, size_t size)
{
    if (SANITIZED) {
        snprintf(why, size, "this build has a sanitizer in it");
        return false;
    }
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int code = filter ? add_rules(filter, may_unlink) : -ENOMEM;
    if (code == 0)
        code = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1); /* all threads, or none */
    if (code == 0)
        code = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a line: each call is judged in a few steps */
    if (code == 0) /* no code of others runs here: kernels before 5.16 would make all reading of memory behind writing slower for nothing */
        seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
    if (code == 0)
        code = seccomp_load(filter); /* and no new privileges, from now on */
    if (code != 0)
        snprintf(why, size, "%s", strerror(code < 0 ? -code : EINVAL));
    seccomp_release(filter);
    return code == 0;
}
