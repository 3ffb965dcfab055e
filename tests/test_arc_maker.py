"""Generated tasks in the manner of ARC: every rule against another implementation of it, cell by cell and without
numpy's or scipy's help; tasks that keep their promises; odd values."""

from collections import Counter

import numpy as np
import pytest

from trm_nbdev.engine.data import ArcData
from trm_nbdev.puzzles import arc_maker
from trm_nbdev.puzzles.arc import change, equivalent, fits
from trm_nbdev.puzzles.arc_maker import (
    FAMILIES,
    N_DEMOS,
    N_TESTS,
    RULES,
    Rule,
    apply,
    made_splits,
    make_pair,
    make_tasks,
    scene,
)

Cells = list[list[int]]
EIGHT = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
FOUR = [(0, 1), (1, 0), (0, -1), (-1, 0)]
BY_NAME = {rule.name: rule for rule in RULES}


# ---- the rules once more, slowly


def place_of(family: str, values: tuple[int, ...], i: int, j: int, rows: int, cols: int) -> tuple[int, int] | None:
    "Where a rule that moves cells takes one; None: out of the grid."
    if family == 'shift':
        down, right, around = values
        i, j = i + down, j + right
        if around:
            return i % rows, j % cols
        return (i, j) if 0 <= i < rows and 0 <= j < cols else None
    last_i, last_j = rows - 1 - i, cols - 1 - j
    turned = {1: (last_j, i), 2: (last_i, last_j), 3: (j, last_i)}
    mirrored = {4: (i, last_j), 5: (last_i, j), 6: (j, i), 7: (last_j, last_i)}
    return (turned | mirrored)[values[0]]


def moved(family: str, values: tuple[int, ...], grid: Cells, colour: int) -> Cells:
    rows, cols = len(grid), len(grid[0])
    sideways = family in ('mirror', 'turn') and values[0] in (1, 3, 6, 7)
    new = [[0] * (rows if sideways else cols) for _ in range(cols if sideways else rows)]
    if colour:
        new = [[0 if c == colour else c for c in row] for row in grid]
    for i in range(rows):
        for j in range(cols):
            if grid[i][j] and colour in (0, grid[i][j]) and (place := place_of(family, values, i, j, rows, cols)):
                new[place[0]][place[1]] = grid[i][j]
    return new


def fallen(turns: int, grid: Cells, colour: int) -> Cells:
    "One cell after the other falls, those nearest to the edge first."
    down, right = [(1, 0), (0, -1), (-1, 0), (0, 1)][turns]
    rows, cols = len(grid), len(grid[0])
    new = [[0 if colour in (0, c) else c for c in row] for row in grid]
    loose = [(i, j) for i in range(rows) for j in range(cols) if grid[i][j] and colour in (0, grid[i][j])]
    taken = set()
    for i, j in sorted(loose, key=lambda place: -down * place[0] - right * place[1]):
        c = grid[i][j]
        while 0 <= i + down < rows and 0 <= j + right < cols and (i + down, j + right) not in taken:
            i, j = i + down, j + right
        taken.add((i, j))
        new[i][j] = c
    return new


def spread(starts: set, allowed: set, steps: list) -> set:
    "Everything that can be reached from some cells."
    found, todo = set(starts), list(starts)
    while todo:
        i, j = todo.pop()
        for place in ((i + a, j + b) for a, b in steps):
            if place in allowed and place not in found:
                found.add(place)
                todo.append(place)
    return found


