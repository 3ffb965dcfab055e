"""The chapters on mazes: the real data, brute force, a naive generator, bad input case by case and at random."""

import pickle
import re
from collections import deque
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, ks_2samp

from trm_nbdev.engine.data import MazeData
from trm_nbdev.engine.maze_maker import generate, maze_hard, maze_splits, read_maze_csv
from trm_nbdev.puzzles.maze import (
    FREE,
    GOAL,
    PATH,
    START,
    WALL,
    augment,
    canonical,
    changed_cells,
    check_maze,
    check_puzzle,
    draw,
    draw_steps,
    format_maze,
    is_shortest_path,
    judge,
    parse_maze,
    solve,
)
from trm_nbdev.tokens import Stream

REAL = Path(__file__).resolve().parents[2] / 'shared' / 'data' / 'maze-30x30-hard-1k'
needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason='no Maze-Hard files beside the checkout')

HEADER = 'source,question,answer,rating'
MOVES = ((1, 0), (0, -1), (0, 1), (-1, 0))  # down, left, right, up


def row(question, answer, side):
    return f'made here,{format_maze(question, side)},{format_maze(answer, side)},{2 + (answer == PATH).sum()}'


@pytest.fixture(scope='module')
def small():
    "Questions and answers of 8x8."
    return generate(60, 8, 12, seed=9)


# ---- bad input


@pytest.mark.parametrize(
    'text, message',
    [
        ('', 'expected 4 characters for a 2x2 maze, got 0'),
        ('SG# #', 'expected 4 characters for a 2x2 maze, got 5'),
        ('SG#.', r"character 4: expected '#', ' ', 'S', 'G' or 'o', got '\.'"),
        ('sG# ', "character 1: .* got 's'"),
        ('SG#\n', r"character 4: .* got '\\n'"),
        ('SG#\xa0', r"character 4: .* got '\\xa0'"),  # a space, but not ours
        ('SGO ', "character 3: .* got 'O'"),
    ],
)
def test_a_wrong_string_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_maze(text, 2)


@pytest.mark.parametrize(
    'maze, message',
    [
        (np.full((8, 8), WALL), r'expected 64 cells in one row, got shape \(8, 8\)'),
        (np.full(63, WALL), 'expected 64 cells in one row'),
        (np.full(64, 6), r'expected tokens 0\.\.5, got 6\.\.6'),
        (np.full(64, -1), r'expected tokens 0\.\.5, got -1'),
        (np.full(64, 257), 'got 257'),  # would be 1 as a byte
        (np.full(64, 1.0), 'expected whole numbers, got float64'),
    ],
)
@pytest.mark.parametrize('function', [solve, format_maze, draw, lambda maze, side: check_puzzle(maze, maze, side)])
def test_a_wrong_maze_is_refused(function, maze, message):
    with pytest.raises(ValueError, match=message):
        function(maze, 8)


@pytest.mark.parametrize(
    'call, message',
    [
        (lambda: generate(0), 'n is 0, expected a whole number from 1'),
        (lambda: generate(1, seed=-1), 'seed is -1, expected a whole number from 0'),
        (lambda: generate(1, 1, 2), 'side is 1, expected a whole number from 2 to 100'),
        (lambda: generate(1, 8, 1), 'min_path is 1, expected 2 to 64'),
        (lambda: generate(1, 8, 65), 'min_path is 65, expected 2 to 64'),
        (lambda: generate(1, 8, 55), 'expected 1 mazes of 8x8 with paths of 55 cells, found 0 and no new one among'),
        (lambda: generate(99, 2, 3), 'expected 99 mazes of 2x2 with paths of 3 cells, found .* and no new one among'),
        (lambda: parse_maze('S', 1), 'side is 1, expected a whole number from 2'),
        (lambda: format_maze(np.zeros(64, int), 8), 'cell 1 is padding'),
        (lambda: maze_splits(n_train=0), 'n_train is 0, expected a whole number from 1'),
        (lambda: maze_splits(n_valid=-1), 'n_valid is -1, expected a whole number from 0'),
        (lambda: draw_steps(np.ones(4), np.ones((0, 4)), np.ones(4), 2), 'at least one prediction'),
        (lambda: draw_steps(np.ones(4), np.ones((3, 4)), np.ones(4), 2, titles=['one']), 'got 1 for 3'),
        (lambda: solve(parse_maze('S # ', 2), 2), 'question: expected one G, got 0'),
        (lambda: solve(parse_maze('SSG ', 2), 2), 'question: expected one S, got 2'),
        (lambda: solve(np.array([0, START, GOAL, FREE]), 2), "question: cell 1: expected .* got 'padding'"),
    ],
)
def test_a_wrong_argument_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


