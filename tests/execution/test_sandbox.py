"""What the sandbox promises, each with a program that would break the promise if it could."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from diffucode.errors import SandboxError
from diffucode.execution import supervisor
from diffucode.execution.sandbox import Job, Limits, Returned, Sandbox
from diffucode.execution.values import decode, encode

ROOT = Path(__file__).parents[2]
USUAL = Limits(seconds=30, job_seconds=60)  # the machine may be busy
BRIEF = Limits(seconds=0.5)


@pytest.fixture(scope="module")
def sandbox():
    try:
        opened = Sandbox(2)
    except SandboxError as error:
        pytest.skip(str(error))
    with opened:
        yield opened


def job(program: str, calls: int = 3, limits: Limits = USUAL) -> Job:
    return Job(program, "f", [encode((i,)) for i in range(calls)], limits)


def run(sandbox: Sandbox, *jobs: Job):
    """The results of each job by call, and its end."""
    results: list[list[Returned]] = [[] for _ in jobs]
    ends = {done.job: done for done in sandbox.run(jobs, lambda n, r: results[n].append(r))}
    assert sorted(ends) == list(range(len(jobs)))
    for received in results:
        assert [one.index for one in received] == list(range(len(received)))
    return results, [ends[n] for n in range(len(jobs))]


def said(results: list[Returned]) -> list:
    return [
        decode(one.value) if one.status == "returned" else (one.status, one.error)
        for one in results
    ]


HONEST = "def f(x): return x + 1"

PROGRAMS = {
    HONEST: [1, 2, 3],
    "def f(x): return {'a': (x, {1.5, 2}), None: b'x'}": [
        {"a": (i, {1.5, 2}), None: b"x"} for i in range(3)
    ],
    "def f(x): return 1 // x": [("raised", "ZeroDivisionError"), 1, 0],
    "import sys\ndef f(x): sys.exit(0)": [("raised", "SystemExit")] * 3,
    "raise SystemExit": [("raised", "SystemExit")] * 3,
    "def f(x) return x": [("raised", "SyntaxError")] * 3,
    "def g(x): return x": [("raised", "NameError")] * 3,
    "f = 3": [("raised", "TypeError")] * 3,
    "def f(x):\n    class A(int): pass\n    return A(1)": [("unencodable", None)] * 3,
    "import os\ndef f(x):\n    if x == 1: os._exit(0)\n    return x": [
        0,
        ("died", "exit code 0"),
        ("died", "after exit code 0"),
    ],
    "import os\nos._exit(0)": [("died", "exit code 0")] * 3,
    "import ctypes\ndef f(x): ctypes.string_at(0)": [
        ("died", "SIGSEGV"),
        *[("died", "after SIGSEGV")] * 2,
    ],
    "def f(x): return 'a' * (33 << 20)": [("output_limit", None)] * 3,
    "import asyncio\nasync def g(x): return x\ndef f(x): return asyncio.run(g(x))": [0, 1, 2],
    "from threading import Thread\nseen = []\ndef f(x):\n"
    "    t = Thread(target=seen.append, args=(x,)); t.start(); t.join()\n    return list(seen)": [
        [0],
        [0, 1],
        [0, 1, 2],
    ],
    "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: 'int'\ndef f(x): return P(x).x": [
        0,
        1,
        2,
    ],
    "def f(x): return f(x) if x else bytearray(3 << 30)": [
        ("raised", "MemoryError"),
        ("raised", "RecursionError"),
        ("raised", "RecursionError"),
    ],
    "def f(x): return input()": [("raised", "EOFError")] * 3,
    "def f(x): return (__name__, x)": [("program", 0), ("program", 1), ("program", 2)],
}


def test_every_way_a_call_can_end(sandbox):
    results, ends = run(sandbox, *(job(program) for program in PROGRAMS))
    for program, received in zip(PROGRAMS, results, strict=True):
        assert said(received) == PROGRAMS[program], program
    assert all(done.infrastructure is None for done in ends)


def test_a_job_without_calls_still_ends(sandbox):
    results, ends = run(sandbox, job("1 / 0", calls=0))
    assert results == [[]]
    assert ends[0].infrastructure is None


def test_large_arguments_cross(sandbox):
    text = "x" * (3 << 20)
    results, _ = run(sandbox, Job("def f(x): return len(x)", "f", [encode((text,))] * 2))
    assert said(results[0]) == [3 << 20] * 2


# --- the channel of results --------------------------------------------------------------------

FORGE = """
import gc, os, struct, sys
value = {value!r}
HEAD = struct.Struct('<B8sQ')
def names():
    '''Whatever in this process may be the name of the open question.'''
    frame = sys._getframe()
    while frame:
        yield from (x for x in frame.f_locals.values() if type(x) is bytes and len(x) == 8)
        frame = frame.f_back
