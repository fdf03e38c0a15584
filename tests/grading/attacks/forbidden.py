"""Attacks that L2 (Landlock with a filter) and L3 (bubblewrap) prevent, as bodies of a function that must fail.

A body returns if its attack succeeds, as each does without the protections, except for those in ``UNPROVED``.
``{victim}`` is another process of the user, ``{secret}`` a file in ``{folder}``, ``{shm}``, ``{queue}`` and
``{semaphore}`` are System V objects of the user, ``{port}`` and ``{unix}`` are listening sockets.
"""

TOOLS = """
import ctypes, fcntl, mmap, os, platform, socket, struct, sys, threading, time
import numpy as np
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(x86, arm, *arguments):
    number = arm if platform.machine() == "aarch64" else x86
    if number is None:
        raise OSError(38, "Function not implemented")
    result = libc.syscall(number, *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
def fine(x):
    return x + 1
"""

SIGNALS = {
    "a signal": "os.kill({victim}, 0)",
    "a signal to its parent": "os.kill(os.getppid(), 0)",
    "a signal to a group": "os.killpg({victim}, 0)",
    "a signal to everything": "os.kill(-1, 0)",
    "tgkill": "call(234, 131, {victim}, {victim}, 0)",
    "tkill": "call(200, 130, {victim}, 0)",
    "rt_sigqueueinfo": "call(129, 138, {victim}, 18, struct.pack('iii116x', 18, 0, -1))",
    "rt_tgsigqueueinfo": "call(297, 240, {victim}, {victim}, 18, struct.pack('iii116x', 18, 0, -1))",
    "pidfd_open": "call(434, 434, {victim}, 0)",
    "pidfd_send_signal": "call(424, 424, call(434, 434, {victim}, 0), 0, 0, 0)",
    "F_SETOWN": "fcntl.fcntl(1, fcntl.F_SETOWN, {victim})",
    "F_SETOWN of a group": "fcntl.fcntl(1, fcntl.F_SETOWN, -{victim})",
    "F_SETOWN_EX": "fcntl.fcntl(1, 15, struct.pack('ii', 1, {victim}))",
    "F_SETSIG": "fcntl.fcntl(1, 10, 18)",
    "O_ASYNC by F_SETFL": "fcntl.fcntl(1, fcntl.F_SETFL, fcntl.fcntl(1, fcntl.F_GETFL) | os.O_ASYNC)",
    "O_ASYNC by open": "os.open({shown!r}, os.O_RDONLY | os.O_ASYNC)",
    "FIOASYNC": "fcntl.ioctl(1, 0x5452, struct.pack('i', 1))",
    "FIOASYNC with high bits": "call(16, 29, 1, 0x5452 | 1 << 32, struct.pack('i', 1))",
    "FIOSETOWN": "fcntl.ioctl(socket.socketpair()[0], 0x8901, struct.pack('i', {victim}))",
    "SIOCSPGRP": "fcntl.ioctl(socket.socketpair()[0], 0x8902, struct.pack('i', {victim}))",
    "F_NOTIFY": "fcntl.fcntl(os.open({library!r}, os.O_RDONLY), 1026, 2)",
    "F_SETLEASE": "fcntl.fcntl(os.open({shown!r}, os.O_RDONLY), 1024, 0)",
    "F_SETLK": "fcntl.lockf(os.open({shown!r}, os.O_RDONLY), fcntl.LOCK_SH | fcntl.LOCK_NB)",
    "F_SETPIPE_SZ": "fcntl.fcntl(1, 1031, 1 << 20)",
    "flock": "fcntl.flock(os.open({shown!r}, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)",
    "PR_SET_PDEATHSIG": "call(157, 167, 1, 0, 0, 0, 0)",
    "a timer": "call(38, 103, 0, struct.pack('qqqq', 0, 0, 60, 0), 0)",
    "a timer for a thread": (
        "event = struct.pack('qiii44x', 0, 10, 4, threading.get_native_id())\n"
        "call(222, 107, 1, event, ctypes.create_string_buffer(8))"),
    "signalfd": "call(289, 74, -1, bytes(8), 8, 0)",
    "another process group": "os.setpgid(0, 0) if os.getpgid(0) != os.getpid() else call(121, 155, {victim})",
}  # fmt: skip