def slowly(rule: Rule, grid: Cells) -> Cells:
    "What a rule makes of a grid, by other means."
    rows, cols = len(grid), len(grid[0])
    cells = {(i, j): grid[i][j] for i in range(rows) for j in range(cols)}
    family, (*rest, last) = rule.family, rule.values
    if family in ('mirror', 'turn', 'shift'):
        return moved(family, tuple(rest), grid, last)
    if family == 'gravity':
        return fallen(rest[0], grid, last)
    first = rule.values[0]
    black = {place for place, c in cells.items() if c == 0}
    of_first = {place for place, c in cells.items() if c == first}
    new = dict(cells)
    match family:
        case 'recolour':
            new |= dict.fromkeys(of_first, last)
        case 'swap':
            new = {place: {first: last, last: first}.get(c, c) for place, c in cells.items()}
        case 'keep':
            new = {place: c if c == first else 0 for place, c in cells.items()}
        case 'outline':
            near = {(i + a, j + b) for i, j in of_first for a, b in EIGHT}
            new |= dict.fromkeys(near & black, last)
        case 'fill':
            edge = {place for place in cells if place[0] in (0, rows - 1) or place[1] in (0, cols - 1)}
            outside = spread(edge - of_first, set(cells) - of_first, FOUR)
            new |= dict.fromkeys(black - outside, last)
        case 'lines':
            through = {(i, j) for i, j in cells if first != 1 and any(grid[i][k] == last for k in range(cols))}
            through |= {(i, j) for i, j in cells if first != 0 and any(grid[k][j] == last for k in range(rows))}
            new |= dict.fromkeys(through & black, last)
        case 'border':
            new |= {(i, j): first for i, j in cells if i in (0, rows - 1) or j in (0, cols - 1)}
        case 'crop':
            if not of_first:
                return grid
            (top, bottom), (left, right) = ((min(k), max(k)) for k in zip(*of_first, strict=True))
            return [row[left : right + 1] for row in grid[top : bottom + 1]]
        case 'count':
            n, left_over = 0, set(of_first)
            while left_over:
                n, left_over = n + 1, left_over - spread({min(left_over)}, of_first, EIGHT)
            return [[last] * n] if n else grid
    return [[new[i, j] for j in range(cols)] for i in range(rows)]


@pytest.mark.parametrize('family', FAMILIES)
def test_a_rule_does_what_it_says(family):
    rng = np.random.default_rng(0)
    scenes = [scene(rng, 7, range(1, 10)) for _ in range(40)]
    scenes += [rng.integers(0, 4, rng.integers(1, 8, 2)).astype(np.uint8) for _ in range(40)]  # crowded, of any shape
    rules, changed = [rule for rule in RULES if rule.family == family], 0
    for rule in rules:
        for x in scenes:
            y = rule(x)
            assert y.dtype == np.uint8 and y.tolist() == slowly(rule, x.tolist()), (rule.name, x.tolist())
            changed += y.tolist() != x.tolist()
    assert changed > len(rules)


def test_rules_have_names_and_colours_of_their_own():
    assert len(BY_NAME) == len(RULES) == sum(len(family.values) for family in FAMILIES.values()) == 639
    assert Rule('shift', (0, -2, 1, 9)).name == 'shift(0,-2,1,9)' and not any('|' in name for name in BY_NAME)
    assert Rule('recolour', (3, 0)).colours == {3} and Rule('mirror', (4, 0)).colours == set()
    colours = rng_colours = np.array([0, 2, 3, 4, 5, 6, 7, 8, 9, 1], np.uint8)
    rng = np.random.default_rng(1)
    for x in (scene(rng, 6, range(1, 10)) for _ in range(5)):
        for rule in RULES:  # in other colours, the rule of the other colours
            n = FAMILIES[rule.family].n_colours
            values = (*rule.values[:-n], *(int(colours[v]) for v in rule.values[-n:]))
            other = FAMILIES[rule.family].change(colours[x], *values)
            assert np.array_equal(rng_colours[rule(x)], other), rule.name


# ---- tasks


@pytest.fixture(scope='module')
def tasks():
    return {n_rules: make_tasks(n, n_rules, 6) for n_rules, n in ((1, 100), (2, 8))}


