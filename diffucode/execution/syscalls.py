"""The system calls a job may make, as a seccomp filter: an allow-list, built without libseccomp.

    read the architecture   not ours             -> the process is killed
    read the number         allowed              -> allowed
                            allowed with care    -> by an argument, see ``_careful``
                            newer than the table -> ENOSYS, so the C library falls back
                            anything else        -> EPERM

What is missing is the point: no process is made and none replaced (fork, vfork, execve; clone only makes
threads; clone3 hides its flags in memory, so it is ENOSYS), no socket but a pair without an address
(asyncio wakes itself with one), no ptrace, mount, unshare, setns, bpf, io_uring, keyctl, perf, shared
memory segment, memfd, timer that signals others. A signal reaches the own process only, and never as
SIGKILL: a job that dies of one was killed from outside, which is what tells a full machine from a bad
program. For the same reason the CPU limit cannot be lowered.

Standard library only: the sandbox loads this file without the package.
"""

from __future__ import annotations

import errno
import platform
import struct
from dataclasses import dataclass

_ALLOWED = """
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close
    close_range open openat creat stat fstat lstat newfstatat statx access faccessat faccessat2
    readlink readlinkat getdents getdents64 getcwd chdir fchdir mkdir mkdirat rmdir unlink
    unlinkat rename renameat renameat2 link linkat symlink symlinkat truncate ftruncate
    fallocate fsync fdatasync sync_file_range chmod fchmod fchmodat utime utimes utimensat
    futimesat umask flock fadvise64 statfs fstatfs listxattr llistxattr flistxattr getxattr
    lgetxattr fgetxattr sendfile copy_file_range dup dup2 dup3 pipe pipe2 eventfd2 poll ppoll
    select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2
    sendto recvfrom mmap munmap mprotect mremap madvise brk mincore msync membarrier
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend
    sigaltstack pause alarm getitimer setitimer nanosleep clock_nanosleep clock_gettime
    clock_getres gettimeofday time times getpid gettid getppid getuid geteuid getgid getegid
    getresuid getresgid getgroups getpgrp getpgid getsid getrlimit getrusage sysinfo uname
    getcpu sched_yield sched_getaffinity sched_get_priority_max sched_get_priority_min futex
    set_robust_list rseq set_tid_address restart_syscall exit exit_group getrandom wait4 waitid
"""
ALLOWED = tuple(_ALLOWED.split())

