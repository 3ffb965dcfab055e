"""What the chapters on Sudoku cannot show: the real data, brute force, bad input case by case."""

import csv
import io
import pickle
import re
from functools import partial
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgba

from trm_nbdev.engine.sudoku_maker import (
    equivalent,
    equivalent_pairs,
    generate,
    invariants,
    make_puzzle,
    random_solution,
    read_sudoku_csv,
    sudoku_extreme,
    sudoku_splits,
)
from trm_nbdev.engine.sudoku_solver import (
    careful_difficulty,
    check_clues,
    check_puzzle,
    difficulty,
    lines_and_peers,
    search_carefully,
    solve,
)
from trm_nbdev.puzzles.sudoku import (
    animate_steps,
    augment,
    changed_clues,
    draw,
    draw_steps,
    find_clash,
    format_grid,
    parse_grid,
    random_symmetries,
    to_digits,
    to_tokens,
)
from trm_nbdev.tokens import Stream

BOXES = [(2, 2), (2, 3), (3, 2), (2, 4), (4, 2), (3, 3)]
SMALL, NINE = (2, 3), (3, 3)
QUESTION = parse_grid('......831.9..68.7....3.5....68...........6..274......3.....9..42...4..1.6...2..57', NINE)
ANSWER = parse_grid('526794831391268475487315296168532749935476182742981563873159624259647318614823957', NINE)

REAL = Path(__file__).resolve().parents[2] / 'shared' / 'data' / 'sudoku-extreme'
needs_real_data = pytest.mark.skipif(
    not REAL.is_dir(), reason='no Sudoku-Extreme files in ../shared/data/sudoku-extreme'
)


# ---- bad input


@pytest.mark.parametrize('box', [(1, 6), (3, 4), (2, 5), (6, 1), (0, 3), (2, 3, 4), (-2, -3)])
def test_a_wrong_box_is_refused(box):
    with pytest.raises(ValueError, match=r'box is \(.*\), expected'):
        generate(1, box)


@pytest.mark.parametrize(
    'text, message',
    [
        ('', 'expected 36 characters for a 6x6 grid, got 0'),
        ('.' * 37, 'expected 36 characters for a 6x6 grid, got 37'),
        ('.' * 35 + '7', r"character 36: expected 1\.\.6, '\.' or '0', got '7'"),
        ('-' + '.' * 35, "character 1: .* got '-'"),
        ('.' * 35 + '\n', r"character 36: .* got '\\n'"),
        ('.' * 4 + '²' + '.' * 31, "character 5: .* got '²'"),  # int() and str.isdigit() do not agree about this one
    ],
)
def test_a_wrong_string_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_grid(text, SMALL)


@pytest.mark.parametrize(
    'grid, message',
    [
        (np.zeros((6, 6), int), r'expected 36 cells in one row, got shape \(6, 6\)'),
        (np.zeros(35, int), 'expected 36 cells in one row'),
        (np.full(36, 7), r'expected digits 0\.\.6, got 7\.\.7'),
        (np.full(36, -1), r'expected digits 0\.\.6, got -1'),
        (np.full(36, 257), 'got 257'),  # would be 1 as a byte
        (np.zeros(36), 'expected whole numbers, got float64'),
    ],
)
@pytest.mark.parametrize(
    'function',
    [
        solve,
        difficulty,
        format_grid,
        find_clash,
        draw,
        lambda grid, box: invariants([grid], box),
        lambda grid, box: equivalent(grid, grid, box),
    ],
)
def test_a_wrong_grid_is_refused(function, grid, message):
    with pytest.raises(ValueError, match=message):
        function(grid, SMALL)


def changed(grid, **cells):
    grid = grid.copy()
    for cell, digit in cells.items():
        grid[int(cell[1:])] = digit
    return grid


