/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A list of what is denied and not of what is allowed: libvirt's and the C
 * library's needs change with their versions, and a daemon that ends because of
 * that is no safer. The unit file has the list of what is allowed. What the two
 * have in common is here too, for a daemon that no systemd starts; running
 * programs only here, since systemd itself has to run this one.
 *
 * A denied call fails with EPERM, a socket with EAFNOSUPPORT, which libraries
 * take for a machine without a network. Debugging is left alone: that is guarded
 * by other rights, and the sanitizers need it.
 */

#include "platform/confine.h"

#include <assert.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { X32_BIT = 0x40000000, N_DENIED_MAX = 64 };

static const uint16_t denied[] = {
        SYS_execve,
        SYS_execveat,
        SYS_sched_setscheduler,
        SYS_sched_setparam,
        SYS_sched_setattr,
        SYS_setpriority,
        SYS_ioprio_set,
        SYS_process_vm_readv,
        SYS_process_vm_writev,
        SYS_move_pages,
        SYS_migrate_pages,
        SYS_kcmp,
        SYS_io_uring_setup, /* it opens sockets without a call that could be judged */
        SYS_bpf,
        SYS_perf_event_open,
        SYS_userfaultfd,
        SYS_open_by_handle_at,
        SYS_unshare,
        SYS_setns,
        SYS_mount,
        SYS_umount2,
        SYS_pivot_root,
        SYS_chroot,
        SYS_init_module,
        SYS_finit_module,
        SYS_delete_module,
        SYS_kexec_load,
        SYS_reboot,
        SYS_settimeofday,
        SYS_clock_settime,
        SYS_adjtimex,
        SYS_clock_adjtime,
        SYS_add_key,
        SYS_request_key,
        SYS_keyctl,
        SYS_mknodat,
        SYS_swapon,
        SYS_swapoff,
        SYS_acct,
};

#define N_DENIED (sizeof(denied) / sizeof(*denied))
static_assert(N_DENIED <= N_DENIED_MAX, "a jump is at most 255 long");

static const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
static const struct sock_filter deny = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
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
        ret[n++] = if_equal(SYS_socket, 1, 0);
        ret[n++] = allow;
        /* The family is an int: the kernel looks at the low half only, which comes first here. */
        ret[n++] = load(offsetof(struct seccomp_data, args[0]));
        ret[n++] = if_equal(AF_UNIX, 0, 1);
        ret[n++] = allow;
        ret[n++] = no_family;
        return n;
}

int confine(void) {
        struct sock_filter filter[2 * N_DENIED + 16];
        struct sock_fprog program = {.filter = filter};

        program.len = (unsigned short)filter_build(filter);
        errno = 0;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
            syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0)
                return errno ? -errno : -EBUSY;
        return 0;
}
