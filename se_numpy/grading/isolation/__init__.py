"""Run submissions in a sandbox, with documented guarantees.

A submission runs in its own process, which imports the standard library and NumPy, never se_numpy. It receives and
returns arrays as bytes, whose sizes are checked before they are read. The grader compares the results in its own
process. There are three backends, strongest first:

    bwrap     L3   bubblewrap and a seccomp filter      separate mounts, processes, users and network
    landlock  L2   Landlock and a seccomp filter        the same file system, but only a few files can be opened
    process   L1   a plain child process                Linux and macOS, nothing to install

Guarantees on Linux:

                                                                           L1    L2    L3
    endless loops, exit(), crashes and huge output are reported             x     x     x
    memory, processor time and file sizes are limited                       x     x     x
    forged or early replies, objects and array subclasses are refused       x     x     x
    a patched NumPy has no effect on the grader                             x     x     x
    se_numpy, torch and other packages next to NumPy are not importable     x     x     x
    ... even if their folder is added to sys.path                                 x     x
    the grader's files cannot be read                                             x     x
    no file is written, removed or renamed, or changes its mode or owner          x     x
    processes and programs cannot be started                                      x     x
    remaining processes are found by their environment and killed           x
    no signals to other processes, no sockets, no tracing                         x     x
    the grader's files, processes and network are invisible                             x

Limitations:

- L1 protects against accidents, not against malice: hostile code can kill the grader, read and write everything that
  its user can, open connections, and hide a process by starting it with an empty environment. As root, it can also
  fork without limit until the call times out. On macOS, memory is not limited, and processes that start a new session
  are not found.
- At no level can the child's statements about itself be trusted. A submission shares its process with the code that
  replies for it, so it can hide that it modified its arguments, forge its own error message, or keep state between
  calls in one process (``restart`` clears it). It cannot learn the expected results, which are never sent.
- L2 and L3 rely on the kernel; only another machine protects against kernel vulnerabilities. A submission can measure
  time and memory, read the system's libraries and the standard library, and at L2 see that other files exist.
- A submission that uses all of its time and memory slows down other processes on the machine.
- Time limits are wall-clock time, so a function close to its limit may fail on a busy machine.
- Nothing prevents a student from submitting a copy of this library's public code.

Do not grade hostile code on a machine with data that you cannot afford to lose: use a container or a virtual machine
for each submission, with L2 or L3 inside it. On Windows, use WSL.
"""

from se_numpy.grading.isolation.backends import Finding, IsolationMissing, choose, doctor, missing
from se_numpy.grading.isolation.child import Child, Limits

__all__ = ["Child", "Finding", "IsolationMissing", "Limits", "choose", "doctor", "missing"]