SOCKETS = {
    "opening a connection": "socket.create_connection(('127.0.0.1', {port}))",
    "a datagram socket": "socket.socket(2, 2)",
    "a Unix socket": "socket.socket(1, 1).connect({unix!r})",
    "a netlink socket": "socket.socket(16, 3)",
    "a message through a socket pair": "a, b = socket.socketpair(1, 2)\na.sendto(b'x', {datagrams!r})",
    "socketpair": "call(53, 199, 1, 1, 0, ctypes.create_string_buffer(8))",
    "io_uring": "call(425, 425, 4, ctypes.create_string_buffer(120))",
    "asyncio": "__import__('asyncio').run(__import__('asyncio').sleep(0))",
    "an epoll": "__import__('select').epoll()",
    "a pipe": "os.pipe()",
    "vmsplice into the grader's pipe": (
        "b = ctypes.create_string_buffer(b'x')\ncall(278, 75, 1, struct.pack('PN', ctypes.addressof(b), 1), 1, 0)"),
    "splice": "r, w = os.pipe()\nos.write(w, b'x')\ncall(275, 76, r, 0, 1, 0, 1, 0)",
    "tee": "r, w = os.pipe()\nos.write(w, b'x')\ncall(276, 77, r, 1, 1, 0)",
}  # fmt: skip

SHARED = {
    "shmget": "call(29, 194, 0, 4096, 0o1600)",
    "shmat": "call(30, 196, {shm}, 0, 0)",
    "shmctl IPC_STAT": "call(31, 195, {shm}, 2, ctypes.create_string_buffer(512))",
    "msgget": "call(68, 186, {queue_key}, 0)",
    "msgsnd": "call(69, 189, {queue}, struct.pack('qc', 1, b'x'), 1, 0o4000)",
    "msgctl IPC_STAT": "call(71, 187, {queue}, 2, ctypes.create_string_buffer(512))",
    "semget": "call(64, 190, 0, 1, 0o1600)",
    "semop": "call(65, 193, {semaphore}, struct.pack('Hhh', 0, 1, 0), 1)",
    "semctl": "call(66, 191, {semaphore}, 0, 12, 0)",
    "mq_open": "call(240, 180, b'se_numpy-test', 0o102, 0o600, 0)",
    "mq_unlink": "call(240, 180, b'se_numpy-test', 0o102, 0o600, 0)\ncall(241, 181, b'se_numpy-test')",
    "a file in /dev/shm": "open('/dev/shm/se_numpy-test', 'w')",
    "shared memory": "__import__('_posixshmem').shm_open('/se_numpy-test', os.O_CREAT | os.O_RDWR)",
    "a file in memory": "os.memfd_create('x')",
    "a program in memory": (
        "f = os.memfd_create('x')\nos.write(f, open('/usr/bin/true', 'rb').read())\n"
        "os.fork() or os.execve(f, ['x'], {{}})"),
}  # fmt: skip

