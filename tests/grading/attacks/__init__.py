"""Tables of misbehaving submissions: the body of a function of x and the expected result.

Bodies may use ctypes, os, sys, threading, time and numpy as np, which the submission imports.
"""

# (body, status, message) for bodies with the same result in every backend; most of them end the process.
ANYWHERE = {
    "endless loop": ("while True: pass", "timeout", r"within 0\.5 s"),
    "endless loop that catches everything": (
        "while True:\n  try:\n    while True: pass\n  except BaseException: pass", "timeout", r"within 0\.5 s"),
    "signals ignored": (
        "import signal\nfor s in set(signal.Signals) - {9, 19}: signal.signal(s, signal.SIG_IGN)\nwhile True: pass",
        "timeout", r"within 0\.5 s"),
    "memory in many pieces": ("a = []\nwhile True: a.append(np.empty(10**6))", "memory", "Memory|allocate"),
    "memory in one piece": ("np.ones((10**5, 10**5))", "memory", "Unable to allocate"),
    "os._exit": ("os._exit(0)", "crashed", r"exit code 0"),
    "segfault": ("ctypes.string_at(0)", "crashed", "signal SIGSEGV"),
    "abort": ("os.abort()", "crashed", "signal SIGABRT"),
    "garbage on the channel": ("os.write(int(sys.argv[2]), b'\\xff' * 64)", "refused", "header of 4,294,967,295 b"),
    "invalid JSON on the channel": ("os.write(int(sys.argv[2]), b'\\1\\0\\0\\0{')", "refused", "not JSON"),
    "a reply to no call": (
        "sys.modules['__main__']._write(int(sys.argv[2]), sys.modules['__main__'].pack({'call': 1, 'status': 'ok'}))",
        "refused", "a call that was not made"),
    "a false shape": (
        "r = sys.modules['__main__']\nn = sys._getframe(2).f_locals['header']['call']\n"
        "fake = {'call': n, 'status': 'ok', 'arrays': [{'dtype': '<f8', 'shape': [1 << 30, 1 << 30]}]}\n"
        "r._write(int(sys.argv[2]), r.pack(fake))", "refused", "announced too large an array, of shape"),
    "an incomplete reply": (
        "r = sys.modules['__main__']\nn = sys._getframe(2).f_locals['header']['call']\n"
        "fake = {'call': n, 'status': 'ok', 'arrays': [{'dtype': '<f8', 'shape': [1000]}]}\n"
        "r._write(int(sys.argv[2]), r.pack(fake))\nwhile True: pass", "timeout", r"within 0\.5 s"),
    "closing the channel": ("os.close(int(sys.argv[2]))\ntime.sleep(60)", "crashed", "closed the grader's channel"),
    "reading the request channel": ("os.read(int(sys.argv[1]), 1)", "timeout", r"within 0\.5 s"),
}  # fmt: skip

# (body, status, message) for bodies that the process survives, so that one process can run them all.
SURVIVED = {
    "recursion": ("return (lambda f: f(f))(lambda f: f(f))", "error", r"^RecursionError: maximum recursion depth"),
    "sys.exit": ("sys.exit(0)", "error", r"^SystemExit: 0 \(line \d+\)$"),
    "import se_numpy": ("import se_numpy", "error", "No module named 'se_numpy'; only NumPy"),
    "import torch": ("import torch", "error", "No module named 'torch'; only NumPy"),
    "import pytest": ("import pytest", "error", "No module named 'pytest'; only NumPy"),
    "no return statement": ("x + 1", "refused", r"^the returned value is None; is a return statement missing\?$"),
    "a string": ("return 'score: 100'", "refused", "a str; expected an array of real numbers"),
    "a generator": ("return (v for v in x)", "refused", "a generator; expected"),
    "a dictionary": ("return {'dU': x}", "refused", "a dict; expected"),
    "objects": ("return np.array([1, None])", "refused", "a ndarray of dtype object"),
    "an object with __reduce__": (
        "class P:\n  def __reduce__(self): return os.system, ('true',)\nreturn np.array([P()])", "refused", "object"),
    "complex numbers": ("return x * 1j", "refused", "dtype complex128"),
    "long doubles": ("return x.astype(np.longdouble)", "refused", "at most 64 bits"),
    "a record": ("return np.zeros(2, [('a', float)])", "refused", "expected an array"),
    "dates": ("return np.zeros(2, 'M8[s]')", "refused", "expected an array"),
    "ragged lists": ("return x, [[1], [1, 2]]", "refused", "value 2 of 2, a list, is not an array of numbers"),
    "a huge array": ("return np.broadcast_to(1.0, (10**5, 10**5))", "refused", "returned 80,000,000,000 bytes"),
    "too many values": ("return [x] * 33", "refused", "returned 33 values; at most 32"),
    "an exception whose __str__ raises": (
        "class E(Exception):\n  def __str__(self): raise ValueError\nraise E", "error", r"cannot be shown\) \(line"),
    "terminal control characters": ("raise ValueError('\\x1b[2Jred\\0\\u202e')", "error", r"^ValueError: \[2Jred \("),
    "a very long message": ("raise ValueError('long ' * 10**6)", "error", r"^ValueError: long .* \(line \d+\)$"),
}  # fmt: skip

