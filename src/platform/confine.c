/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A list of what is denied and not of what is allowed: libvirt's and the C
 * library's needs change with their versions, and a daemon that ends because of
 * that is no safer. The unit file has the list of what is allowed. What the two
 * have in common is here too, for a daemon that no systemd starts; running
 * programs only here, since systemd itself has to run this one.
 *
 * A denied call fails with EPERM, a socket with EAFNOSUPPORT, which libraries
 * take for a machine without a network, and clone3(), whose flags a filter can
 * not see, with ENOSYS, upon which the C library uses clone(). Debugging is left
 * alone: that is guarded by other rights, and the sanitizers need it.
 */

#include "platform/confine.h"

#include <assert.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { X32_BIT = 0x40000000, N_DENIED_MAX = 64 };

/* All that clone() knows; time namespaces are for unshare() and clone3() alone. */
enum {
        CLONE_NEW_ANY = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                        CLONE_NEWPID | CLONE_NEWNET,
};

#define CALL(name) SYS_##name
static const uint16_t denied[] = {
        CALL(execve),
        CALL(execveat),
        CALL(sched_setscheduler),
        CALL(sched_setparam),
        CALL(sched_setattr),
        CALL(setpriority),
        CALL(ioprio_set),
        CALL(process_vm_readv),
        CALL(process_vm_writev),
        CALL(move_pages),
        CALL(migrate_pages),
        CALL(kcmp),
        CALL(io_uring_setup), /* it opens sockets without a call that could be judged */
        CALL(bpf),
        CALL(perf_event_open),
        CALL(userfaultfd),
        CALL(open_by_handle_at),
        CALL(unshare),
        CALL(setns),
        CALL(mount),
        CALL(umount2),
        CALL(open_tree),
        CALL(move_mount),
        CALL(fsopen),
        CALL(fsconfig),
        CALL(fsmount),
        CALL(fspick),
        CALL(mount_setattr),
        CALL(pivot_root),
        CALL(chroot),
        CALL(init_module),
        CALL(finit_module),
        CALL(delete_module),
        CALL(kexec_load),
        CALL(kexec_file_load),
        CALL(reboot),
        CALL(settimeofday),
        CALL(clock_settime),
        CALL(adjtimex),
        CALL(clock_adjtime),
        CALL(add_key),
        CALL(request_key),
        CALL(keyctl),
        CALL(mknodat),
        CALL(swapon),
        CALL(swapoff),
        CALL(acct),
        OLD_CALLS /* those that only some kinds of machine have */
};

#define N_DENIED (sizeof(denied) / sizeof(*denied))
static_assert(N_DENIED <= N_DENIED_MAX, "a jump is at most 255 long");

static const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
static const struct sock_filter deny = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
static const struct sock_filter no_call = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);
static const struct sock_filter no_family = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT);

static struct sock_filter load(size_t offset) {
        return (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset);
}

/* Skips so many instructions where the word loaded last is, or is not, that value. */
static struct sock_filter if_equal(uint32_t value, uint8_t skip, uint8_t skip_else) {
        return (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, skip, skip_else);
}

/* Returns how many instructions it has. */
static unsigned filter_build(struct sock_filter *ret) {
        unsigned n = 0;

        ret[n++] = load(offsetof(struct seccomp_data, arch));
        ret[n++] = if_equal(VAS_AUDIT_ARCH, 1, 0);
        ret[n++] = deny; /* the calls of another ABI have other numbers */
        ret[n++] = load(offsetof(struct seccomp_data, nr));
        ret[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
        ret[n++] = deny;
        for (unsigned i = 0; i < N_DENIED; i++) {
                ret[n++] = if_equal(denied[i], 0, 1);
                ret[n++] = deny;
        }
        ret[n++] = if_equal(SYS_clone3, 0, 1);
        ret[n++] = no_call;
        ret[n++] = if_equal(SYS_clone, 0, 4);
        ret[n++] = load(offsetof(struct seccomp_data, args[0]));
        ret[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_NEW_ANY, 0, 1);
        ret[n++] = deny;
        ret[n++] = allow;
        ret[n++] = if_equal(SYS_socket, 1, 0);
        ret[n++] = allow;
        /* Flags and family are ints: the kernel looks at the low half only, which comes first here. */
        ret[n++] = load(offsetof(struct seccomp_data, args[0]));
        ret[n++] = if_equal(AF_UNIX, 0, 1);
        ret[n++] = allow;
        ret[n++] = no_family;
        return n;
}

int confine(void) {
        struct sock_filter filter[2 * N_DENIED + 24];
        struct sock_fprog program = {.filter = filter};

        program.len = (unsigned short)filter_build(filter);
        errno = 0;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
            syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0)
                return errno ? -errno : -EBUSY;
        return 0;
}