MAZE, WAY = parse_maze('S  # # G ', 3), parse_maze('So #o# G ', 3)


@pytest.mark.parametrize(
    'question, answer, message',
    [
        (MAZE, MAZE, 'answer: expected a shortest path, which has 4 cells with S and G, got 2'),
        (MAZE, parse_maze('Soo#o# G ', 3), 'answer: expected a shortest path, which has 4 cells with S and G, got 5'),
        (MAZE, parse_maze('S o#o# G ', 3), 'answer: the marked cells do not lead from S to G'),
        (MAZE, parse_maze('So  o# G ', 3), "answer does not match the question: cell 4 is ' ', in the question '#'"),
        (MAZE, parse_maze('So #o# oG', 3), "cell 8 is 'o', in the question 'G'"),
        (MAZE, np.where(WAY == FREE, 0, WAY), "cell 3 is padding, in the question ' '"),
        (MAZE, WAY[:8], 'answer: expected 9 cells'),
        (MAZE[:8], WAY, 'question: expected 9 cells'),
        (WAY, WAY, "question: cell 2: expected '#', ' ', 'S' or 'G', got 'o'"),
        (parse_maze('S# # # G ', 3), WAY, 'question: expected a path from S to G, there is none'),
        (np.where(MAZE == FREE, START, MAZE), WAY, 'question: expected one S, got 6'),
        (np.where(MAZE == GOAL, FREE, MAZE), WAY, 'question: expected one G, got 0'),
    ],
)
def test_a_wrong_puzzle_is_refused_with_its_place(question, answer, message):
    assert check_puzzle(MAZE, WAY, 3, rule=True) == 4
    with pytest.raises(ValueError, match=message) as error:
        check_puzzle(question, answer, 3, 'here: ')
    assert str(error.value).startswith('here: ')


GOOD = row(MAZE, WAY, 3)


