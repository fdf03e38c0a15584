"""What submissions do on purpose or by accident, as tables: the body of a function of x, and what becomes of it.

A body may use what a submission has imported: ctypes, os, sys, threading, time, numpy as np.
"""

# What ends alike wherever it runs, most of it with the process: body, status, message.
ANYWHERE = {
    "endless loop": ("while True: pass", "timeout", r"within 0\.5 s"),
    "endless loop that catches everything": (
        "while True:\n  try:\n    while True: pass\n  except BaseException: pass", "timeout", r"within 0\.5 s"),
    "signals ignored": (
        "import signal\nfor s in set(signal.Signals) - {9, 19}: signal.signal(s, signal.SIG_IGN)\nwhile True: pass",
        "timeout", r"within 0\.5 s"),
    "memory, piece by piece": ("a = []\nwhile True: a.append(np.empty(10**6))", "memory", "Memory|allocate"),
    "memory, at once": ("np.ones((10**5, 10**5))", "memory", "Unable to allocate"),
    "os._exit": ("os._exit(0)", "crashed", r"exit code 0"),
    "segfault": ("ctypes.string_at(0)", "crashed", "signal SIGSEGV"),
    "abort": ("os.abort()", "crashed", "signal SIGABRT"),
    "garbage on the channel": ("os.write(int(sys.argv[2]), b'\\xff' * 64)", "refused", "header of 4,294,967,295 b"),
    "no JSON on the channel": ("os.write(int(sys.argv[2]), b'\\1\\0\\0\\0{')", "refused", "no JSON"),
    "an answer to no call": (
        "sys.modules['__main__']._write(int(sys.argv[2]), sys.modules['__main__'].pack({'call': 1, 'status': 'ok'}))",
        "refused", "a call that was not made"),
    "a lie about a shape": (
        "r = sys.modules['__main__']\nn = sys._getframe(2).f_locals['header']['call']\n"
        "lie = {'call': n, 'status': 'ok', 'arrays': [{'dtype': '<f8', 'shape': [1 << 30, 1 << 30]}]}\n"
        "r._write(int(sys.argv[2]), r.pack(lie))", "refused", "announced an array of shape"),
    "a promise not kept": (
        "r = sys.modules['__main__']\nn = sys._getframe(2).f_locals['header']['call']\n"
        "lie = {'call': n, 'status': 'ok', 'arrays': [{'dtype': '<f8', 'shape': [1000]}]}\n"
        "r._write(int(sys.argv[2]), r.pack(lie))\nwhile True: pass", "timeout", r"within 0\.5 s"),
    "the channel closed": ("os.close(int(sys.argv[2]))\ntime.sleep(60)", "crashed", "closed the grader's channel"),
    "requests read away": ("os.read(int(sys.argv[1]), 1)", "timeout", r"within 0\.5 s"),
}  # fmt: skip

# What a process outlives, and so one process for all of them: body, status, message.
SURVIVED = {
    "recursion": ("return (lambda f: f(f))(lambda f: f(f))", "error", r"^RecursionError: maximum recursion depth"),
    "sys.exit": ("sys.exit(0)", "error", r"^SystemExit: 0 \(line \d+\)$"),
    "import se_numpy": ("import se_numpy", "error", "No module named 'se_numpy'; only NumPy"),
    "import torch": ("import torch", "error", "No module named 'torch'; only NumPy"),
    "import pytest": ("import pytest", "error", "No module named 'pytest'; only NumPy"),
    "nothing returned": ("x + 1", "refused", r"^the returned value is None; is a return statement missing\?$"),
    "a string": ("return 'score: 100'", "refused", "a str; expected an array of real numbers"),
    "a generator": ("return (v for v in x)", "refused", "a generator; expected"),
    "a dictionary": ("return {'dU': x}", "refused", "a dict; expected"),
    "objects": ("return np.array([1, None])", "refused", "a ndarray of dtype object"),
    "an object that pickles": (
        "class P:\n  def __reduce__(self): return os.system, ('true',)\nreturn np.array([P()])", "refused", "object"),
    "complex numbers": ("return x * 1j", "refused", "dtype complex128"),
    "long doubles": ("return x.astype(np.longdouble)", "refused", "at most 64 bits"),
    "a record": ("return np.zeros(2, [('a', float)])", "refused", "expected an array"),
    "dates": ("return np.zeros(2, 'M8[s]')", "refused", "expected an array"),
    "ragged lists": ("return x, [[1], [1, 2]]", "refused", "value 2 of 2, a list, is no array of numbers"),
    "a giant": ("return np.broadcast_to(1.0, (10**5, 10**5))", "refused", "returned 80,000,000,000 bytes"),
    "too many": ("return [x] * 33", "refused", "returned 33 values; at most 32"),
    "an exception with its own text": (
        "class E(Exception):\n  def __str__(self): raise ValueError\nraise E", "error", r"cannot be shown\) \(line"),
    "an exception full of orders": ("raise ValueError('\\x1b[2Jred\\0\\u202e')", "error", r"^ValueError: \[2Jred \("),
    "an endless message": ("raise ValueError('long ' * 10**6)", "error", r"^ValueError: long .* \(line \d+\)$"),
}  # fmt: skip