def f(x):
    if x == 0:
        {attack}
    return -1
"""

ATTACKS = [
    # frames under a guessed name, to everything that is open
    "for fd in range(3, 64):\n            try: os.write(fd, HEAD.pack(2, bytes(8), len(value)) + value)\n"
    "            except OSError: pass",
    # rubbish
    "os.write(4, b'x' * 1000)",
    # a second answer under the right name, for the next call
    "for name in list(names()): os.write(4, (HEAD.pack(2, name, len(value)) + value) * 2)",
    # a frame that never ends
    "for name in list(names()): os.write(4, HEAD.pack(2, name, 1 << 60))",
    # no channel at all
    "os.closerange(0, 64)",
    # "this child could not be sealed": would be the sandbox's fault, not the program's
    "os.write(4, HEAD.pack(1, bytes(8), 0)); os._exit(0)",
]


def test_a_call_cannot_answer_for_another(sandbox):
    """Call 0 may lie about itself; calls 1 and 2 must not be answered by it, nor the next job."""
    forged = encode(42)
    jobs = []
    for attack in ATTACKS:
        jobs += [job(FORGE.format(value=forged, attack=attack)), job(HONEST)]
    results, ends = run(sandbox, *jobs)
    for attack, received, honest in zip(ATTACKS, results[::2], results[1::2], strict=True):
        statuses = [one.status for one in received]
        assert statuses[0] in ("died", "output_limit"), attack
        assert statuses[1:] == ["died", "died"], attack
        assert said(honest) == [1, 2, 3], attack
    assert all(done.infrastructure is None for done in ends)


def test_a_thread_of_an_earlier_call_cannot_answer_without_the_name(sandbox):
    program = (
        "import os, struct, threading, time\n"
        "frame = struct.pack('<B8sQ', 2, bytes(8), 3) + b'i\\x01*'\n"
        "def later():\n"
        "    time.sleep(0.05)\n"
        "    os.write(4, frame)\n"
        "def f(x):\n"
        "    if x == 0: threading.Thread(target=later).start()\n"
        "    else: time.sleep(0.3)\n"
        "    return x\n"
    )
    results, _ = run(sandbox, job(program))
    assert [one.status for one in results[0]] == ["returned", "died", "died"]


SABOTAGE = [
    "import os\nos.write = os.read = os._exit = lambda *a: 1 / 0",
    "import struct, sys\nsys.modules['diffucode.execution.runner'].HEAD = None",
    "import sys\nsys.modules.clear()",
    "import builtins\nfor name in dir(builtins):\n    if name[0] != '_': setattr(builtins, name, None)",
    "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): return x",
    "import sys\nsys.settrace(lambda *a: 1 / 0)\ndef f(x): return x",
    "import sys\nsys.stdout = sys.stderr = None\ndef f(x): return x",
    "import gc\nfor o in gc.get_objects():\n    if isinstance(o, dict): o.clear()",
    "import sys\nsys.setrecursionlimit(6)",
    "import threading, os\ndef f(x):\n"
    "    threading.Thread(target=lambda: [os.write(4, b'') for _ in iter(int, 1)]).start()\n    return x",
    "import os\nwhile os.read(3, 100): pass",
]


def test_sabotage_harms_only_the_saboteur(sandbox):
    jobs = []
    for program in SABOTAGE:
        jobs += [job(program, limits=BRIEF), job(HONEST)]
    results, ends = run(sandbox, *jobs)
    for program, done, honest in zip(SABOTAGE, ends[::2], results[1::2], strict=True):
        assert done.infrastructure is None, program
        assert done.seconds < 10, program
        assert said(honest) == [1, 2, 3], program


def test_no_job_finds_the_data_of_another():
    """All memory of a later process, searched for what an earlier one was given and returned."""
    secret = os.urandom(8).hex()
    search = (
        "import ctypes, gc\n"
        "def f(x):\n"
        "    needle = x[::-1]\n"
        "    return sum(type(o) in (str, bytes) and needle in str(o)\n"
        "               for o in gc.get_objects() + gc.get_referents(*gc.get_objects()))\n"
    )
    with open_one() as one:
        leak = Job("def f(x): print(x); return x", "f", [encode((secret,))])
        look = Job(search, "f", [encode((secret[::-1],))])
        results, _ = run(one, leak, look)
    assert said(results[0]) == [secret]
    assert said(results[1]) == [1]  # its own needle


# --- limits ------------------------------------------------------------------------------------


def test_time_is_kept(sandbox):
    loop = "def f(x):\n    while x == 1: pass\n    return x"
    slow = "import time\ndef f(x): time.sleep(0.5); return x"
    hang = "while True: pass"
    results, ends = run(
        sandbox,
        job(loop, limits=Limits(seconds=1)),
        job(slow, 12, Limits(seconds=30, job_seconds=4)),
        job(hang, limits=BRIEF),
    )
    assert said(results[0]) == [0, ("timeout", None), ("died", "after timeout")]
    assert 1 <= results[0][1].seconds < 5
    statuses = [one.status for one in results[1]]
    assert (statuses[0], statuses.count("timeout"), statuses[-1]) == ("returned", 1, "died")
    assert 4 <= ends[1].seconds < 6
    assert [one.status for one in results[2]] == ["timeout"] * 3


def test_the_worker_keeps_the_time_when_we_do_not(sandbox, monkeypatch):
    monkeypatch.setattr(supervisor, "OVERTIME_SECONDS", 0.1)
    limits = Limits(seconds=0.5, job_seconds=0.5)
    jobs = [job("def f(x):\n    while True: pass", 1, limits), job(HONEST)]
    results = []
    for done in sandbox.run(jobs, lambda number, one: results.append((number, one.status))):
        if done.job == 1:
            (run,) = [seat.run for seat in sandbox._pool.seats if seat.run is not None]
            assert dies(pid_of(run.cell.pidfd))  # while nobody is looking after it
    assert (0, "timeout") in results


def test_a_waiting_result_is_not_late(sandbox):
    """The caller takes longer than the limit of a call; what lies in the pipe is in time."""
    answers = []

    def receive(number: int, one: Returned) -> None:
        answers.append(one.status)
        if len(answers) <= 2:
            time.sleep(1.2)

    list(sandbox.run([job(HONEST, limits=Limits(seconds=1))] * 2, receive))
    assert answers == ["returned"] * 6


def test_prints_are_cut(sandbox):
    program = "import sys\ndef f(x):\n    print('a' * (3 << 20))\n    print('e', file=sys.stderr)"
    results, ends = run(sandbox, job(program, 2))
    assert said(results[0]) == [None, None]
    assert ends[0].stdout == b"a" * (1 << 20)
    assert ends[0].stderr == b"e\ne\n"


def test_prints_of_a_killed_program_are_kept(sandbox):
    program = "def f(x):\n    print('before', flush=True)\n    while True: pass"
    _, ends = run(sandbox, job(program, 1, BRIEF))
    assert ends[0].stdout == b"before\n"


def test_values_of_a_job_are_limited_together(sandbox):
    limits = replace(USUAL, frame_bytes=1000, job_bytes=2500)
    results, _ = run(sandbox, job("def f(x): return 'a' * 900", 4, limits))
    statuses = [one.status for one in results[0]]
    assert statuses == ["returned", "returned", "output_limit", "died"]


def test_limits_of_each_job_hold(sandbox):
    """Children are sealed ahead of their job: with other limits, another one is made."""
    program = "def f(x):\n    try: return len(bytearray(x))\n    except MemoryError: return 'no'"
    calls = [encode((150 << 20,))]
    small, large = replace(USUAL, memory_bytes=128 << 20), USUAL
    jobs = [Job(program, "f", calls, limits) for limits in (small, large, small, large)]
    results, _ = run(sandbox, *jobs)
    assert [said(one) for one in results] == [["no"], [150 << 20]] * 2


# --- the caller's side -------------------------------------------------------------------------


def test_receive_stops_a_job(sandbox):
    seen = []

    def receive(number: int, one: Returned) -> bool:
        seen.append((number, one.index))
        return number != 0 or one.index < 1

    assert len(list(sandbox.run([job(HONEST), job(HONEST)], receive))) == 2
    assert [pair for pair in seen if pair[0] == 0] == [(0, 0), (0, 1)]
    assert [pair for pair in seen if pair[0] == 1] == [(1, 0), (1, 1), (1, 2)]


def test_jobs_are_pulled_as_workers_come_free(sandbox):
    pulled = 0

    def jobs():
        nonlocal pulled
        for _ in range(20):
            pulled += 1
            yield job(HONEST)

    ended = 0
    for _ in sandbox.run(jobs(), lambda number, one: None):
        ended += 1
        assert pulled - ended <= 4
    assert ended == pulled == 20


def test_leaving_early_and_errors_of_the_caller_leave_a_working_sandbox(sandbox):
    endless = job("def f(x):\n    while True: pass")
    runs = sandbox.run([job(HONEST), endless, endless], lambda number, one: None)
    next(runs)
    runs.close()

    def receive(number: int, one: Returned) -> None:
        raise KeyError("the caller's own")

    with pytest.raises(KeyError):
        list(sandbox.run([job(HONEST)], receive))
    assert said(run(sandbox, job(HONEST))[0][0]) == [1, 2, 3]


def test_one_run_at_a_time(sandbox):
    runs = sandbox.run([job(HONEST)] * 3, lambda number, one: None)
    next(runs)
    with pytest.raises(SandboxError, match="running other jobs"):
        next(sandbox.run([job(HONEST)], lambda number, one: None))
    runs.close()


def test_workers_outlive_the_thread_that_made_them():
    made = []
    thread = threading.Thread(target=lambda: made.append(open_one()))
    thread.start()
    thread.join()
    with made[0] as one:
        time.sleep(0.2)
        before = worker_pids(one)
        assert said(run(one, job(HONEST))[0][0]) == [1, 2, 3]
        assert worker_pids(one) == before


def test_a_closed_sandbox_says_so():
    with open_one() as one:
        pass
    with pytest.raises(SandboxError, match="closed"):
        list(one.run([job(HONEST)], lambda number, returned: None))


def test_programs_do_the_same_in_every_worker(sandbox):
    """Strings hash alike, so sets iterate alike: a reward does not depend on the worker."""
    program = "def f(x): return list({str(i) for i in range(50)})"
    results, _ = run(sandbox, *[job(program, 1)] * 4)
    with open_one() as other:
        results += run(other, job(program, 1))[0]
    assert len({received[0].value for received in results}) == 1


# --- when the sandbox itself fails -------------------------------------------------------------


def test_a_lost_worker_costs_nothing(sandbox):
    """Its job goes on, on another worker, from the call that was open."""
    killed = []

    def receive(number: int, one: Returned) -> None:
        answers.append((one.index, one.status))
        if one.index == 0 and not killed:
            killed.append(True)
            for pid in worker_pids(sandbox):
                os.kill(pid, signal.SIGKILL)

    answers: list = []
    (done,) = sandbox.run([job("import time\ndef f(x): time.sleep(0.1); return x")], receive)
    assert answers == [(0, "returned"), (1, "returned"), (2, "returned")]
    assert done.infrastructure is None


def test_a_job_killed_from_outside_twice_is_no_failure(sandbox):
    program = "import time\ndef f(x):\n    if x: time.sleep(60)\n    return x"

    def receive(number: int, one: Returned) -> None:
        received.append(one)
        threading.Thread(target=kill_two_children, args=(sandbox,)).start()

    received: list = []
    (done,) = sandbox.run([job(program, limits=Limits(seconds=60, job_seconds=60))], receive)
    assert [one.status for one in received] == ["returned"]
    assert "killed from outside" in done.infrastructure
    assert said(run(sandbox, job(HONEST))[0][0]) == [1, 2, 3]


# --- nothing stays -----------------------------------------------------------------------------


def test_a_thousand_jobs_leave_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(supervisor, "JOBS_A_WORKER", 400)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = open_handles(), children(os.getpid()), []
    programs = [
        job(HONEST, 1),
        job("import os\nopen('left', 'w').write('x')\ndef f(x): return os.listdir()", 1),
        job("import os\ndef f(x): os._exit(1)", 1),
    ]
    with Sandbox(2) as opened:
        first = worker_pids(opened)
        count = 0
        for done in opened.run((programs[i % 3] for i in range(1000)), lambda number, one: None):
            assert done.infrastructure is None
            count += 1
        assert count == 1000
        assert not set(first) & set(worker_pids(opened))  # replaced on the way
        assert len(children(os.getpid())) == len(before[1]) + 2
    assert (open_handles(), children(os.getpid()), os.listdir(tmp_path)) == before


SCRIPT = """
import sys
from diffucode.execution.sandbox import Job, Sandbox
from diffucode.execution.values import encode
def receive(number, one):
    seats = sandbox._pool.seats
    print(*[seat.worker._process.pid for seat in seats], flush=True)