@pytest.mark.parametrize(
    'text, message',
    [
        ('', "expected the columns source,question,answer,rating, got ''"),
        ('question,answer\n', "expected the columns source,question,answer,rating, got 'question,answer'"),
        ('\ufeff\ufeff' + HEADER, 'expected the columns'),
        (f'{HEADER}\n{GOOD}\nhere,S  #\n', "row 2: expected 4 fields, got 2: 'here,S  #'"),
        (f'{HEADER}\n{GOOD},more\n', 'row 1: expected 4 fields, got 5'),
        (
            f'{HEADER}\n\n{GOOD}\n\n{GOOD[:-1]}',
            "row 2: rating: expected 4, the cells on the path, got ''",
        ),  # cut off; empty lines do not count
        (f'{HEADER}\n{GOOD[:-1]}5\n', "row 1: rating: expected 4, the cells on the path, got '5'"),
        (f'{HEADER}\n{GOOD[:-1]}-4\n', "row 1: rating: .* got '-4'"),
        (
            f'{HEADER}\n{GOOD[:-1]}{"4" * 5000}\n',
            r"row 1: rating: expected 4, .* got '4{40}…'$",
        ),  # int() would refuse so many digits
        (f'{HEADER}\n{GOOD[:-1]}٤\n', "row 1: rating: .* got '٤'"),
        (f'{HEADER}\n{GOOD}\n{GOOD.replace("So #", "So x")}\n', "row 2: answer: character 4: expected .* got 'x'"),
        (f'{HEADER}\n{GOOD}\n{GOOD.replace("S  # #", "S###S#")}\n', 'row 2: question: expected one S, got 2'),
        (
            f'{HEADER}\n{GOOD}\nhere,"{GOOD}\n' + f'{GOOD}\n' * 5000,
            'row 2: cannot be read: field larger than field limit',
        ),  # a quote never closed
        (
            f'{HEADER}\n{GOOD}\nhere,S\0\0,,\n',
            r"row 2: question: expected 9 characters for a 3x3 maze, got 3: 'S\\x00\\x00'",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_and_row(tmp_path, text, message):
    path = tmp_path / 'bad.csv'
    path.write_text(text, encoding='utf-8')
    with pytest.raises(ValueError, match=message) as error:
        read_maze_csv(path, 3)
    assert str(error.value).startswith(str(path))


def test_bytes_that_are_no_utf8_are_refused_with_their_row(tmp_path):
    path = tmp_path / 'bad.csv'
    for at, message in (
        (0, 'bad.csv: expected the columns'),
        (len(HEADER) + 2, 'row 1: expected UTF-8, got the byte 0xe4'),
        (len(HEADER) + len(GOOD) + 2, 'row 2: expected UTF-8, got the byte 0xe4'),
    ):
        data = f'{HEADER}\n{GOOD}\n{GOOD}\n'.encode()
        path.write_bytes(data[:at] + b'\xe4' + data[at:])
        with pytest.raises(ValueError, match=message):
            read_maze_csv(path, 3)


def test_what_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.csv'):
        read_maze_csv(tmp_path / 'none.csv')
    with pytest.raises(ValueError, match='row 1: cannot be read: .*directory'):
        read_maze_csv(tmp_path)
    (tmp_path / 'train.csv').write_text(HEADER)
    with pytest.raises(FileNotFoundError, match='expected train.csv and test.csv'):
        maze_hard(tmp_path)


def test_an_answer_that_breaks_the_rule_is_refused_only_with_rule(tmp_path):
    path = tmp_path / 'train.csv'
    path.write_text(f'{HEADER}\n{row(parse_maze("S    G###", 3), parse_maze("So  oG###", 3), 3)}\n')
    assert read_maze_csv(path, 3)[2].tolist() == [4]
    with pytest.raises(ValueError, match='row 1: answer: a shortest path, but not the one of the rule: cell'):
        read_maze_csv(path, 3, rule=True)


def test_only_rows_that_are_taken_are_checked(tmp_path):
    path = tmp_path / 'train.csv'
    path.write_text(f'{HEADER}\n{GOOD}\n{GOOD[:-1]}9\n')
    assert len(read_maze_csv(path, 3, rows=[0])[0]) == 1
    with pytest.raises(ValueError, match='expected at least 4 rows'):
        read_maze_csv(path, 3, rows=[0, 3])


def test_a_file_without_rows_has_no_mazes(tmp_path):
    for name in ('train.csv', 'test.csv'):
        (tmp_path / name).write_text(HEADER + '\n')
    assert [part.shape for part in read_maze_csv(tmp_path / 'train.csv')] == [(0, 900), (0, 900), (0,)]
    with pytest.raises(ValueError, match='expected at least n_train=1000 rows, got 0'):
        maze_hard(tmp_path)


# Ways to break one row, given its four fields, a number to choose cells with and a text.
def _cell(fields, which, at, char):
    return [f if i != which else f[: at % 64] + char + f[at % 64 + 1 :] for i, f in enumerate(fields)]


BREAKS = {
    'a field less': lambda f, at, text: f[: at % 4] + f[at % 4 + 1 :],
    'a field more': lambda f, at, text: f[: at % 4] + ['x'] + f[at % 4 :],
    'columns exchanged': lambda f, at, text: [f[0], f[2], f[1], f[3]],
    'question too short': lambda f, at, text: [f[0], f[1][: at % 64], f[2], f[3]],
    'answer too long': lambda f, at, text: [f[0], f[1], f[2] + ' ' * (1 + at % 5), f[3]],
    'foreign character': lambda f, at, text: _cell(
        f, 1 + at % 2, at // 2, next((c for c in text if c not in '# SGo,"\r\n'), 'x')
    ),
    'any question': lambda f, at, text: [f[0], text, f[2], f[3]],
    'any rating': lambda f, at, text: [*f[:3], 'x' if text == f[3] else text],
    'no S': lambda f, at, text: [f[0], f[1].replace('S', ' '), f[2], f[3]],
    'no G in the answer': lambda f, at, text: [f[0], f[1], f[2].replace('G', ' '), f[3]],
    'two S': lambda f, at, text: _cell(f, 1, at if f[1][at % 64] != 'S' else at + 1, 'S'),
    'G on the path': lambda f, at, text: [f[0], f[1], f[2].replace('o', 'G', 1), f[3]],
    'no path': lambda f, at, text: [f[0], f[1].replace(' ', '#'), f[2], f[3]],
    'a path cell less': lambda f, at, text: [f[0], f[1], f[2].replace('o', ' ', 1), f[3]],
    'a path cell more': lambda f, at, text: [f[0], f[1], f[2].replace(' ', 'o', 1), f[3]],
    'a wall less': lambda f, at, text: [f[0], f[1].replace('#', ' ', 1), f[2], f[3]],
    'another rating': lambda f, at, text: [*f[:3], str(int(f[3]) + 1 + at)],
}


@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    kind=st.sampled_from(sorted(BREAKS)),
    bad=st.integers(0, 9),
    at=st.integers(0, 10**6),
    text=st.text(st.characters(exclude_categories=['Cs'], exclude_characters=',"\r\n'), max_size=80),
)
def test_a_broken_row_is_always_refused_with_its_number(tmp_path, small, kind, bad, at, text):
    rows = [row(q, a, 8).split(',') for q, a in zip(small[0][:10], small[1][:10], strict=True)]
    rows[bad] = BREAKS[kind](rows[bad], at, text)
    path = tmp_path / 'bad.csv'
    path.write_text('\n'.join([HEADER, *map(','.join, rows)]) + '\n', encoding='utf-8')
    with pytest.raises(ValueError) as error:
        read_maze_csv(path, 8)
    assert type(error.value) is ValueError and str(error.value).startswith(f'{path}, row {bad + 1}: ')


@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    edits=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 3), st.binary(max_size=8)), min_size=1, max_size=4)
)
def test_a_damaged_file_is_read_right_or_refused_with_its_name(tmp_path, small, edits):
    data = '\n'.join([HEADER, *(row(q, a, 8) for q, a in zip(*(part[:10] for part in small), strict=True))]).encode()
    for at, length, new in edits:
        at %= len(data) + 1
        data = data[:at] if length == 3 else data[:at] + new + data[at + length :]  # cut off, or some bytes replaced
    path = tmp_path / 'bad.csv'
    path.write_bytes(data)
    try:
        questions, answers, ratings = read_maze_csv(path, 8)
    except ValueError as error:
        assert type(error) is ValueError and str(error).startswith(str(path))
    else:
        for q, a, rating in zip(questions, answers, ratings, strict=True):
            assert check_puzzle(q, a, 8) == rating