FILES = {
    "writing results.json": "open({folder!r} + '/results.json', 'w').close()",
    "appending": "open({secret!r}, 'a').write('x')",
    "a temporary file": "open({left!r}, 'w')",
    "a nameless temporary file": "os.open({folder!r}, os.O_TMPFILE | os.O_RDWR)",
    "creating a folder": "os.mkdir({folder!r} + '/new')",
    "removing a folder": "os.rmdir({folder!r} + '/empty')",
    "creating a link": "os.symlink('/', {folder!r} + '/link')",
    "creating a hard link": "os.link({secret!r}, {folder!r} + '/hard')",
    "creating a named pipe": "os.mkfifo({folder!r} + '/fifo')",
    "removing a file": "os.remove({secret!r})",
    "renaming a file": "os.rename({secret!r}, {secret!r} + '2')",
    "changing the mode": "os.chmod({secret!r}, 0o600)",
    "changing the mode of an open file": "os.fchmod(os.open({shown!r}, os.O_RDONLY), 0o600)",
    "fchmodat2": "call(452, 452, -100, os.fsencode({secret!r}), 0o600, 0)",
    "changing the owner": "os.chown({secret!r}, os.getuid(), os.getgid())",
    "changing the times": "os.utime({secret!r}, (0, 0))",
    "an extended attribute": "os.setxattr({secret!r}, 'user.x', b'x')",
    "setxattrat": "call(463, 463, -100, os.fsencode({secret!r}), 0, b'user.x', struct.pack('QII', 0, 0, 0), 16)",
    "truncating": "os.truncate({secret!r}, 0)",
    "truncating while reading": "os.open({secret!r}, os.O_RDONLY | os.O_TRUNC)",
    "truncating with access mode 3": "os.open({secret!r}, 3 | os.O_TRUNC)",
    "creat": "call(85, None, os.fsencode({folder!r} + '/new'), 0o600)",
    "a path without permission": "os.open({secret!r}, os.O_PATH)",
    "openat2": "call(437, 437, -100, os.fsencode({secret!r}), bytes(24), 24)",
    "fallocate": "call(285, 47, os.open({secret!r}, os.O_RDWR), 0, 0, 9)",
    "reading a secret": "open({secret!r}).read()",
    "listing its folder": "os.listdir({folder!r})",
    "watching a folder": "call(254, 27, call(294, 26, 0), os.fsencode({folder!r}), 2)",
    "a file handle": "call(303, 264, -100, os.fsencode({secret!r}), struct.pack('Ii128x', 128, 0), bytes(4), 0)",
    "changing the folder": "os.chdir({folder!r})",
    "umask": "call(95, 166, 0o22)",
    "sync": "call(162, 81)",
    "free space": "os.statvfs({folder!r})",
    "reading the grader's source": "open({source!r}).read()",
    "importing se_numpy from its folder": "sys.path.insert(0, {root!r})\nimport se_numpy",
    "importing another package": "sys.path.insert(0, {packages!r})\nimport hypothesis",
    "reading the environment of another process": "open('/proc/{victim}/environ').read()",
    "reading the memory of another process": "open('/proc/{victim}/mem', 'rb')",
    "opening another process's files": "os.listdir('/proc/{victim}/fd')",
    "opening its own memory": "open('/proc/self/mem', 'rb')",
    "listing processes": "os.listdir('/proc')",
    "its own descriptors": "os.listdir('/proc/self/fd')",
    "opening a pipe again": "os.open('/proc/self/fd/' + sys.argv[1], os.O_WRONLY)",
    "kernel settings": "open('/proc/sys/kernel/hostname').read()",
    "a device": "open('/dev/null', 'w')",
    "the password file": "open('/etc/passwd').read()",
}  # fmt: skip

PROCESSES = {
    "fork": "os.fork() or os._exit(0)",
    "vfork": "__import__('subprocess').run(['/usr/bin/true'])",
    "a program": "__import__('subprocess').run([sys.executable, '-c', ''], preexec_fn=lambda: 0)",
    "posix_spawn": "os.posix_spawn('/usr/bin/true', ['true'], {{}})",
    "os.system": "os.system('true') == 0 or call(1 << 20, 1 << 20)",
    "multiprocessing": "__import__('multiprocessing').get_context('fork').Process(target=int).start()",
    "clone with a namespace": "call(56, 220, 0x10000000 | 17, 0, 0, 0, 0) or os._exit(0)",
    "execveat": "os.fork() or call(322, 281, -100, b'/usr/bin/true', struct.pack('PP', 0, 0), 0, 0)",
    "unshare": "call(272, 97, 0x200)",
    "ptrace": "call(101, 117, 0x4206, {victim}, 0, 0)",
    "process_vm_readv": (
        "b = ctypes.create_string_buffer(8)\nv = struct.pack('PN', ctypes.addressof(b), 8)\n"
        "call(310, 270, os.getpid(), v, 1, v, 1, 0)"),
    "kcmp": "call(312, 272, os.getpid(), os.getpid(), 0, 1, 1)",
    "get_robust_list": "call(274, 100, {victim}, ctypes.create_string_buffer(8), ctypes.create_string_buffer(8))",
    "another process's priority": "os.setpriority(os.PRIO_PROCESS, {victim}, 19)",
    "its own priority": "os.nice(1)",
    "another process's processors": "os.sched_setaffinity({victim}, os.sched_getaffinity({victim}))",
    "its own processors": "os.sched_setaffinity(0, os.sched_getaffinity(0))",
    "looking for processes": "os.sched_getaffinity({victim})",
    "another process's scheduler": "os.sched_setscheduler({victim}, os.SCHED_BATCH, os.sched_param(0))",
    "another process's disk priority": "call(251, 30, 1, {victim}, 2 << 13 | 7)",
    "another process's limits": (
        "import resource\nresource.prlimit({victim}, resource.RLIMIT_CORE, resource.prlimit({victim}, "
        "resource.RLIMIT_CORE))"),
    "reading another process's limits": "import resource\nresource.prlimit({victim}, resource.RLIMIT_CPU)",
    "lowering a limit": "import resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 1))",
    "memory nodes": "call(238, 237, 0, 0, 0)",
    "moving pages": "call(279, 239, 0, 0, 0, 0, 0, 0)",
    "huge pages": "call(9, 222, 0, 1 << 21, 3, 0x44022, -1, 0)",
    "locked memory": "call(149, 228, id(x) & ~4095, 8)",
    "a mapping in locked memory": "call(9, 222, 0, 4096, 3, 0x2022, -1, 0)",
    "asynchronous input and output": "call(206, 0, 1, ctypes.create_string_buffer(8))",
    "personality": "call(135, 92, 0xFFFFFFFF)",
    "a key": "call(248, 217, b'user', b'se_numpy-test', b'x', 1, -3)",
    "keyctl": "call(250, 219, 0, -3, 1)",
    "user IDs": "os.setuid(os.getuid())",
    "group IDs": "os.setgid(os.getgid())",
    "capget": "call(125, 90, struct.pack('Ii', 0x20080522, 0), ctypes.create_string_buffer(24))",
    "a filter of its own": "call(317, 277, 2, 0, struct.pack('I', 0x7FFF0000))",
    "PR_SET_DUMPABLE": "call(157, 167, 4, 1, 0, 0, 0)",
    "PR_SET_CHILD_SUBREAPER": "call(157, 167, 36, 1, 0, 0, 0)",
    "Landlock": "call(444, 444, 0, 0, 1)",
}  # fmt: skip