# From the kernel's unistd.h: the calls above, those decided by an argument, those of the walls.
_X86_64 = """
    read=0 write=1 open=2 close=3 stat=4 fstat=5 lstat=6 poll=7 lseek=8 mmap=9 mprotect=10 munmap=11
    brk=12 rt_sigaction=13 rt_sigprocmask=14 rt_sigreturn=15 ioctl=16 pread64=17 pwrite64=18
    readv=19 writev=20 access=21 pipe=22 select=23 sched_yield=24 mremap=25 msync=26 mincore=27
    madvise=28 dup=32 dup2=33 pause=34 nanosleep=35 getitimer=36 alarm=37 setitimer=38 getpid=39
    sendfile=40 sendto=44 recvfrom=45 socketpair=53 clone=56 exit=60 wait4=61 kill=62 uname=63
    fcntl=72 flock=73 fsync=74 fdatasync=75 truncate=76 ftruncate=77 getdents=78 getcwd=79 chdir=80
    fchdir=81 rename=82 mkdir=83 rmdir=84 creat=85 link=86 unlink=87 symlink=88 readlink=89 chmod=90
    fchmod=91 umask=95 gettimeofday=96 getrlimit=97 getrusage=98 sysinfo=99 times=100 getuid=102
    getgid=104 geteuid=107 getegid=108 getppid=110 getpgrp=111 getgroups=115 getresuid=118
    getresgid=120 getpgid=121 getsid=124 capset=126 rt_sigpending=127 rt_sigtimedwait=128
    rt_sigsuspend=130 sigaltstack=131 utime=132 statfs=137 fstatfs=138 sched_get_priority_max=146
    sched_get_priority_min=147 pivot_root=155 umount2=166 prctl=157 gettid=186 getxattr=191 lgetxattr=192
    fgetxattr=193 listxattr=194 llistxattr=195 flistxattr=196 time=201 futex=202
    sched_getaffinity=204 epoll_create=213 getdents64=217 set_tid_address=218 restart_syscall=219
    fadvise64=221 clock_gettime=228 clock_getres=229 clock_nanosleep=230 exit_group=231
    epoll_wait=232 epoll_ctl=233 tgkill=234 utimes=235 waitid=247 openat=257 mkdirat=258
    futimesat=261 newfstatat=262 unlinkat=263 renameat=264 linkat=265 symlinkat=266 readlinkat=267
    fchmodat=268 faccessat=269 pselect6=270 ppoll=271 set_robust_list=273 sync_file_range=277
    utimensat=280 epoll_pwait=281 fallocate=285 eventfd2=290 epoll_create1=291 dup3=292 pipe2=293
    preadv=295 pwritev=296 prlimit64=302 getcpu=309 renameat2=316 seccomp=317 getrandom=318
    membarrier=324 copy_file_range=326 preadv2=327 pwritev2=328 statx=332 rseq=334 clone3=435
    close_range=436 faccessat2=439 epoll_pwait2=441 mount_setattr=442 landlock_create_ruleset=444
    landlock_add_rule=445 landlock_restrict_self=446
"""
_AARCH64 = """
    getxattr=8 lgetxattr=9 fgetxattr=10 listxattr=11 llistxattr=12 flistxattr=13 getcwd=17
    eventfd2=19 epoll_create1=20 epoll_ctl=21 epoll_pwait=22 dup=23 dup3=24 fcntl=25 ioctl=29
    flock=32 mkdirat=34 unlinkat=35 symlinkat=36 linkat=37 renameat=38 umount2=39 pivot_root=41 statfs=43
    fstatfs=44 truncate=45 ftruncate=46 fallocate=47 faccessat=48 chdir=49 fchdir=50 fchmod=52
    fchmodat=53 openat=56 close=57 pipe2=59 getdents64=61 lseek=62 read=63 write=64 readv=65
    writev=66 pread64=67 pwrite64=68 preadv=69 pwritev=70 sendfile=71 pselect6=72 ppoll=73
    readlinkat=78 newfstatat=79 fstat=80 fsync=82 fdatasync=83 sync_file_range=84 utimensat=88
    capset=91 exit=93 exit_group=94 waitid=95 set_tid_address=96 futex=98 set_robust_list=99
    nanosleep=101 getitimer=102 setitimer=103 clock_gettime=113 clock_getres=114 clock_nanosleep=115
    sched_getaffinity=123 sched_yield=124 sched_get_priority_max=125 sched_get_priority_min=126
    restart_syscall=128 kill=129 tgkill=131 sigaltstack=132 rt_sigsuspend=133 rt_sigaction=134
    rt_sigprocmask=135 rt_sigpending=136 rt_sigtimedwait=137 rt_sigreturn=139 getresuid=148
    getresgid=150 times=153 getpgid=155 getsid=156 getgroups=158 uname=160 getrlimit=163
    getrusage=165 umask=166 prctl=167 getcpu=168 gettimeofday=169 getpid=172 getppid=173 getuid=174
    geteuid=175 getgid=176 getegid=177 gettid=178 sysinfo=179 socketpair=199 sendto=206 recvfrom=207
    brk=214 munmap=215 mremap=216 clone=220 mmap=222 fadvise64=223 mprotect=226 msync=227
    mincore=232 madvise=233 wait4=260 prlimit64=261 renameat2=276 seccomp=277 getrandom=278
    membarrier=283 copy_file_range=285 preadv2=286 pwritev2=287 statx=291 rseq=293 clone3=435
    close_range=436 faccessat2=439 epoll_pwait2=441 mount_setattr=442 landlock_create_ruleset=444
    landlock_add_rule=445 landlock_restrict_self=446
"""