# ---- shortest paths and the rule


def neighbours(maze, side, cell):
    r, c = divmod(int(cell), side)
    return [
        (r + i) * side + c + j
        for i, j in MOVES
        if 0 <= r + i < side and 0 <= c + j < side and maze[(r + i) * side + c + j] != WALL
    ]


def first_parents(maze, side):
    "A plain breadth-first search from S: the first parent of each cell that it reaches."
    start = int(np.flatnonzero(maze == START)[0])
    parent, queue = {start: start}, deque([start])
    while queue:
        cell = queue.popleft()
        for other in neighbours(maze, side, cell):
            if other not in parent:
                parent[other] = cell
                queue.append(other)
    return parent


def all_shortest(maze, side):
    "All shortest paths in the order of their moves, by trying every way without turning back, longer and longer ones."
    start, goal = np.flatnonzero(maze == START)[0], np.flatnonzero(maze == GOAL)[0]

    def ways(cell, been, left):
        if cell == goal:
            yield been
        elif left:
            yield from (
                way
                for other in neighbours(maze, side, cell)
                if other not in been
                for way in ways(other, [*been, other], left - 1)
            )

    return next((found for length in range(1, side * side) if (found := list(ways(start, [int(start)], length)))), [])


def random_maze(rng, side):
    maze = np.where(rng.random(side * side) < 0.35, WALL, FREE).astype(np.uint8)
    maze[rng.choice(side * side, 2, replace=False)] = START, GOAL
    return maze


