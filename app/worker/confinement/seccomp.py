"""The system calls that are left once torch and all that it imports late are loaded.

Everything that is not named here fails. A call that this list does not know answers ENOSYS, as on an older kernel,
so that libraries fall back; one that nobody should try answers EPERM, so that a log tells the attempt. A call of
another architecture, or by x32's numbers (bit 30), has its process killed: the lists speak of this machine's numbers.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import termios

import pyseccomp
from pyseccomp import ALLOW, EQ, ERRNO, KILL_PROCESS, MASKED_EQ, Arg, Attr, SyscallFilter

CLONE_THREAD = 0x00010000
PR_SET_NAME, PR_GET_NAME, PR_SET_VMA = 15, 16, 0x53564D41
FIOCLEX = 0x5451
MAP_TYPE, MAP_GROWSDOWN, MAP_HUGETLB = 0x0F, 0x0100, 0x40000
XSTATE_OPTIONS, XSTATE_MASK = 0x1020, 0xFFF0
"""`arch_prctl` about the registers that may be used, such as those of AMX."""

MEMORY = "brk munmap mprotect madvise mincore membarrier pkey_alloc pkey_free pkey_mprotect get_mempolicy"
FILES = (
    "read readv pread64 preadv preadv2 write writev close close_range dup dup2 dup3 lseek fstat stat lstat newfstatat "
    "statx access faccessat faccessat2 readlink readlinkat getdents getdents64 getcwd statfs fstatfs fadvise64 "
    "readahead pipe pipe2 eventfd2 epoll_create1 epoll_ctl epoll_wait epoll_pwait poll ppoll select pselect6"
)
THREADS = (
    "futex set_robust_list get_robust_list rseq set_tid_address gettid getpid getppid exit exit_group sched_yield "
    "sched_getaffinity sched_setaffinity sched_getparam sched_getscheduler sched_get_priority_max "
    "sched_get_priority_min getcpu"
)
TIME = "clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times"
SIGNALS = (
    "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack pause "
    "restart_syscall"
)
FACTS = (
    "getuid geteuid getgid getegid getresuid getresgid getgroups getpgid getpgrp getsid capget getrusage getrlimit "
    "getpriority sysinfo uname getrandom"
)
ALLOWED = " ".join((MEMORY, FILES, THREADS, TIME, SIGNALS, FACTS))

GPU_ALLOWED = (
    "open openat mremap ioctl fcntl memfd_create ftruncate fallocate mlock mlock2 munlock mbind set_mempolicy msync "
    "pwrite64 sched_setscheduler getsockopt"
)
"""What CUDA's driver needs as long as it lives; Landlock still says which files."""

FORBIDDEN = (
    "socket socketpair connect bind listen accept accept4 sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg "
    "execve execveat fork vfork ptrace process_vm_readv process_vm_writev process_madvise kcmp "
    "kill tkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_open pidfd_getfd pidfd_send_signal "
    "creat unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat mkdir mkdirat rmdir mknod mknodat "
    "chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat truncate utime utimes utimensat futimesat setxattr "
    "lsetxattr fsetxattr removexattr lremovexattr fremovexattr name_to_handle_at open_by_handle_at "
    "mount umount2 pivot_root chroot unshare setns fsopen fsconfig fsmount fspick move_mount open_tree mount_setattr "
    "bpf keyctl add_key request_key userfaultfd io_uring_setup io_uring_enter io_uring_register perf_event_open "
    "personality setuid setgid setreuid setregid setresuid setresgid setgroups setfsuid setfsgid capset setsid setpgid "
    "setrlimit setpriority init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff "
    "sethostname setdomainname settimeofday clock_settime adjtimex clock_adjtime acct quotactl syslog iopl ioperm "
    "shmget shmat shmctl semget semop semctl msgget msgsnd msgrcv msgctl mq_open inotify_init inotify_init1 "
    "fanotify_init lookup_dcookie vhangup modify_ldt landlock_create_ruleset landlock_restrict_self seccomp"
)


def restrict(gpu: bool) -> None:
    """Leave only the calls above to every thread of this process; OSError where the kernel has no seccomp."""
    filter_ = SyscallFilter(ERRNO(errno.ENOSYS))
    filter_.set_attr(Attr.CTL_TSYNC, 1)
    filter_.set_attr(Attr.ACT_BADARCH, KILL_PROCESS)
    for name in f"{ALLOWED} {GPU_ALLOWED if gpu else ''}".split():
        _add(filter_, ALLOW, name)
    for name in FORBIDDEN.split():
        _add(filter_, ERRNO(errno.EPERM), name)
    _allow_on_itself(filter_)
    _allow_counted_memory(filter_, gpu)
    if not gpu:
        _allow_private_reading(filter_)
    filter_.load()


def _allow_on_itself(filter_: SyscallFilter) -> None:
    """Threads but no processes, signals to itself, its own limits to read, harmless options of prctl."""
    _add(filter_, ALLOW, "clone", Arg(0, MASKED_EQ, CLONE_THREAD, CLONE_THREAD))
    _add(filter_, ERRNO(errno.EPERM), "clone", Arg(0, MASKED_EQ, CLONE_THREAD, 0))
    _add(filter_, ALLOW, "tgkill", Arg(0, EQ, os.getpid()))
    _add(filter_, ALLOW, "prlimit64", Arg(2, EQ, 0))
    for option in (PR_SET_NAME, PR_GET_NAME, PR_SET_VMA):
        _add(filter_, ALLOW, "prctl", Arg(0, EQ, option))
    _add(filter_, ALLOW, "arch_prctl", Arg(0, MASKED_EQ, XSTATE_MASK, XSTATE_OPTIONS))  # no shadow stacks


def _allow_counted_memory(filter_: SyscallFilter, gpu: bool) -> None:
    """Mappings that count towards the limits: what grows downwards counts as stack, and shared memory not at all.

    `mremap`, which could stretch the first thread's stack, is left to the GPU's driver; the C library copies instead.
    """
    unwanted = (MAP_GROWSDOWN,) if gpu else (MAP_GROWSDOWN, MAP_HUGETLB)
    kind, wanted = (0, 0) if gpu else (MAP_TYPE, mmap.MAP_PRIVATE)
    _add(filter_, ALLOW, "mmap", Arg(3, MASKED_EQ, kind | sum(unwanted), wanted))
    for flag in unwanted:
        _add(filter_, ERRNO(errno.EPERM), "mmap", Arg(3, MASKED_EQ, flag, flag))


def _allow_private_reading(filter_: SyscallFilter) -> None:
    """Files for reading, and questions about descriptors."""
    flags = (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC)
    for name, position in (("open", 1), ("openat", 2)):
        _add(filter_, ALLOW, name, Arg(position, MASKED_EQ, sum(flags), os.O_RDONLY))
        for flag in flags:
            _add(filter_, ERRNO(errno.EPERM), name, Arg(position, MASKED_EQ, flag, flag))
    for request in (termios.TCGETS, termios.FIONREAD, FIOCLEX):
        _add(filter_, ALLOW, "ioctl", Arg(1, EQ, request))
    for command in (fcntl.F_DUPFD, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_SETFL, fcntl.F_DUPFD_CLOEXEC):
        _add(filter_, ALLOW, "fcntl", Arg(1, EQ, command))


def _add(filter_: SyscallFilter, action: int, name: str, *arguments: Arg) -> None:
    """A rule, where this machine and this version of libseccomp know the call."""
    if pyseccomp.resolve_syscall(pyseccomp.system_arch(), name) >= 0:
        filter_.add_rule(action, name, *arguments)