@pytest.mark.parametrize(
    'question, answer, message',
    [
        (changed(QUESTION, c0=1), ANSWER, 'clues contradict each other: digit 1 is more than once in row 1'),
        (changed(QUESTION, c0=6), ANSWER, 'clues contradict each other: digit 6 is more than once in column 1'),
        (changed(QUESTION, c0=9), ANSWER, 'clues contradict each other: digit 9 is more than once in box 1'),
        (changed(QUESTION, c0=4), ANSWER, 'expected one solution, the puzzle has none'),
        (changed(QUESTION, c6=0, c7=0, c8=0), ANSWER, 'expected one solution, the puzzle has several'),
        (QUESTION, changed(ANSWER, c80=0), 'answer: cell 81 is blank'),
        (QUESTION, changed(ANSWER, c80=9), 'answer is not a solution: digit 9 is more than once in row 9'),
        (QUESTION, ANSWER[::-1], 'answer does not match the clues: cell 7 is 4, the clue is 8'),
        (QUESTION, ANSWER[:80], 'answer: expected 81 cells'),
        (QUESTION[:80], ANSWER, 'question: expected 81 cells'),
    ],
)
def test_a_wrong_puzzle_is_refused(question, answer, message):
    with pytest.raises(ValueError, match=message):
        check_puzzle(question, answer, NINE)


@pytest.mark.parametrize(
    'call, message',
    [
        (lambda: solve(QUESTION, NINE, limit=0), 'limit: expected at least 1, got 0'),
        (
            lambda: make_puzzle(np.random.default_rng(0), NINE, clues=82),
            'clues is 82, expected a whole number from 1 to 81 or None',
        ),
        (lambda: make_puzzle(np.random.default_rng(0), NINE, clues=0), 'clues is 0, expected a whole number from 1'),
        (
            lambda: make_puzzle(np.random.default_rng(0), NINE, clues=16),
            'none of 1000 random puzzles could be reduced to 16 clues',
        ),
        (lambda: generate(0), 'n is 0, expected a whole number from 1'),
        (lambda: generate(1, seed=-1), 'seed is -1, expected a whole number from 0'),
        (lambda: generate(289, (2, 2), clues=16), 'found 288 different puzzles'),  # there are no more full grids
        (
            lambda: generate(1, SMALL, clues='hard'),
            r"clues: expected a number, or 'hard' with box \(3, 3\), got 'hard' with box \(2, 3\)",
        ),
        (lambda: generate(1, NINE, clues='minimal'), "got 'minimal'"),
        (lambda: animate_steps(QUESTION, np.zeros((2, 81), int), ANSWER, NINE, titles=['one']), 'got 1 for 2'),
        (lambda: sudoku_splits(n_train=0), 'n_train is 0, expected a whole number from 1'),
        (lambda: sudoku_splits(n_valid=-1), 'n_valid is -1, expected a whole number from 0'),
        (lambda: draw_steps(QUESTION, np.zeros((0, 81), int), ANSWER, NINE), 'at least one prediction'),
    ],
)
def test_a_wrong_argument_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


HEADER, GOOD = 'source,question,answer,rating', f'here,{format_grid(QUESTION, NINE)},{format_grid(ANSWER, NINE)},17'