def drawn(maze, way):
    out = maze.copy()
    out[list(way[1:-1])] = PATH
    return out


def test_the_rule_is_the_first_of_all_shortest_paths():
    rng, several = np.random.default_rng(0), 0
    for _ in range(200):
        maze = random_maze(rng, 4)
        ways = all_shortest(maze, 4)
        length, answer = solve(maze, 4)
        several += len(ways) > 1
        if not ways:
            assert length == 0 and (answer == maze).all()
        else:
            assert length == len(ways[0]) and (answer == drawn(maze, ways[0])).all()
    assert several > 30


def test_shortest_paths_are_told_from_all_other_predictions():
    rng, right, wrong = np.random.default_rng(1), 0, 0
    for _ in range(60):
        maze = random_maze(rng, 4)
        ways = {drawn(maze, way).tobytes() for way in all_shortest(maze, 4)}
        if not ways:
            continue
        one = np.frombuffer(sorted(ways)[-1], np.uint8)
        tokens = np.array(
            [
                *(np.frombuffer(way, np.uint8) for way in ways),
                maze,
                *np.where(rng.random((40, 16)) < 0.1, rng.integers(0, 6, (40, 16)), one),
                *np.where(maze == FREE, rng.choice([FREE, PATH], (40, 16)), maze),
            ]
        ).astype(np.uint8)
        expected = [t.tobytes() in ways for t in tokens]
        assert is_shortest_path(tokens[:, None], maze[None], 4)[:, 0].tolist() == expected
        right, wrong = right + sum(expected), wrong + len(expected) - sum(expected)
    assert right > 100 and wrong > 1000


def test_both_senses_of_right_for_many_mazes_and_steps():
    puzzles = maze_splits(8, 12, 20, 0, 30, seed=9).train
    mirrored = puzzles.labels.reshape(-1, 8, 8)[:, ::-1].reshape(-1, 64)
    exact, shortest = judge(np.stack([puzzles.inputs, puzzles.labels, mirrored]), puzzles)
    assert exact.shape == shortest.shape == (3, 20)
    assert not exact[[0, 2]].any() and not shortest[[0, 2]].any() and exact[1].all() and shortest[1].all()


# ---- symmetries


def images(maze, side):
    grid = maze.reshape(side, side)
    return {
        np.ascontiguousarray(g).tobytes()
        for start in (grid, grid[::-1])
        for g in (start, start.T, start[::-1, ::-1], start.T[::-1, ::-1])
    }


def test_every_copy_is_drawn_equally_often_and_follows_the_rule(small):
    maze, answer = (part[0] for part in small)
    x, y = augment(np.random.default_rng(0), np.repeat(maze[None], 8000, 0), np.repeat(answer[None], 8000, 0), 8)
    found, counts = np.unique(x, axis=0, return_counts=True)
    assert {f.tobytes() for f in found} == images(maze, 8) and len(found) == 8
    assert chisquare(counts).pvalue > 0.001
    for q, a in zip(x[:100], y[:100], strict=True):
        check_puzzle(q, a, 8, rule=True)


def test_a_name_is_shared_by_copies_alone(small):
    questions = small[0]
    names = canonical(questions, 8)
    assert len(set(names)) == len(questions)
    for q, name in zip(questions, names, strict=True):
        copies = np.array([np.frombuffer(image, np.uint8) for image in images(q, 8)])
        assert set(canonical(copies, 8)) == {name} == {min(images(q, 8))}


def test_the_stream_goes_on_after_pickling():
    train = maze_splits(8, 12, n_train=200, n_valid=0, n_test=1, augmented=True).train
    stream = Stream(train, 64, seed=3)
    expected = [stream.batch(k) for k in range(8)]
    resumed = pickle.loads(pickle.dumps(stream))
    for part in (0, 1):
        assert (resumed.batch(5)[part] == expected[5][part]).all()


# ---- generator and splits


