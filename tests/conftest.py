"What several tests need: where the checkout is, its settings, and a copy of it to work in."

import atexit
import itertools
import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
for name in [n for n in os.environ if n.startswith(('TRM_', 'TQDM_'))]:
    del os.environ[name]  # what the user has set must not change a test
os.environ['TRM_CACHE'] = tempfile.mkdtemp()  # nor what the user's cache holds
atexit.register(shutil.rmtree, os.environ['TRM_CACHE'], ignore_errors=True)

FOLDERS = ['nbs', 'profiles', 'tests', 'tools', 'trm_nbdev']
LEFTOVERS = shutil.ignore_patterns('__pycache__', '.ipynb_checkpoints', '.*_cache')
ENV = os.environ | {'OMP_NUM_THREADS': '1'}
LONG = ['test_rerun', 'test_rerun_trouble', 'test_devices', 'test_reference', 'test_bench']  # minutes each


def cells(notebook: Path) -> list[dict]:
    "The cells of a notebook."
    return json.loads(notebook.read_text(encoding='utf-8'))['cells']


# ---- storms: tests that draw their cases at random, as many as there is time for
#
#   pytest                                the storm tests for two seconds each, beside all others
#   pytest -m storm                       the storm tests alone, three minutes in all
#   STORM_SEED=123 pytest -m storm        the cases of an earlier run, in the same order


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


def pytest_collection_modifyitems(items: list[pytest.Item]):
    "The long files begin first, so that until the end there is work for every process."
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


def rerun(*words: object, cwd: Path, **env: str) -> subprocess.CompletedProcess:
    "The command trm-rerun, as typed in the folder `cwd`."
    return subprocess.run(
        [Path(sys.executable).parent / 'trm-rerun', *map(str, words)],
        cwd=cwd,
        env=ENV | env,
        capture_output=True,
        text=True,
    )


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