# What only Landlock with a filter (L2) and bubblewrap (L3) prevent: the plain child promises none of these.
FORBIDDEN = {
    "killing the grader": "os.kill({parent}, 9)",
    "killing its parent": "os.kill(os.getppid(), 9)",
    "a signal by another way": "ctypes.CDLL(None).syscall(424, 0, 0, 0, 0) == 0 or 1 / 0",
    "writing results.json": "open({folder!r} + '/results.json', 'w')",
    "writing in its own folder": "open('here', 'w')",
    "a temporary file": "open({left!r}, 'w')",
    "a folder": "os.mkdir({folder!r} + '/new')",
    "a link": "os.symlink('/', {folder!r} + '/link')",
    "removing": "os.remove({secret!r})",
    "renaming": "os.rename({secret!r}, {secret!r} + '2')",
    "another mode": "os.chmod({secret!r}, 0)",
    "another owner": "os.chown({secret!r}, 12345, 12345)",
    "another time": "os.utime({secret!r}, (0, 0))",
    "emptying": "os.truncate({secret!r}, 0)",
    "emptying while reading": "os.open({secret!r}, os.O_RDONLY | os.O_TRUNC)",
    "reading a secret": "open({secret!r}).read()",
    "listing its folder": "os.listdir({folder!r})",
    "reading the grader's source": "open({source!r}).read()",
    "importing se_numpy all the same": "sys.path.insert(0, {root!r})\nimport se_numpy",
    "importing a neighbour of NumPy": "sys.path.insert(0, {packages!r})\nimport hypothesis",
    "the grader's environment": "open('/proc/{parent}/environ').read()",
    "the grader's memory": "open('/proc/{parent}/mem', 'rb')",
    "a process": "os.fork()",
    "a program": "__import__('subprocess').run([sys.executable, '-c', ''])",
    "a connection": "__import__('socket').create_connection(('127.0.0.1', {port}))",
    "a datagram": "__import__('socket').socket(2, 2)",
    "a socket in a file": "__import__('socket').socket(1, 1)",
    "higher limits": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))",
    "the grader's limits": "import resource\nresource.prlimit({parent}, resource.RLIMIT_CPU, (1, 1))",
    "the grader's priority": "os.setpriority(os.PRIO_PROCESS, {parent}, 19)",
    "a file in memory": "os.memfd_create('x')",
    "another root": "os.chroot('/usr')",
}
REFUSALS = "(PermissionError|FileNotFoundError|OSError|ProcessLookupError|ModuleNotFoundError|ValueError|ZeroDivision)"

# Its parent is gone, its session is its own: what gives it away is what it inherited.
DAEMON = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(60)
    os._exit(0)
return x
"""

# What a submission may do at top level, so that none of its functions can be called.
UNREADABLE = {
    "raises": ("1 / 0", r"^ZeroDivisionError: division by zero \(line 5\)$"),
    "is no function's": ("return 1", r"^SyntaxError: 'return' outside function \(line 5\)$"),
    "needs what is not there": ("import torch", "only NumPy and Python's standard library"),
    "exits": ("os._exit(3)", "top level were run first: the process ended .exit code 3"),
    "loops": ("while True: pass", "top level were run first: did not come to an end within 0.5 s"),
    "answers for itself": ("os.write(int(sys.argv[2]), b'\\xff' * 8)", "top level were run first: .* was stopped"),
    "eats memory": ("x = np.ones((10**5, 10**5))", "Unable to allocate"),
}

# Headers of answers to call 5, which had two arguments.
F8 = {"dtype": "<f8", "shape": [2]}
LIES = {
    "no object": [1],
    "another call": {"call": 6, "status": "ok"},
    "a call that only equals": {"call": 5.0, "status": "ok"},
    "no status": {"call": 5},
    "a status of the grader's": {"call": 5, "status": "passed"},
    "a status that is a list": {"call": 5, "status": ["ok"]},
    "a message that is none": {"call": 5, "status": "ok", "message": 3},
    "arguments that were not given": {"call": 5, "status": "ok", "mutated": [2]},
    "arguments that are not numbers": {"call": 5, "status": "ok", "mutated": [True]},
    "arrays that are none": {"call": 5, "status": "ok", "arrays": 3},
    "arrays with an error": {"call": 5, "status": "error", "arrays": [F8]},
    "33 arrays": {"call": 5, "status": "ok", "arrays": [F8] * 33},
    "an array that is none": {"call": 5, "status": "ok", "arrays": ["<f8"]},
    "objects": {"call": 5, "status": "ok", "arrays": [{"dtype": "|O", "shape": [2]}]},
    "a dtype of its own": {"call": 5, "status": "ok", "arrays": [{"dtype": "<f8,<f8", "shape": [2]}]},
    "a negative side": {"call": 5, "status": "ok", "arrays": [{"dtype": "<f8", "shape": [-1]}]},
    "a side that is no integer": {"call": 5, "status": "ok", "arrays": [{"dtype": "<f8", "shape": [2.0]}]},
    "a side too many": {"call": 5, "status": "ok", "arrays": [{"dtype": "|i1", "shape": [1] * 33}]},
    "a shape beyond NumPy": {"call": 5, "status": "ok", "arrays": [{"dtype": "|i1", "shape": [0, 1 << 30, 1 << 30]}]},
    "too much together": {"call": 5, "status": "ok", "arrays": [{"dtype": "|i1", "shape": [40 << 20]}] * 2},
}  # fmt: skip