@pytest.mark.parametrize(
    'side, min_path, n', [(3, 4, 20), (6, 6, 100), (8, 12, 300), (10, 18, 300), (20, 60, 20), (30, 110, 10)]
)
def test_generated_mazes_follow_the_rule_and_differ(side, min_path, n):
    questions, answers = generate(n, side, min_path, seed=5)
    for q, a in zip(questions, answers, strict=True):
        assert check_puzzle(q, a, side, rule=True) >= min_path
    assert len(set(canonical(questions, side))) == n
    assert (generate(n + 5, side, min_path, seed=5)[0][:n] == questions).all()


def test_small_mazes_are_those_of_a_naive_generator():
    "Each cell a wall with the same probability, S and G any two free cells, and short paths thrown away."
    rng, naive = np.random.default_rng(2), []
    while len(naive) < 300:
        maze = np.where(rng.random(64) < rng.uniform(0.3, 0.5), WALL, FREE).astype(np.uint8)
        free = np.flatnonzero(maze == FREE)
        if len(free) < 12:
            continue
        maze[rng.choice(free, 2, replace=False)] = START, GOAL
        if solve(maze, 8)[0] >= 12:
            naive.append(maze)
    ours, plain = generate(1000, 8, 12, seed=6)[0], np.array(naive)
    measures = {
        'walls': lambda m: (m == WALL).mean(1),
        'path': lambda m: np.array([solve(q, 8)[0] for q in m]),
        'start': lambda m: (m == START).argmax(1),
        'goal': lambda m: (m == GOAL).argmax(1),
    }
    for name, measure in measures.items():
        assert ks_2samp(measure(ours), measure(plain)).pvalue > 0.001, name


def carved(rng: np.random.Generator, side: int) -> np.ndarray:
    "The free cells of a perfect maze, as (row, column), by a recursive walk."
    free = {(0, 0)}

    def walk(row: int, column: int) -> None:
        ways = [(-1, 0), (1, 0), (0, -1), (0, 1)]
        while True:
            new = [(r, c) for r, c in ways if _room(row + 2 * r, column + 2 * c, side) - free]
            if not new:
                return
            down, right = new[rng.integers(len(new))]
            free.update([(row + down, column + right), (row + 2 * down, column + 2 * right)])
            walk(row + 2 * down, column + 2 * right)

    walk(0, 0)
    maze = np.full((side, side), WALL, np.uint8)
    maze[tuple(np.array([*free]).T)] = FREE
    return maze.ravel()


def _room(row: int, column: int, side: int) -> set[tuple[int, int]]:
    return {(row, column)} if 0 <= row < side and 0 <= column < side else set()