@dataclass(frozen=True)
class Architecture:
    """Numbers of the calls used here, and the value the kernel reports for this architecture."""

    audit: int
    numbers: dict[str, int]
    newest: int
    """Calls above this one did not exist when the table was made."""


def _table(audit: int, text: str, newest: int = 451) -> Architecture:
    pairs = (entry.split("=") for entry in text.split())
    return Architecture(audit, {name: int(number) for name, number in pairs}, newest)


ARCHITECTURES = {
    "x86_64": _table(0xC000003E, _X86_64),
    "aarch64": _table(0xC00000B7, _AARCH64),
}


def architecture() -> Architecture:
    """Of this machine; raises OSError where there is no table."""
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no table of system calls for {machine}")
    return ARCHITECTURES[machine]


# --- the filter --------------------------------------------------------------------------------

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # classic BPF
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

Code = list[tuple[int, int, int, int]]
"""Instructions (code, jump if true, jump if false, constant)."""


def _load(argument: int) -> Code:
    """The low half of an argument: these are ints to the kernel, which drops the high half too."""
    return [(_LOAD, 0, 0, _ARGUMENTS + 8 * argument)]


def _when(test: int, constant: int, then: int) -> Code:
    return [(test, 0, 1, constant), (_RETURN, 0, 0, then)]


def _unless(test: int, constant: int, then: int) -> Code:
    return [(test, 1, 0, constant), (_RETURN, 0, 0, then)]


def _give(result: int) -> Code:
    return [(_RETURN, 0, 0, result)]


def _one_of(argument: int, values: tuple[int, ...]) -> Code:
    code = _load(argument)
    for value in values:
        code += _when(_EQUAL, value, _ALLOW)
    return code + _give(_DENY)


_DENY = _ERRNO | errno.EPERM
_CLONE_THREAD = 0x00010000
_CLONE_NEW = 0x7E020080  # namespaces of every kind
_SIGKILL = 9
_FCNTL = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    1030,
    1032,
)  # duplicate, flags, locks, pipe size; no signals to owners
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
# is it a terminal, its size, bytes waiting, non-blocking, close on exec (both)
_PRCTL = (15, 16)  # the name of a thread


def _careful(pid: int) -> dict[str, Code]:
    """What decides where the number alone does not; ``pid`` is that of the job."""
    return {
        "clone": _load(0)
        + _unless(_ANY_BIT, _CLONE_THREAD, _DENY)
        + _when(_ANY_BIT, _CLONE_NEW, _DENY)
        + _give(_ALLOW),
        "clone3": _give(_ERRNO | errno.ENOSYS),
        "fcntl": _one_of(1, _FCNTL),
        "ioctl": _one_of(1, _IOCTL),
        "kill": _load(1) + _when(_EQUAL, _SIGKILL, _DENY) + _one_of(0, (pid,)),
        "tgkill": _load(2) + _when(_EQUAL, _SIGKILL, _DENY) + _one_of(0, (pid,)),
        "prctl": _one_of(0, _PRCTL),
        "prlimit64": _load(1) + _when(_EQUAL, 0, _DENY) + _one_of(0, (0, pid)),
        "socketpair": _one_of(0, (1,)),  # AF_UNIX
    }


def filter_program(target: Architecture, pid: int) -> bytes:
    """The filter for the job ``pid``, as an array of ``struct sock_filter``."""
    code: Code = [(_LOAD, 0, 0, _ARCHITECTURE)]
    code += _unless(_EQUAL, target.audit, _KILL)
    code += [(_LOAD, 0, 0, _NUMBER)]
    for name in ALLOWED:
        if name in target.numbers:
            code += _when(_EQUAL, target.numbers[name], _ALLOW)
    for name, block in _careful(pid).items():
        code += [(_EQUAL, 0, len(block), target.numbers[name]), *block]
    code += _when(_AT_LEAST, target.newest + 1, _ERRNO | errno.ENOSYS)
    code += _give(_DENY)
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)
