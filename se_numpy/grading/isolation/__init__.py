"""Running a submission where it can do no harm, and saying how far that goes.

A submission is called in a process of its own. That process imports the standard library and NumPy, never se_numpy;
it is sent arrays and sends arrays back, as bytes whose sizes are checked before they are read; the answers are
compared by the grader, in the grader's process. Three ways of keeping it there, strongest first:

    bwrap     L3   bubblewrap, and the filter below      own mounts, processes, users, network
    landlock  L2   Landlock and a filter (seccomp)       the same files as everybody, of which it can open a few
    process   L1   a plain child                         Linux and macOS, nothing to install

What is promised, on Linux:

                                                                           L1    L2    L3
    a loop, exit(), a crash, megabytes of output end in a status            x     x     x
    memory, processor time and sizes of files have bounds                   x     x     x
    lying, early or foreign answers, objects, subclasses are refused        x     x     x
    a changed NumPy changes nothing in the grader                           x     x     x
    se_numpy, torch and other neighbours of NumPy are not imported ...      x     x     x
    ... nor with their folder put into sys.path                                   x     x
    no file of the grader's is read                                               x     x
    nothing is written, removed, renamed, given another mode or owner             x     x
    no process and no program is started, so none is left behind                  x     x
    processes that stay are found by what they inherited, and killed        x
    no signal to others, no socket, no tracing                                    x     x
    the grader's files, processes and network do not exist for it                       x

What is not:

- L1 contains accidents, not malice: hostile code can kill the grader, read and write what its user can, open
  connections, and hide a process by starting it with an empty environment. As root it can also fork without bound
  until the call's time is over. On macOS memory has no bound, and processes in a session of their own are not found.
- Not at any level: what the child says about itself. A submission shares its process with the code that answers for
  it, so it can hide that it wrote into its arguments, forge its own error message, or keep notes between two calls of
  one process (``restart`` ends those). It cannot learn what is expected: that is never sent.
- L2 and L3 rest on the kernel; against a hole in it only another machine helps. Time and memory can be measured, the
  system's libraries and the standard library can be read, files outside of those may be seen to exist at L2.
- A submission that uses its time and memory to the full slows down what runs beside it.
- A function that is in time alone may not be on a machine that is busy: the clock is the wall's.
- Nothing stops a student from handing in a copy of this library's public code.

Do not grade hostile code on a machine that holds what you cannot lose: use a container or a virtual machine for each
submission, with L2 or L3 inside. Where the grader runs on Windows, use WSL.
"""

from se_numpy.grading.isolation.backends import Finding, IsolationMissing, choose, doctor, missing
from se_numpy.grading.isolation.child import Child, Limits

__all__ = ["Child", "Finding", "IsolationMissing", "Limits", "choose", "doctor", "missing"]
