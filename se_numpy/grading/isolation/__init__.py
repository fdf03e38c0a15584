"""Run submissions in a sandbox, with documented guarantees.

A submission runs in its own process, which imports the standard library and NumPy, never se_numpy. It receives and
returns arrays as bytes, whose sizes are checked before they are read. The grader compares the results in its own
process. There are three backends, strongest first:

    bwrap     L3   bubblewrap and a seccomp filter      separate mounts, processes, users and network
    landlock  L2   Landlock and a seccomp filter        the same file system, but only a few files can be opened
    process   L1   a plain child process                Linux and macOS, nothing to install

Promises; ``se-numpy doctor`` attacks every one of them on the machine at hand:

                                                                              L1    L2    L3
    endless loops, exit(), crashes and huge output are reported                x     x     x
    processor time and the size of each file are limited                       x     x     x
    the memory of each process is limited                                      x     x     x
    threads and processes are limited, whatever else the user runs             x     x     x
    forged or early replies, objects and array subclasses are refused          x     x     x
    a modified NumPy has no effect on the grader                               x     x     x
    packages next to NumPy are not importable, except an allowed framework     x     x     x
    ... even if their folder is added to sys.path                                    x     x
    the grader's files cannot be read                                                x     x
    no file is changed: its contents, name, mode, owner or times                     x     x
    processes and programs cannot be started                                         x     x
    no signals to other processes                                                    x     x
    no sockets of any kind                                                           x     x
    no System V or POSIX shared memory, queues or semaphores                         x     x
    no access to other processes, their memory, limits or priority                   x     x
    no namespaces, keyrings, file watches, perf events or BPF                        x     x
    the grader's files, processes and network are invisible                                x
    nothing survives the grader, however it ends                               x     x     x

On macOS there is L1 only; memory, threads and processes are not limited there, and of what a submission starts, only
its own session is ended with it. Submissions do not run on Windows; use WSL.

How the promises are kept:

- A supervisor between the grader and the submission ends the submission and all of its descendants when the request
  pipe closes, which the system does if the grader is killed. If the supervisor is killed, the kernel kills the
  submission, on Linux. Temporary folders that a killed grader left are removed by the next one.
- L2 and L3 allow only the system calls in ``syscalls``, with the reason for each, and check their arguments. L2 also
  uses Landlock, and its scopes for signals and abstract sockets from Linux 6.12.
- Threads and processes are counted by the supervisor, at L1 separately in each process and for all processes, from
  Linux 5.5 on, unless a container already uses such a filter. Otherwise, the system's limit for each user applies,
  which counts the user's other processes (at L3, only with a kernel before 5.14) and does not apply to root.

- A framework, PyTorch or JAX, is importable only if the submission declares it and the grader's command allows it. The
  process may then read the framework's packages and /dev/urandom, and has the memory, threads and time in
  ``frameworks``; the allowed system calls are the same.

Limitations:

- L1 protects against accidents, not against malice: hostile code can kill the grader or its own supervisor, read and
  write everything that its user can, open connections, fill the disk, and use as much memory in each of its processes
  as in one.
- At no level can the child's statements about itself be trusted. A submission shares its process with the code that
  replies for it, so it can hide that it modified its arguments, forge its own error message, or keep state and threads
  between calls in one process (``restart`` clears them). It cannot learn the expected results, which are never sent.
- L2 and L3 rely on the kernel; only another machine protects against kernel vulnerabilities. A submission can measure
  time and memory, read the system's libraries and the standard library, and at L2 see which other files and processes
  exist, with their sizes, times and owners.
- A submission that uses all of its time and memory slows down other processes on the machine.
- Time limits are wall-clock time, so a function close to its limit may fail on a busy machine. A submission that the
  deadline of the file or of the class interrupts gets no points for the task in progress.
- Nothing prevents a student from submitting a copy of this library's public code.

Do not grade hostile code on a machine with data that you cannot afford to lose: use a container or a virtual machine
for each submission, with L2 or L3 inside it.
"""

from se_numpy.grading.isolation.backends import Finding, IsolationMissing, choose, doctor, missing
from se_numpy.grading.isolation.child import Child, Limits
from se_numpy.grading.isolation.frameworks import FRAMEWORKS, framework_missing
from se_numpy.grading.isolation.promises import PROMISES, Result, examine

__all__ = [
    "FRAMEWORKS", "PROMISES", "Child", "Finding", "IsolationMissing", "Limits", "Result", "choose", "doctor", "examine",
    "framework_missing", "missing",
]  # fmt: skip