@pytest.mark.parametrize('n_rules', [1, 2])
def test_a_task_keeps_its_promises(tasks, n_rules):
    sets_of_rules = set()
    for task in tasks[n_rules]:
        chain = tuple(BY_NAME[name] for name in task.name.split('+'))
        sets_of_rules.add(frozenset(chain))
        assert len(chain) == len({rule.family for rule in chain}) == n_rules
        assert (len(task.demos), len(task.tests)) == (N_DEMOS, N_TESTS) and fits(task, 6)
        pairs = task.demos + task.tests
        assert len({(x.shape, x.tobytes()) for x, _ in pairs}) == len(pairs)
        assert max(Counter((y.shape, y.tobytes()) for _, y in pairs).values()) <= (N_DEMOS + N_TESTS) // 2
        for x, y in pairs:
            assert x.dtype == y.dtype == np.uint8 and y.any() and x.tolist() != y.tolist()
            assert apply(chain, x).tolist() == y.tolist()
            for k in range(n_rules):  # every rule is needed
                assert apply(chain[:k] + chain[k + 1 :], x).tolist() != y.tolist()
    assert len(sets_of_rules) == len(tasks[n_rules])


def test_the_demonstrations_of_one_rule_leave_one_answer(tasks):
    for task in tasks[1]:
        fitting = [r for r in RULES if all(np.array_equal(r(x), y) for x, y in task.demos)]
        assert task.name in [rule.name for rule in fitting]
        for rule in fitting:
            assert all(np.array_equal(rule(x), y) for x, y in task.tests), (task.name, rule.name)


def test_the_demonstrations_of_two_rules_leave_one_answer(tasks):
    "Over all 408,321 chains of two rules, of whatever colours, for one task."
    for task in tasks[2][:1]:
        assert not any(all(np.array_equal(r(x), y) for x, y in task.demos) for r in RULES)
        x, y = min(task.demos, key=lambda pair: pair[0].size)
        between: dict[tuple, list[Rule]] = {}
        for rule in RULES:
            between.setdefault((rule(x).shape, rule(x).tobytes()), []).append(rule)
        found = 0
        for same in between.values():
            for second in [r for r in RULES if np.array_equal(r(same[0](x)), y)]:
                for chain in ((first, second) for first in same):
                    if all(np.array_equal(apply(chain, a), b) for a, b in task.demos):
                        found += 1
                        assert all(np.array_equal(apply(chain, a), b) for a, b in task.tests), (task.name, chain)
        assert found


def test_tasks_depend_on_the_seed_and_on_nothing_else(tasks):
    def grids(some):
        return [(task.name, [grid.tolist() for grid in task.grids]) for task in some]

    np.random.seed(5)
    assert grids(make_tasks(40)) == grids(tasks[1][:40])  # asking for more gives the same ones first
    assert grids(make_tasks(3, 2)) == grids(tasks[2][:3])
    assert not {task.name for task in make_tasks(5, seed=1)} == {task.name for task in tasks[1][:5]}
    assert {len(task.name.split('+')) for task in make_tasks(3, 2, side=9, seed=2**63 - 1)} == {2}


@pytest.mark.parametrize('side', [4, 5, 9, 30])
def test_tasks_of_any_size(side):
    some = [*make_tasks(30, 1, side), *make_tasks(3, 2, side)]
    assert all(fits(task, side) for task in some)
    assert max(max(grid.shape) for task in some for grid in task.grids) > side - 2


def test_a_pair_that_shows_nothing_is_no_pair():
    x = np.array([[1, 0, 2]], np.uint8)
    erase, swap = Rule('recolour', (1, 0)), Rule('swap', (1, 2))
    assert make_pair(x, (Rule('keep', (2,)), erase), 6) is None  # the second does nothing
    assert make_pair(x, (Rule('recolour', (3, 4)),), 6) is None  # nothing at all
    assert make_pair(x, (swap, swap), 6) is None  # back to the beginning
    assert make_pair(x, (Rule('turn', (1, 0)),), 2) is None  # too large for the canvas
    assert make_pair(np.array([[1, 0]], np.uint8), (erase,), 6) is None  # all black
    question, answer = make_pair(x, (erase,), 6)
    assert question is x and answer.tolist() == [[0, 0, 2]]


# ---- splits