# Attacks that also fail without the protections here, for lack of privileges or of support in the kernel.
UNPROVED = {
    "process_madvise": "call(440, 440, call(434, 434, {victim}, 0), struct.pack('PN', 0, 0), 0, 21, 0)",
    "clone3": "call(435, 435, struct.pack('QQQQQQQQ', 0, 0, 0, 0, 17, 0, 0, 0), 64) or os._exit(0)",
    "setns": "call(308, 268, os.open('/proc/{victim}/ns/time', os.O_RDONLY), 0)",
    "raising a limit": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))",
    "a real-time scheduler": "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
    "changing the root": "os.chroot('/usr')",
    "a mount": "call(165, 40, 0, b'/', 0, 0x44000, 0)",
    "umount": "call(166, 39, b'/', 2)",
    "fsopen": "call(430, 430, b'tmpfs', 0)",
    "open_tree": "call(428, 428, -100, b'/', 1)",
    "pivot_root": "call(155, 41, b'/', b'/')",
    "mount_setattr": "call(442, 442, -100, b'/', 0, bytes(32), 32)",
    "open_by_handle_at": "call(304, 265, -100, struct.pack('Ii128x', 8, 1), 0)",
    "fanotify": "call(300, 262, 0, 0)",
    "a device node": "os.mknod({folder!r} + '/null', 0o20666, os.makedev(1, 3))",
    "bpf": "call(321, 280, 0, bytes(72), 72)",
    "performance counters": "call(298, 241, bytes(128), 0, -1, -1, 0)",
    "userfaultfd": "call(323, 282, 0)",
    "secret memory": "call(447, 447, 0)",
    "writing another process's memory": "v = bytes(16)\ncall(311, 271, {victim}, v, 1, v, 1, 0)",
    "pidfd_getfd": "call(438, 438, call(434, 434, {victim}, 0), 0, 0)",
    "a new user namespace": "call(272, 97, 0x10000000)",
    "the clock": "time.clock_settime(0, time.time())",
    "the host name": "socket.sethostname('x')",
    "the kernel's log": "call(103, 116, 3, ctypes.create_string_buffer(8), 8)",
    "another user": "os.setuid(12345)",
    "other groups": "os.setgroups([0])",
    "a terminal": "os.open('/dev/tty', os.O_RDWR)",
    "TIOCSTI": "fcntl.ioctl(0, 0x5412, b'x')",
    "TIOCLINUX": "fcntl.ioctl(0, 0x541C, b'\\x0b')",
    "TIOCSCTTY": "fcntl.ioctl(0, 0x540E, 0)",
    "a controlling terminal": "os.open('/dev/ptmx', os.O_RDWR)",
    "message receive": "call(70, 188, {queue}, ctypes.create_string_buffer(64), 1, 99, 0o4000)",
}  # fmt: skip

FORBIDDEN = SIGNALS | SOCKETS | SHARED | FILES | PROCESSES | UNPROVED
REFUSALS = r"(PermissionError|FileNotFoundError|ModuleNotFoundError|OSError: \[Errno (30|38)\]|ValueError: not allowed)"