@pytest.mark.parametrize('side, min_path, n', [(3, 3, 8), (5, 6, 60), (9, 15, 300), (11, 20, 100), (31, 110, 10)])
def test_a_perfect_maze_has_one_path_between_any_two_cells(side, min_path, n):
    questions, answers = generate(n, side, min_path, seed=5, perfect=True)
    rooms = ((side + 1) // 2) ** 2
    for q, a in zip(questions, answers, strict=True):
        assert check_puzzle(q, a, side, rule=True) >= min_path
        grid = (q != WALL).reshape(side, side)
        doors = (grid[1:] & grid[:-1]).sum() + (grid[:, 1:] & grid[:, :-1]).sum()
        assert grid.sum() == 2 * rooms - 1 == doors + 1  # connected cells with one door fewer than cells: a tree
        assert grid[::2, ::2].all() and not grid[1::2, 1::2].any()
        for cell in np.flatnonzero((q == FREE)):  # connected: every cell can be the goal
            other = np.where(q == GOAL, np.uint8(FREE), q)
            other[cell] = GOAL
            if side <= 9:
                assert solve(other, side)[0]
    assert len(set(canonical(questions, side))) == n
    assert (generate(n + 3, side, min_path, seed=5, perfect=True)[0][:n] == questions).all()


def test_perfect_mazes_are_those_of_a_recursive_walk():
    rng, naive = np.random.default_rng(3), []
    while len(naive) < 400:
        maze = carved(rng, 9)
        maze[rng.choice(np.flatnonzero(maze == FREE), 2, replace=False)] = START, GOAL
        if solve(maze, 9)[0] >= 15:
            naive.append(maze)
    ours, plain = generate(1000, 9, 15, seed=6, perfect=True)[0], np.array(naive)

    def ends(mazes):
        grid = np.pad((mazes != WALL).reshape(-1, 9, 9), ((0, 0), (1, 1), (1, 1)))
        neighbours = sum(np.roll(grid, way, axis).astype(int) for way in (-1, 1) for axis in (1, 2))
        return ((neighbours == 1) & grid).sum((1, 2))

    for measure in (ends, lambda m: np.array([solve(q, 9)[0] for q in m]), lambda m: (m == START).argmax(1)):
        assert ks_2samp(measure(ours), measure(plain)).pvalue > 0.001


def test_perfect_mazes_need_an_odd_side_and_keep_older_keys():
    with pytest.raises(ValueError, match='side is 8, expected an odd number for a perfect maze'):
        generate(1, 8, 12, perfect=True)
    with pytest.raises(ValueError, match='side is 8, expected an odd number for a perfect maze'):
        MazeData(8, 12, perfect=True)
    with pytest.raises(ValueError, match='perfect True, expected 30, 110 and False'):
        MazeData(31, 110, folder='here', perfect=True)
    assert 'perfect' not in MazeData(9, 15).specification()
    assert MazeData(9, 15, perfect=True).specification()['perfect'] is True
    assert MazeData(9, 15, perfect=True).name == 'perfect-maze-9x9-15'
    splits = maze_splits(9, 15, 30, 10, 20, perfect=True)
    assert splits.train.name == 'perfect-maze-9x9-15'
    assert [part.digest[:12] for part in vars(splits).values()] == ['19659ab0a0d0', 'd479de8565d2', '60ec35c91b53']


def test_no_maze_is_a_copy_of_one_of_another_split():
    splits = maze_splits(5, 7, n_train=300, n_valid=100, n_test=200, seed=4, augmented=True)
    parts = [canonical(part.inputs, 5) for part in (splits.train, splits.valid, splits.test)]
    assert [len(part) for part in parts] == [300, 100, 200] and len(set(sum(parts, []))) == 600
    assert splits.train.augment is not None and splits.valid.augment is splits.test.augment is None
    assert (
        splits.train.shape == (5, 5)
        and splits.train.vocab_size == 6
        and maze_splits(5, 7, 3, 3, 3).train.augment is None
    )


def test_the_splits_of_a_seed_never_change():
    digests = [part.digest[:12] for part in vars(maze_splits(8, 12, n_train=50, n_valid=20, n_test=30)).values()]
    assert digests == [
        '8f3985c6c687',
        'fe57dc25d5f2',
        '7b73d0552931',
    ]  # a change here makes every recorded run on generated mazes incomparable


# ---- pictures


def test_wrong_cells_are_red():
    predicted = parse_maze('Soo#   G ', 3)  # one cell too many, one missing, a wall missed

    def colour(*args):
        return draw(predicted, 3, *args).images[0].get_array().reshape(9, 3)

    plain, marked = colour(MAZE), colour(MAZE, WAY)
    assert np.flatnonzero((plain != marked).any(1)).tolist() == [2, 4]
    assert (plain[5] != plain[3]).any() and (plain[5] == marked[5]).all()  # the missed wall, whatever the answer is
    assert np.flatnonzero(changed_cells(MAZE, predicted)).tolist() == [5]


def test_a_changed_maze_says_so_above_its_picture():
    predicted = parse_maze('Soo#   G ', 3)
    titles = [ax.get_title() for ax in draw_steps(MAZE, np.array([WAY, predicted]), WAY, 3).axes]
    assert titles[:3] == ['question', 'step 1', 'step 2\n1 given cell changed']


@pytest.mark.parametrize(
    'text, message',
    [
        ('S  ###  G', 'expected a path from S to G, there is none'),
        ('S  ##S  G', 'expected one S, got 2'),
        ('S  ##    ', 'expected one G, got 0'),
        ('S o##   G', "expected '#', ' ', 'S' or 'G', got 'o'"),
    ],
)
def test_a_maze_that_cannot_be_solved_is_refused_unless_asked_for(text, message):
    maze = parse_maze(text, 3)
    with pytest.raises(ValueError, match=re.escape(message)):
        check_maze(maze, 3)
    length, drawn = check_maze(maze, 3, on_conflict='solve')
    assert length == 0 and (drawn == maze).all()
    with pytest.raises(ValueError, match='on_conflict is .no., expected'):
        check_maze(maze, 3, on_conflict='no')
    with pytest.raises(ValueError, match='expected 16 cells'):
        check_maze(maze, 4, on_conflict='solve')


# ---- the real data


@pytest.fixture(scope='module')
def real():
    "Questions and answers of all the real files; every answer is checked against the rule."
    files = [read_maze_csv(REAL / f'{name}.csv', rule=True) for name in ('train', 'test')]
    return [np.concatenate(part) for part in zip(*files, strict=True)]


@needs_real_data
def test_every_real_answer_follows_the_rule(real):
    questions, answers, ratings = real
    assert len(questions) == 1700 and ratings.min() == 110
    for q, a, rating in zip(questions, answers, ratings, strict=True):
        length, solution = solve(q, 30)
        assert length == rating and (solution == a).all()
        parent, cell, way = first_parents(q, 30), int((q == GOAL).argmax()), []  # and without any of our code
        while q[cell] != START:
            way, cell = [*way, cell], parent[cell]
        assert sorted(way[1:]) == np.flatnonzero(a == PATH).tolist()


@needs_real_data
def test_generated_mazes_are_like_the_real_ones(real):
    """Kolmogorov-Smirnov tests of 250 generated mazes against all real ones find no difference at the 1 % level, and
    means differ by less than 4 standard errors."""
    ours, _ = generate(250, seed=1)

    def edge(mazes, token):
        rows, cols = np.divmod((mazes == token).argmax(1), 30)
        return np.minimum.reduce([rows, cols, 29 - rows, 29 - cols])

    measures = {
        'walls': lambda m: (m == WALL).mean(1),
        'path': lambda m: np.array([solve(q, 30)[0] for q in m]),
        'start from the edge': partial(edge, token=START),
        'goal from the edge': partial(edge, token=GOAL),
    }
    for name, measure in measures.items():
        a, b = measure(ours), measure(real[0])
        assert ks_2samp(a, b).pvalue > 0.01, name
        assert abs(a.mean() - b.mean()) < 4 * np.sqrt(a.var() / len(a) + b.var() / len(b)), name


@needs_real_data
def test_few_real_mazes_have_many_far_cells(real):
    "Which is why the goal may be drawn from the 80 farthest cells."

    def far(maze):
        steps, start = {}, int((maze == START).argmax())
        for cell, before in first_parents(maze, 30).items():
            steps[cell] = 1 if cell == start else steps[before] + 1
        return sum(s >= 110 for s in steps.values())

    assert 0.05 < np.mean([far(q) > 80 for q in real[0]]) < 0.15


@needs_real_data
def test_the_real_files_make_splits():
    splits = maze_hard(REAL.parent, n_test=700)
    assert [len(part) for part in (splits.train, splits.valid, splits.test)] == [1000, 0, 700]
    assert splits.train.shape == (30, 30) and splits.train.vocab_size == 6 and splits.train.augment is None
    few = maze_hard(REAL, n_train=100, n_valid=30, n_test=50)
    assert len(few.valid) == 30 and few.test.digest == maze_hard(REAL, n_train=100, n_valid=0, n_test=50).test.digest
    x, y, _ = Stream(maze_hard(REAL, n_train=100, n_test=50, augmented=True).train, 50, seed=1).batch(0)
    for q, a in zip(x, y, strict=True):
        check_puzzle(q, a, 30, rule=True)


@needs_real_data
def test_a_copy_of_a_real_training_maze_does_not_reach_the_test(tmp_path):
    questions, answers, _ = read_maze_csv(REAL / 'train.csv', rows=range(20))
    q, a = augment(np.random.default_rng(0), questions, answers, 30)
    real = [(REAL / f'{name}.csv').read_text().splitlines() for name in ('train', 'test')]
    (tmp_path / 'train.csv').write_text('\n'.join(real[0][:101]))
    (tmp_path / 'test.csv').write_text('\n'.join(real[1][:101] + [row(q[i], a[i], 30) for i in range(20)]))
    assert len(maze_hard(tmp_path, n_train=100, n_test=120).test) == 100