@pytest.mark.parametrize('n_rules', [1, 2])
def test_hidden_tests_are_hidden(n_rules):
    n_train, n_valid, n_test = (40, 10, 20) if n_rules == 1 else (6, 2, 4)
    s = made_splits(n_rules, 6, n_train, n_valid, n_test, n_augmentations=3)
    valid, test = ({task.name for task in some} for some in (s.valid_tasks, s.test_tasks))
    assert len(valid) == n_valid and len(test) == n_test and not valid & test
    assert len(s.versions.tasks) == n_train + n_test and s.num_puzzle_identifiers <= 1 + 4 * (n_train + n_test)
    assert len(s.valid) == n_valid * N_TESTS and n_test * N_TESTS < len(s.test) <= 4 * n_test * N_TESTS
    drawn = {(x.tobytes(), y.tobytes()) for x, y in zip(s.train.inputs, s.train.labels, strict=True)}
    for part in (s.valid, s.test):
        assert not drawn & {(x.tobytes(), y.tobytes()) for x, y in zip(part.inputs, part.labels, strict=True)}
    n_demos = N_DEMOS * (n_train + n_test) + N_TESTS * (n_train - n_valid)
    assert 0.9 * n_demos < len(s.train) <= n_demos
    assert s.train.name == f'arc-like-{"one-rule" if n_rules == 1 else "two-rules"}-6x6'


def test_training_tasks_have_other_rules_than_evaluation_tasks():
    tasks = make_tasks(60)
    s = made_splits(n_train=40, n_valid=10, n_test=20)
    test = {task.name for task in s.test_tasks}
    assert test < {task.name for task in tasks} and test != {task.name for task in tasks[40:]}  # dealt at random
    versions = [change(x, 1, np.arange(10, dtype=np.uint8)) for x in s.test_tasks[0].tests[0]]
    assert equivalent((versions[0], versions[1]), s.test_tasks[0].tests[0])


@pytest.mark.parametrize(
    'call, message',
    [
        (lambda: make_tasks(0), 'n is 0, expected a whole number from 1'),
        (lambda: make_tasks(2.0), 'n is 2.0, expected a whole number'),
        (lambda: make_tasks(2, 3), 'n_rules is 3, expected 1 or 2'),
        (lambda: make_tasks(2, '1'), "n_rules is '1', expected 1 or 2"),
        (lambda: make_tasks(2, side=3), 'side is 3, expected 4 to 30 for generated tasks'),
        (lambda: make_tasks(2, side=31), 'side is 31, expected a whole number from 1 to 30'),
        (lambda: make_tasks(2, seed=-1), 'seed is -1, expected'),
        (lambda: made_splits(n_train=0), 'n_train is 0, expected'),
        (lambda: made_splits(n_test=0), 'n_test is 0, expected'),
        (lambda: made_splits(n_train=9, n_valid=9, n_test=1), 'n_valid and held_out: expected together fewer than the'),
        (lambda: ArcData(n_train=9), 'n_train is 9 and n_test is 0, expected both (generated tasks) or neither'),
        (lambda: ArcData(n_test=9), 'n_train is 0 and n_test is 9, expected both (generated tasks) or neither'),
        (lambda: ArcData(side=3, n_train=9, n_test=9), 'side is 3, expected 4 to 30 for generated tasks'),
        (lambda: ArcData(n_train=9, n_test=9), 'n_valid is 20, expected fewer than the 9 training tasks'),
        (lambda: ArcData(n_train=99, n_test=9, concept=True), 'concept is True, expected None, None and False'),
        (lambda: ArcData(n_train=99, n_test=9, held_out=9), 'held_out is 9 and concept is False, expected None'),
        (lambda: ArcData(n_train=99, n_test=9, folder='here'), "folder is 'here', held_out is None and concept is F"),
    ],
)
def test_a_wrong_value_is_named(call, message):
    with pytest.raises(ValueError) as e:
        call()
    assert message in str(e.value) and '\n' not in str(e.value)


def test_more_tasks_than_there_are_end_in_an_error(monkeypatch):
    monkeypatch.setattr(arc_maker, '_MAX_WASTED', 30)
    monkeypatch.setattr(arc_maker, '_draw', lambda rng, n_rules: (RULES[rng.integers(22)],))
    with pytest.raises(
        ValueError, match='n is 50, expected fewer tasks: there were (1[5-9]|2[0-2]) of different rules'
    ):
        make_tasks(50)