if __name__ == "__main__":
    with Sandbox(2) as sandbox:
        endless = "import time\\ndef f(x):\\n    while x: time.sleep(1)"
        job = Job(endless, "f", [encode((0,)), encode((1,))])
        for done in sandbox.run([job, job], receive):
            pass
"""


@pytest.mark.parametrize("tier", ["bubblewrap", "namespaces", "rlimits"])
def test_no_directory_stays(tier, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    try:
        opened = Sandbox(1, tier, allow_unsafe=True)
    except SandboxError as error:
        pytest.skip(str(error))
    with opened:
        run(opened, job("open('left', 'w')\ndef f(x): return x"))
        assert len(os.listdir(tmp_path)) == (tier == "rlimits")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_the_supervisor(sandbox, number):
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as script:
        assert script.stdout is not None
        workers = [int(pid) for pid in script.stdout.readline().split()]
        script.stdout.readline()
        family = {pid for worker in workers for pid in (worker, *descendants(worker))}
        assert len(family) >= 6  # of each of the two workers: bwrap, the fork server, its child
        script.send_signal(number)
        script.wait(10)
        assert all(map(dies, family))


# --- looking at processes ----------------------------------------------------------------------


def open_one() -> Sandbox:
    try:
        return Sandbox(1)
    except SandboxError as error:
        pytest.skip(str(error))


def worker_pids(sandbox: Sandbox) -> list[int]:
    return [seat.worker._process.pid for seat in sandbox._pool.seats]


def kill_two_children(sandbox: Sandbox) -> None:
    """One after the other, each once it runs a program."""
    killed: list = []
    end = time.monotonic() + 30
    while len(killed) < 2 and time.monotonic() < end:
        for seat in list(sandbox._pool.seats):
            cell = seat.run.cell if seat.run is not None else None
            if cell is not None and cell.ready and cell.pidfd >= 0 and cell not in killed:
                signal.pidfd_send_signal(cell.pidfd, signal.SIGKILL)
                killed.append(cell)
        time.sleep(0.01)


def open_handles() -> int:
    return len(os.listdir("/proc/self/fd"))


def status_of(pid: int) -> tuple[str, int]:
    """State and parent."""
    with open(f"/proc/{pid}/stat") as file:
        state, parent = file.read().rpartition(")")[2].split()[:2]
    return state, int(parent)


def pid_of(pidfd: int) -> int:
    lines = Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pid:"))


def dies(pid: int) -> bool:
    """Within some seconds."""
    end = time.monotonic() + 10
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)


def alive(pid: int) -> bool:
    try:
        return status_of(pid)[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and status_of(int(entry))[1] == pid:
                found.append(int(entry))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def descendants(pid: int) -> list[int]:
    return [one for child in children(pid) for one in (child, *descendants(child))]
