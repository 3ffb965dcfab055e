"What several tests need: where the checkout is, its settings, and a copy of it to work in."

import atexit
import itertools
import json
import multiprocessing
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
for name in [n for n in os.environ if n.startswith(('TRM_', 'TQDM_')) and n != 'TRM_ADVISORIES']:
    del os.environ[name]  # what the user has set must not change a test
os.environ['TRM_CACHE'] = tempfile.mkdtemp()  # nor what the user's cache holds
atexit.register(shutil.rmtree, os.environ['TRM_CACHE'], ignore_errors=True)

FOLDERS = ['nbs', 'profiles', 'tests', 'tools', 'trm_nbdev']
LEFTOVERS = shutil.ignore_patterns('__pycache__', '.ipynb_checkpoints', '.*_cache')
ENV = os.environ | {'OMP_NUM_THREADS': '1'}
# On Linux a server imports the package once, and forks in no time; the path at which it listens must be short.
FORK = sys.platform == 'linux' and len(os.fsencode(tempfile.gettempdir())) < 60
FORKS = multiprocessing.get_context('forkserver' if FORK else 'spawn')
FORKS.set_forkserver_preload(['trm_nbdev.engine.runs'])
LONG = ['test_rerun', 'test_rerun_trouble', 'test_devices', 'test_reference', 'test_bench']  # minutes each

CHROMIUM = next(filter(None, map(shutil.which, ['chromium', 'chromium-browser', 'google-chrome'])), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason='no Chromium')


def timeless(curve: list[dict]) -> list[dict]:
    "A learning curve without processor time, which differs from one run to the next."
    return [{k: v for k, v in point.items() if k != 'core_seconds'} for point in curve]


def cells(notebook: Path) -> list[dict]:
    "The cells of a notebook."
    return json.loads(notebook.read_text(encoding='utf-8'))['cells']


# ---- storms: tests that draw their cases at random, as many as there is time for
#
#   pytest                                the storm tests for two seconds each, beside all others
#   pytest -m storm                       the storm tests alone, three minutes in all
#   STORM_SEED=123 pytest -m storm        the cases of an earlier run, in the same order
#   STORM_RECORD=results/storm.json …     the number of cases goes to a file, for the chapter on what we promise


# every process of pytest-xdist inherits the seed
SEED = os.environ.setdefault('STORM_SEED', str(secrets.randbelow(2**32)))


def pytest_report_header() -> str:
    return f'storm tests draw their cases from STORM_SEED={SEED}'


@pytest.fixture
def budget(request: pytest.FixtureRequest) -> float:
    "Seconds for a storm test."
    storms = sum(item.get_closest_marker('storm') is not None for item in request.session.items)
    return 180 / storms if request.config.option.markexpr == 'storm' else 2


@pytest.fixture
def storm_cases(request: pytest.FixtureRequest, budget: float) -> Iterator[random.Random]:
    "A source of randomness for each case, one at least, until the time is up."

    def cases() -> Iterator[random.Random]:
        end = time.perf_counter() + budget
        for k in itertools.count():
            if k and time.perf_counter() > end:
                request.node.user_properties.append(('cases', k))
                return
            request.node.stash[CASE] = f'case {k} of STORM_SEED={SEED}'
            yield random.Random(f'{SEED} {request.node.name} {k}')

    return cases()


CASE = pytest.StashKey[str]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    "Say with which case a storm test failed."
    report = yield
    if report.when == 'call' and report.failed and CASE in item.stash:
        report.sections.append(('storm', item.stash[CASE]))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config):
    "After a storm, say how many cases each test has drawn."
    passed = {report.nodeid: dict(report.user_properties) for report in terminalreporter.stats.get('passed', [])}
    cases = {name.partition('::')[2]: found['cases'] for name, found in sorted(passed.items()) if 'cases' in found}
    if config.option.markexpr == 'storm':
        terminalreporter.write_line(f'{sum(cases.values())} cases: {cases}')
    if place := os.environ.get('STORM_RECORD'):
        from trm_nbdev.engine.runs import machine  # not before the environment is cleared

        found = dict(seed=SEED, failed=len(terminalreporter.stats.get('failed', [])), cases=cases, machine=machine())
        Path(place).write_text(json.dumps(found, indent=1) + '\n')


def pytest_collection_modifyitems(items: list[pytest.Item]):
    "The long files begin first, so that until the end there is work for every process."
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


def begin(function: Callable, *args: object) -> multiprocessing.Process:
    "A function of a test's module, at work in a process of its own, which costs no import."
    p = FORKS.Process(target=function, args=args, daemon=True)
    p.start()
    return p


def ended(p: multiprocessing.Process) -> int:
    "The exit code of a process, once it has ended: the negative number of the signal that killed it, if one did."
    p.join()
    return p.exitcode


def rerun(*words: object, cwd: Path, **env: str) -> subprocess.CompletedProcess:
    "The command trm-rerun, as typed in the folder `cwd`."
    return subprocess.run(
        [Path(sys.executable).parent / 'trm-rerun', *map(str, words)],
        cwd=cwd,
        env=ENV | env,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[float], Path]]:
    "Makes a disk of so many KiB; returns the folder under which it is mounted."
    place = tmp_path / 'disk'
    mount = ['mount', '-t', 'tmpfs', 'tmpfs', str(place), '-o']

    def make(size: float) -> Path:
        place.mkdir()
        if shutil.which('mount') is None or subprocess.run([*mount, f'size={size}k'], capture_output=True).returncode:
            pytest.skip('only root may make a small disk')
        return place

    yield make
    if place.is_mount():
        subprocess.run(['umount', '--lazy', str(place)], check=True)


@pytest.fixture(scope='session')
def root() -> Path:
    "The checkout. No test writes to it."
    return ROOT


@pytest.fixture(scope='session')
def settings() -> dict[str, str]:
    "What settings.ini says."
    cfg = ConfigParser(delimiters=['='])
    cfg.read(ROOT / 'settings.ini', encoding='utf-8')
    return dict(cfg['DEFAULT'])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    "A copy of the checkout's own files, for a test to change."
    dest = tmp_path / 'tree'
    dest.mkdir()
    for file in ROOT.iterdir():
        if file.is_file() and not file.name.startswith('.'):
            shutil.copy(file, dest)
    for name in FOLDERS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, dest / name, ignore=LEFTOVERS)
    return dest