@pytest.mark.parametrize(
    'text, message',
    [
        ('', "expected the columns source,question,answer,rating, got ''"),
        ('question,answer\n', "got 'question,answer'"),
        (f'{HEADER}\n{GOOD}\nhere,{QUESTION[0]}\n', 'row 2: expected 4 fields'),
        (f'{HEADER}\n{GOOD},more\n', 'row 1: expected 4 fields'),
        (f'{HEADER}\n{GOOD}\nhere,123,1,5\n', 'row 2: expected 81 characters for a 9x9 grid, got 3'),
        (f'{HEADER}\n{GOOD[:-2]}-1\n', "row 1: rating: expected a whole number of at most 18 digits, got '-1'"),
        (f'{HEADER}\n{GOOD}\n{GOOD.replace(".9..", ".x..")}\n', "row 2: character 11: .* got 'x'"),
        (f'{HEADER}\n{GOOD}\n{GOOD.replace("614823957", "614853957")}\n', 'row 2: answer is not a solution'),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_and_row(tmp_path, text, message):
    path = tmp_path / 'bad.csv'
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        read_sudoku_csv(path)
    assert str(path) in str(error.value)


FIELDS = st.one_of(
    st.text(max_size=90),  # anything
    st.text('0123456789.', min_size=81, max_size=81),  # grids that rarely make sense
    st.sampled_from(
        [format_grid(QUESTION, NINE), format_grid(ANSWER, NINE), '.' * 81, '17', '-1', '1e3', '²', '', '9' * 5000]
    ),
)
LINES = st.one_of(st.lists(FIELDS, max_size=6), st.tuples(st.just('here'), FIELDS, FIELDS, FIELDS).map(list))


@settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(LINES, min_size=1, max_size=3), st.booleans(), st.binary(max_size=5))
@example(
    [['here', format_grid(QUESTION, NINE), format_grid(ANSWER, NINE), '9' * 5000]], True, b''
)  # too long for int()
@example(
    [['here', format_grid(QUESTION, NINE), format_grid(ANSWER, NINE), '9' * 30]], True, b''
)  # too large for an int64
@example([['x' * 200_000]], True, b'')  # too long for the csv module
@example([['here']], True, b'\xff')  # not UTF-8
@example([['here"']], False, b'"')
def test_whatever_a_row_holds_only_a_valueerror_with_file_and_row_comes_out(tmp_path, lines, quoted, rest):
    path, text = tmp_path / 'fuzz.csv', io.StringIO()
    if quoted:
        csv.writer(text).writerows(lines)
    else:
        text.write('\n'.join(','.join(line) for line in lines))
    path.write_bytes(f'{HEADER}\n{GOOD}\n'.encode() + text.getvalue().encode('utf-8', 'surrogatepass') + rest)
    try:
        questions, answers, _ = read_sudoku_csv(path)
    except ValueError as error:
        assert re.search(re.escape(str(path)) + r', row \d+: ', str(error))
    else:
        for question, answer in zip(questions, answers, strict=True):
            check_puzzle(question, answer, NINE)


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.csv'):
        read_sudoku_csv(tmp_path / 'none.csv')
    (tmp_path / 'train.csv').write_text(HEADER)
    with pytest.raises(FileNotFoundError, match='expected train.csv and test.csv'):
        sudoku_extreme(tmp_path)


def test_rows_may_repeat_but_must_be_there(tmp_path):
    path = tmp_path / 'test.csv'
    path.write_text('\n'.join([HEADER, GOOD, GOOD, GOOD]))
    assert [len(read_sudoku_csv(path, rows=rows)[0]) for rows in ([1], [2, 2], [])] == [1, 1, 0]
    with pytest.raises(ValueError, match='test.csv: expected at least 6 rows'):
        read_sudoku_csv(path, rows=[0, 5])


def test_all_test_rows_held_for_validation_is_an_error(tmp_path):
    for name in ('train.csv', 'test.csv'):
        (tmp_path / name).write_text('\n'.join([HEADER, GOOD]))
    with pytest.raises(ValueError, match='all 1 rows that were drawn are for validation'):
        sudoku_extreme(tmp_path, n_train=1, n_valid=5, n_test=1, valid_of_test=True)


def test_a_file_without_rows_has_no_puzzles(tmp_path):
    for name in ('train.csv', 'test.csv'):
        (tmp_path / name).write_text(HEADER + '\n')
    assert [part.shape for part in read_sudoku_csv(tmp_path / 'train.csv')] == [(0, 81), (0, 81), (0,)]
    with pytest.raises(ValueError, match='expected at least n_train=1000 rows, got 0'):
        sudoku_extreme(tmp_path)


# ---- solver and generator


def test_the_solver_counts_like_brute_force():
    full = [np.array(rows).ravel() for rows in _all_4x4()]
    rng = np.random.default_rng(0)
    for _ in range(100):
        grid = np.where(rng.random(16) < 0.25, full[rng.integers(288)], 0)
        expected = sum(bool(((grid == 0) | (grid == f)).all()) for f in full)
        assert solve(grid, (2, 2), limit=288)[0] == expected


def _all_4x4():
    "All 288 full 4x4 grids, row by row, without the solver."
    lines = list(permutations((1, 2, 3, 4)))

    def fits(rows):
        columns = all(len(set(c)) == len(rows) for c in zip(*rows, strict=True))
        boxes = all(
            len({rows[i][j], rows[i][j + 1], rows[i + 1][j], rows[i + 1][j + 1]}) == 4
            for i in (0, 2)
            if i + 1 < len(rows)
            for j in (0, 2)
        )
        return columns and boxes

    grids = [[]]
    for _ in range(4):
        grids = [[*g, line] for g in grids for line in lines if fits([*g, line])]
    assert len(grids) == 288
    return grids


@pytest.mark.parametrize('box', BOXES)
def test_generated_puzzles_are_valid_minimal_and_reproducible(box):
    questions, answers = generate(10, box, seed=7)
    for question, answer in zip(questions, answers, strict=True):
        check_puzzle(question, answer, box)
        for i in np.flatnonzero(question):
            assert solve(np.where(np.arange(len(question)) == i, 0, question), box)[0] == 2
    assert (generate(12, box, seed=7)[0][:10] == questions).all()


@pytest.mark.parametrize('clues', [9, 10, 14, 20, 35])
def test_the_number_of_clues_is_met(clues):
    assert ((generate(40, SMALL, clues)[0] > 0).sum(axis=1) == clues).all()


@pytest.mark.parametrize('box, clues', [(SMALL, None), (NINE, 28)])
def test_a_thousand_generated_puzzles_have_one_solution_each(box, clues):
    questions, answers = generate(1000, box, clues, seed=11)
    for question, answer in zip(questions, answers, strict=True):
        check_puzzle(question, answer, box)
    assert len({q.tobytes() for q in questions}) == 1000


def test_random_minimal_puzzles_need_a_few_dozen_guesses():
    hard = [difficulty(q, NINE) for q in generate(500, NINE, seed=5)[0]]
    assert 25 < np.median(hard) < 50


@pytest.fixture(scope='module')
def hard_puzzles():
    return generate(60, NINE, clues='hard')


def test_hard_puzzles_are_hard_valid_and_have_about_25_clues(hard_puzzles):
    questions, answers = hard_puzzles
    for question, answer in zip(questions, answers, strict=True):
        check_puzzle(question, answer, NINE)
    assert np.median([difficulty(q, NINE) for q in questions]) >= 300
    assert (
        np.median([careful_difficulty(q, NINE) for q in questions]) >= 40
    )  # 1 for random minimal puzzles, 84 for Sudoku-Extreme
    assert 24 <= (questions > 0).sum(axis=1).mean() <= 26


def test_hard_puzzles_are_minimal_but_for_a_few(hard_puzzles):
    def is_minimal(q):
        return all(solve(np.where(np.arange(81) == i, 0, q), NINE)[0] == 2 for i in np.flatnonzero(q))

    assert np.mean([is_minimal(q) for q in hard_puzzles[0]]) > 0.9


def test_hard_puzzles_are_not_related(hard_puzzles):
    questions, answers = hard_puzzles
    assert len(set(invariants(questions, NINE))) == 60
    assert not any(equivalent(a, b, NINE) for a, b in combinations(answers[:6], 2))  # not even by their answers


def test_a_seed_decides_about_hard_puzzles(hard_puzzles):
    assert (generate(8, NINE, clues='hard')[0] == hard_puzzles[0][:8]).all()
    assert (generate(2, NINE, clues='hard', seed=1)[0] != hard_puzzles[0][:2]).any()
    splits = sudoku_splits(NINE, 'hard', n_train=4, n_valid=2, n_test=2)
    assert splits.train.name == splits.test.name == 'sudoku-9x9-hard'
    parts = [to_digits(part.inputs) for part in (splits.train, splits.valid, splits.test)]
    assert (np.concatenate(parts) == hard_puzzles[0][:8]).all()


@pytest.mark.parametrize('box', BOXES)
def test_both_solvers_agree_that_easy_puzzles_are_easy(box):
    rng = np.random.default_rng(0)
    for _ in range(20):
        q, _ = make_puzzle(rng, box)
        assert (
            difficulty(q, box) > 0 or careful_difficulty(q, box) == 0
        )  # without a guess by the textbook, no guess with more care


@pytest.mark.parametrize('box', BOXES)
def test_both_solvers_find_the_same(box):
    rng = np.random.default_rng(3)
    for _ in range(20):
        question, answer = make_puzzle(rng, box)
        count, _, found = search_carefully(question, -1, 0, *lines_and_peers(box), 2)
        assert count == 1 and (found == 1 << (answer.astype(int) - 1)).all()
        question[np.flatnonzero(question)[0]] = 0
        assert search_carefully(question, -1, 0, *lines_and_peers(box), 2)[0] == 2
        question[question == 0] = 1  # contradicts itself
        assert search_carefully(question, -1, 0, *lines_and_peers(box), 2)[0] == 0


# ---- symmetries


@pytest.mark.parametrize('box', BOXES)
@pytest.mark.parametrize('seed', range(3))
def test_augmented_puzzles_are_valid_and_equivalent(box, seed):
    rng = np.random.default_rng(seed)
    questions, answers = generate(20, box, seed=seed)
    q, a = (to_digits(t) for t in augment(rng, to_tokens(questions), to_tokens(answers), box))
    for old, new, answer in zip(questions, q, a, strict=True):
        check_puzzle(new, answer, box)
        assert equivalent(old, new, box) and invariants([old], box) == invariants([new], box)


def test_every_cell_symmetry_is_drawn_equally_often():
    cells, digits = random_symmetries(np.random.default_rng(0), 50_000, SMALL)
    _, counts = np.unique(cells, axis=0, return_counts=True)
    assert len(counts) == 3456
    spread = ((counts - 50_000 / 3456) ** 2).sum() / (50_000 / 3456)  # chi-square with 3455 degrees of freedom
    assert abs(spread - 3455) < 5 * np.sqrt(2 * 3455)
    assert len(np.unique(digits, axis=0)) == 720 and (digits[:, 0] == 0).all()


def test_the_stream_goes_on_after_pickling():
    train = sudoku_splits(NINE, 30, n_train=200, n_valid=0, n_test=1).train
    stream = Stream(train, 64, seed=3)
    expected = [stream.batch(k) for k in range(8)]
    resumed = pickle.loads(pickle.dumps(stream))
    for part in (0, 1):
        assert (resumed.batch(5)[part] == expected[5][part]).all()


# ---- equivalence


def orbit(grid, box):
    "All images of a grid under moves of cells, digits renamed by first occurrence: brute force over permutations."
    side, images = box[0] * box[1], set()

    def keeps_groups(order, size):
        return all(len({line // size for line in order[k : k + size]}) == 1 for k in range(0, side, size))

    rows = [list(p) for p in permutations(range(side)) if keeps_groups(p, box[0])]
    cols = [list(p) for p in permutations(range(side)) if keeps_groups(p, box[1])]
    for start in (grid.reshape(side, side), grid.reshape(side, side).T)[: 2 if box[0] == box[1] else 1]:
        for r in rows:
            for c in cols:
                images.add(renamed(start[r][:, c]))
    return images


def renamed(grid):
    names = {0: 0}
    return bytes(names.setdefault(d, len(names)) for d in grid.ravel().tolist())


def test_equivalence_agrees_with_brute_force_on_4x4():
    grids = list(generate(40, (2, 2), clues=5)[0]) + list(generate(20, (2, 2), clues=16)[0])
    found = 0
    for a in grids:
        images = orbit(a, (2, 2))
        for b in grids:
            expected = renamed(b) in images
            assert equivalent(a, b, (2, 2)) == expected
            assert not expected or invariants([a], (2, 2)) == invariants([b], (2, 2))
            found += expected
    assert 60 < found < 3600  # some pairs besides each grid with itself, but not all


@pytest.mark.parametrize('box', [(2, 3), (3, 2)])
def test_equivalence_agrees_with_brute_force_on_6x6(box):
    rng = np.random.default_rng(0)
    grids = [random_solution(rng, box) for _ in range(40)]  # full grids: 49 classes, so some of them meet
    found = 0
    for a in grids[:6]:
        images = orbit(a, box)
        assert all(equivalent(a, b, box) == (renamed(b) in images) for b in grids)
        found += sum(equivalent(a, b, box) for b in grids)
    assert found > 6


def test_a_transposed_6x6_is_no_relative():
    # the boxes of a transposed grid are 3 high and 2 wide; seen with boxes 2x3 it is not even valid
    grid = random_solution(np.random.default_rng(0), SMALL)
    assert not equivalent(grid, grid.reshape(6, 6).T.ravel(), SMALL)


@pytest.mark.parametrize('box', [SMALL, NINE])
def test_planted_relatives_are_found_and_nothing_else(box):
    questions, answers = generate(300, box, seed=2)
    relatives = to_digits(augment(np.random.default_rng(1), to_tokens(questions), to_tokens(answers), box)[0])
    others = generate(600, box, seed=2)[0][300:]
    pairs, full_comparisons = equivalent_pairs(questions, np.concatenate([others, relatives[[17, 250]]]), box)
    assert pairs == [(17, 300), (250, 301)]
    assert full_comparisons <= 4  # the invariants leave next to nothing to the full comparison


# ---- splits


@pytest.mark.parametrize('box, clues', [(SMALL, None), (SMALL, 20), ((3, 2), None), (NINE, 28)])
def test_no_puzzle_is_equivalent_to_one_of_another_split(box, clues):
    splits = sudoku_splits(box, clues, n_train=300, n_valid=100, n_test=200, seed=4)
    parts = [to_digits(part.inputs) for part in (splits.train, splits.valid, splits.test)]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert equivalent_pairs(parts[a], parts[b], box)[0] == []
    assert splits.train.augment is not None and splits.valid.augment is splits.test.augment is None
    assert splits.train.shape == (box[0] * box[1],) * 2 and splits.train.vocab_size == box[0] * box[1] + 2


@pytest.mark.parametrize(
    'options, expected',
    [
        ({'n_train': 50, 'n_valid': 20, 'n_test': 30}, ['e9253d54462c', 'd1d5534cf867', '2da51a6c0769']),
        (
            {'box': (2, 2), 'clues': 6, 'n_train': 40, 'n_valid': 10, 'n_test': 20},
            ['987c609c9acb', 'b595e319df09', 'c286a575995d'],
        ),
        (
            {'clues': 12, 'n_train': 40, 'n_valid': 10, 'n_test': 20, 'seed': 1},
            ['bcaf5ff1939d', '901613d7a18d', 'f71f65b02963'],
        ),
        (
            {'box': NINE, 'n_train': 40, 'n_valid': 10, 'n_test': 20, 'seed': 3},
            ['79d18779f583', 'b394d39f9ab9', '45611765478f'],
        ),
        (
            {'box': NINE, 'clues': 28, 'n_train': 40, 'n_valid': 10, 'n_test': 20},
            ['fd4cf0d06359', '49d918f5b92a', 'c52a71b718cc'],
        ),
        (
            {'box': NINE, 'clues': 'hard', 'n_train': 3, 'n_valid': 1, 'n_test': 2},
            ['f6cd53bcf6b5', '95c9846f701b', '2024ad8a73ff'],
        ),
    ],
)
def test_the_splits_of_a_seed_never_change(options, expected):
    digests = [part.digest[:12] for part in vars(sudoku_splits(**options)).values()]
    assert digests == expected  # a change here makes every recorded run on generated puzzles incomparable


def test_4x4_splits_share_no_puzzle():
    splits = sudoku_splits((2, 2), n_train=100, n_valid=50, n_test=100)
    rows = np.concatenate([part.inputs for part in (splits.train, splits.valid, splits.test)])
    assert len(np.unique(rows, axis=0)) == 250


# ---- the real data


@needs_real_data
def test_the_real_training_puzzles_are_as_hard_as_said():
    questions, _, ratings = read_sudoku_csv(REAL / 'train.csv')
    assert len(questions) == 1000 and ratings.min() >= 0
    assert np.median([difficulty(q, NINE) for q in questions]) == 506.5


@needs_real_data
def test_the_real_files_make_splits():
    splits = sudoku_extreme(REAL.parent)
    assert [len(part) for part in (splits.train, splits.valid)] == [1000, 0] and 990 <= len(splits.test) <= 1000
    pairs, full_comparisons = equivalent_pairs(to_digits(splits.train.inputs), to_digits(splits.test.inputs), NINE)
    assert pairs == [] and full_comparisons < 20
    few = sudoku_extreme(REAL, n_train=100, n_valid=30, n_test=50)
    assert (
        len(few.valid) == 30 and few.test.digest == sudoku_extreme(REAL, n_train=100, n_valid=0, n_test=50).test.digest
    )
    x, y, _ = Stream(splits.train, 50, seed=1).batch(0)
    for q, a in zip(to_digits(x), to_digits(y), strict=True):
        check_puzzle(q, a, NINE)


@needs_real_data
def test_an_equivalent_of_a_real_training_puzzle_does_not_reach_the_test(tmp_path):
    questions, answers, _ = read_sudoku_csv(REAL / 'train.csv', rows=range(20))
    q, a = (
        to_digits(t)
        for t in partial(augment, box=NINE)(np.random.default_rng(0), to_tokens(questions), to_tokens(answers))
    )
    real = [(REAL / f'{name}.csv').read_text().splitlines() for name in ('train', 'test')]
    planted = [f'planted,{format_grid(q[i], NINE)},{format_grid(a[i], NINE)},0' for i in range(20)]
    (tmp_path / 'train.csv').write_text('\n'.join(real[0][:101]))
    (tmp_path / 'test.csv').write_text('\n'.join(real[1][:101] + planted))
    assert len(sudoku_extreme(tmp_path, n_train=100, n_test=120).test) == 100


# ---- impossible puzzles


def test_clues_that_contradict_each_other_are_refused_with_their_place():
    solution = solve(QUESTION, NINE)[1]
    assert check_clues(QUESTION, NINE)[0] == 1 and (check_clues(QUESTION, NINE)[1] == solution).all()
    assert check_clues(np.zeros(81, int), NINE)[0] == 2
    rng = np.random.default_rng(5)
    clashed = 0
    for cell in rng.permutation(np.flatnonzero(QUESTION == 0))[:20]:
        wrong = QUESTION.copy()
        wrong[cell] = solution[cell] % 9 + 1
        clash = find_clash(wrong, NINE)
        clashed += clash is not None
        with pytest.raises(ValueError, match='contradict each other: ' + (clash or 'no grid has all of them')):
            check_clues(wrong, NINE)
        assert check_clues(wrong, NINE, on_conflict='solve')[0] == 0
    assert 0 < clashed < 20  # both kinds
    with pytest.raises(ValueError, match='on_conflict is .no., expected'):
        check_clues(QUESTION, NINE, on_conflict='no')


def test_changed_clues_are_purple_and_counted_above_the_picture():
    changed = np.array(ANSWER)
    first, second = np.flatnonzero(QUESTION)[:2]
    changed[first], changed[second] = 0, ANSWER[second] % 9 + 1  # a blank is a change, too
    assert np.flatnonzero(changed_clues(QUESTION, changed)).tolist() == [first, second]
    assert changed_clues(QUESTION, np.array([ANSWER, changed])).sum(-1).tolist() == [0, 2]
    figure = draw_steps(QUESTION, np.array([ANSWER, changed]), changed, NINE)
    assert [ax.get_title() for ax in figure.axes] == ['question', 'step 1', 'step 2\n2 given cells changed']
    # also where the answer has the same fault, as that of an impossible puzzle
    assert len(figure.axes[2].patches) == 2 and {p.get_facecolor() for p in figure.axes[2].patches} == {
        to_rgba('#dcc3ee')
    }