# A process in a new session whose parent has exited; only its inherited environment identifies it.
DAEMON = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(60)
    os._exit(0)
return x
"""

# Top-level code that fails, so that no function can be called.
UNREADABLE = {
    "raises": ("1 / 0", r"^ZeroDivisionError: division by zero \(line 5\)$"),
    "returns at top level": ("return 1", r"^SyntaxError: 'return' outside function \(line 5\)$"),
    "imports a missing module": ("import torch", "only NumPy and Python's standard library"),
    "exits": ("os._exit(3)", r"top-level code: the process ended during the call \(exit code 3"),
    "loops": ("while True: pass", "top-level code: did not finish within 0.5 s"),
    "writes to the channel": ("os.write(int(sys.argv[2]), b'\\xff' * 8)", "top-level code: .* was stopped"),
    "uses too much memory": ("x = np.ones((10**5, 10**5))", "Unable to allocate"),
}

# Invalid reply headers for call 5, which had two arguments.
F8 = {"dtype": "<f8", "shape": [2]}
INVALID_HEADERS = {
    "not an object": [1],
    "a different call": {"call": 6, "status": "ok"},
    "a call number of type float": {"call": 5.0, "status": "ok"},
    "no status": {"call": 5},
    "a status that only the grader sets": {"call": 5, "status": "passed"},
    "a status that is a list": {"call": 5, "status": ["ok"]},
    "a message that is not a string": {"call": 5, "status": "ok", "message": 3},
    "arguments that were not given": {"call": 5, "status": "ok", "mutated": [2]},
    "arguments that are not numbers": {"call": 5, "status": "ok", "mutated": [True]},
    "arrays that are not a list": {"call": 5, "status": "ok", "arrays": 3},
    "arrays with an error": {"call": 5, "status": "error", "arrays": [F8]},
    "33 arrays": {"call": 5, "status": "ok", "arrays": [F8] * 33},
    "an array that is not an object": {"call": 5, "status": "ok", "arrays": ["<f8"]},
    "objects": {"call": 5, "status": "ok", "arrays": [{"dtype": "|O", "shape": [2]}]},
    "a structured dtype": {"call": 5, "status": "ok", "arrays": [{"dtype": "<f8,<f8", "shape": [2]}]},
    "a negative dimension": {"call": 5, "status": "ok", "arrays": [{"dtype": "<f8", "shape": [-1]}]},
    "a dimension that is not an integer": {"call": 5, "status": "ok", "arrays": [{"dtype": "<f8", "shape": [2.0]}]},
    "too many dimensions": {"call": 5, "status": "ok", "arrays": [{"dtype": "|i1", "shape": [1] * 33}]},
    "a shape beyond NumPy": {"call": 5, "status": "ok", "arrays": [{"dtype": "|i1", "shape": [0, 1 << 30, 1 << 30]}]},
    "too many bytes in total": {"call": 5, "status": "ok", "arrays": [{"dtype": "|i1", "shape": [40 << 20]}] * 2},
}  # fmt: skip
