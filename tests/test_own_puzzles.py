"Typed puzzles, in Python and in the shell."

import io
from dataclasses import replace

import numpy as np
import pytest
import torch

import trm_nbdev
from trm_nbdev.engine.long_runs import fixed_threads
from trm_nbdev.engine.maze_maker import generate as generate_mazes
from trm_nbdev.engine.own_puzzles import LEARN, MANY, learn_tasks, main, read_puzzle, solve_puzzle, solve_puzzles
from trm_nbdev.engine.sudoku_maker import generate
from trm_nbdev.model import TRM, TRMConfig
from trm_nbdev.puzzles import maze, sudoku
from trm_nbdev.puzzles.arc import Task
from trm_nbdev.puzzles.arc_maker import make_tasks
from trm_nbdev.solving import think
from trm_nbdev.thinking_longer import think_longer

LINE = '.....61..3...46...2..6....2.....1.5.'
MAZE = 'S   #    # # ##  #   #   #### #       #  #### #  #    #    ##  G'


@pytest.mark.parametrize(
    ('puzzle', 'message'),
    [
        ('', 'puzzle has 0 cells, expected a Sudoku of 16, 36, 64 or 81 cells'),
        (LINE[:-1], 'puzzle has 35 cells'),
        (LINE[:-1] + '7', "character 36: expected 1..6, '.' or '0', got '7'"),
        (LINE[:-1] + 'x', "got 'x'"),
        ([[1, 2], [3]], 'puzzle has rows of different lengths'),
        ([[10] * 6] * 6, 'puzzle is list, expected a string, rows, or digits from 0 to 9'),
        (np.full((6, 6), -1), 'expected a string, rows, or digits'),
        (None, 'puzzle is NoneType'),
        (3.5, 'puzzle is float'),
        ({'train': []}, 'puzzle is an ARC task, expected a Sudoku or a maze'),
        ('{"train": []}', 'puzzle is an ARC task'),
        (MAZE.replace('S', ' '), 'puzzle has 0 cells S, expected one'),
        (MAZE.replace('S', 'G'), 'puzzle has 0 cells S, expected one'),
        (MAZE.replace(' ', 'S', 1), 'puzzle has 2 cells S, expected one'),
        (MAZE + '#', 'puzzle has 65 cells in 1 rows'),
        (MAZE.replace(' ', 'x', 1), "got 'x'"),
        ('1' + '.' * 15, 'no model for sudoku-4x4 comes with the package, only '),
        ('S' + ' ' * 7 + '#G' + ' ' * 15, 'no model for maze-5x5 comes with the package'),
    ],
)
def test_what_cannot_be_solved_is_refused_with_a_reason(puzzle, message):
    with pytest.raises(ValueError) as e:
        solve_puzzle(puzzle)
    assert message in str(e.value)


@pytest.mark.parametrize(
    ('how', 'message'),
    [
        ({'steps': 0}, 'steps is 0'),
        ({'chains': 0}, 'chains is 0'),
        ({'choose': 'best'}, "choose is 'best', expected one of"),
        ({'seed': -1}, 'seed is -1'),
        ({'model': 'maze-8x8'}, '36'),
        ({'model': 'nothing/of/that/name'}, 'is not a folder, a shipped model'),
    ],
)
def test_wrong_arguments(how, message):
    with pytest.raises(ValueError) as e:
        solve_puzzle(LINE, **how)
    assert message in str(e.value)


def test_what_is_read_is_what_was_written():
    questions, _ = generate(20, (3, 3), 30, seed=11)
    for q in questions:
        text = sudoku.format_grid(q, (3, 3))
        own = read_puzzle(text)
        assert own.name == 'sudoku-9x9' and own.spell(own.tokens) == text
        assert (read_puzzle(own.drawn(own.tokens)).tokens == own.tokens).all()  # with lines between the boxes
        assert (read_puzzle(q.reshape(9, 9).tolist()).tokens == own.tokens).all()
    questions, answers = generate_mazes(20, 8, 12, seed=11)
    for q, a in zip(questions, answers, strict=True):
        text = maze.format_maze(q, 8)
        own = read_puzzle(text)
        assert own.name == 'maze-8x8' and (own.tokens == q).all()
        assert (read_puzzle(maze.format_maze(a, 8)).tokens == q).all()  # a drawn path is not part of the question
        rows = [text[k : k + 8].rstrip() or ' ' for k in range(0, 64, 8)]  # editors cut off spaces
        assert (read_puzzle('\n'.join(rows)).tokens == q).all()
        assert own.is_right(a) and not own.is_right(q)


def test_right_means_by_the_rules():
    own = read_puzzle(LINE)
    answer = solve_puzzle(LINE)
    assert answer.right and own.is_right(answer.tokens)
    for k in range(36):
        wrong = answer.tokens.copy()
        wrong[k] = wrong[k] % 6 + 2  # another digit
        assert not own.is_right(wrong)
    assert not own.is_right(own.tokens)  # blanks
    swapped = sudoku.to_tokens((sudoku.to_digits(answer.tokens)) % 6 + 1)
    assert not own.is_right(swapped)  # keeps all rules, but not the clues


def test_each_size_goes_to_its_model_and_answers_keep_their_order():
    nine, _ = generate(1, (3, 3), 40, seed=5)
    answers = solve_puzzles([LINE, MAZE, sudoku.format_grid(nine[0], (3, 3)), LINE])
    assert [a.puzzle.name for a in answers] == ['sudoku-6x6', 'maze-8x8', 'sudoku-9x9', 'sudoku-6x6']
    assert answers[0].text == answers[3].text == solve_puzzle(LINE).text
    assert all(0 <= a.sure <= 1 and 1 <= a.steps <= 16 for a in answers)
    assert trm_nbdev.solve_puzzle is solve_puzzle
    with pytest.raises(AttributeError, match='has no attribute'):
        trm_nbdev.solve_nothing  # noqa: B018


def test_little_work_is_done_by_one_thread(monkeypatch):
    threads = []

    def spy(*a, **k):
        threads.append(torch.get_num_threads())
        with fixed_threads(1):
            return think_longer(*a, **k)

    monkeypatch.setattr('trm_nbdev.engine.own_puzzles.think_longer', spy)
    with fixed_threads(2):
        for chains in (MANY - 1, MANY):
            solve_puzzle(LINE, steps=1, chains=chains)
        assert threads == [1, 2] and torch.get_num_threads() == 2


def test_the_command_reads_arguments_files_and_standard_input(tmp_path, capsys, monkeypatch):
    text = solve_puzzle(LINE).text
    lines, grid, one_maze = (tmp_path / name for name in ('lines.txt', 'grid.txt', 'maze.txt'))
    lines.write_text(f'{LINE}\n\n{MAZE}\r\n')
    grid.write_text(read_puzzle(LINE).drawn(read_puzzle(LINE).tokens) + '\n')
    one_maze.write_text('\n'.join(MAZE[k : k + 8] for k in range(0, 64, 8)))
    monkeypatch.setattr('sys.stdin', io.StringIO(LINE))
    code = main([LINE, str(lines), str(grid), str(one_maze), '-'])
    said = [line.split('\t') for line in capsys.readouterr().out.splitlines()]
    assert [fields[0] == text for fields in said] == [True, True, False, True, False, True]
    assert said[2] == said[4] and len(said[2][0]) == 64
    assert code == int(any(fields[1] == 'wrong' for fields in said))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['12'], 'puzzle has 2 cells'),
        (['{file}'], 'puzzles.txt, line 3: puzzle has 35 cells'),
        (['{file}', '--steps', '0'], 'puzzles.txt, line 3'),
        ([LINE, '--chains', '0'], 'chains is 0'),
        ([LINE, '--model', 'sudoku-9x9'], '81'),
        ([LINE, LINE, '--gif', 'x.gif'], '--gif with 2 puzzles and 1 chains, expected one of each'),
        ([LINE, '--gif', '/nowhere/x.gif'], '/nowhere/x.gif'),
        (['{empty}'], 'no puzzle was given'),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(arguments, message, tmp_path, capsys):
    (tmp_path / 'puzzles.txt').write_text(f'{LINE}\n\n{LINE[:-1]}\n')
    (tmp_path / 'empty.txt').write_text('\n')
    names = {'{file}': str(tmp_path / 'puzzles.txt'), '{empty}': str(tmp_path / 'empty.txt')}
    assert main([names.get(a, a) for a in arguments]) == 2
    said = capsys.readouterr()
    assert message in said.err and said.err.count('\n') == 1 and said.err.startswith('trm-solve: ') and not said.out


def test_the_movie_and_the_drawing(tmp_path, capsys):
    path = tmp_path / 'movie.gif'
    assert main([LINE, '--show', '--gif', str(path)]) == 0
    assert path.read_bytes().startswith(b'GIF89a')
    said = capsys.readouterr().out
    assert said.splitlines()[2] == '------+------' and 'right, ' in said


# ---- new ARC tasks

ARC = TRMConfig(
    12, 25, 16, heads=2, multiple=16, n=1, T=1, n_sup=3, num_puzzle_identifiers=3, puzzle_emb_ndim=16, puzzle_emb_len=1
)
BRIEF = replace(LEARN, steps=4, batch_size=8)


def arc_model(**changes: object) -> TRM:
    torch.manual_seed(0)
    model = TRM(replace(ARC, **changes))
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.1)
    return model


def test_a_new_task_changes_nothing_but_its_own_embeddings():
    model, tasks = arc_model(), make_tasks(2, side=5)
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    learned, splits = learn_tasks(model, tasks, BRIEF, n_augmentations=2)
    for name, weights in before.items():
        assert torch.equal(weights, model.state_dict()[name]), name
        assert torch.equal(weights, learned.state_dict()[name][: len(weights)]), name
    new = learned.embed.puzzles.weight[3:]
    assert len(new) == 6 and splits.num_puzzle_identifiers == 9 and new.any(1).all()
    assert [*splits.versions.first] == [3, 6, 9] and {*splits.test.identifiers} == {*range(3, 9)}
    asked, known = splits.test.inputs[:3], np.arange(3)
    assert (think(learned, asked, known).q == think(model, asked, known).q).all()
    again, _ = learn_tasks(learned, make_tasks(3, side=5)[2:], BRIEF)  # and so on
    assert torch.equal(again.embed.puzzles.weight[:9], learned.embed.puzzles.weight)


def test_the_outputs_of_the_tests_are_not_looked_at():
    (task,) = make_tasks(1, side=5)
    spoilt = Task(task.name, task.demos, tuple((x, 1 - np.minimum(y, 1)) for x, y in task.tests))
    true, other = (learn_tasks(arc_model(), [t], BRIEF)[0].embed.puzzles.weight for t in (task, spoilt))
    assert torch.equal(true, other)


@pytest.mark.parametrize(
    ('changes', 'tasks', 'message'),
    [
        (
            dict(puzzle_emb_ndim=0, puzzle_emb_len=0),
            1,
            'model has puzzle_emb_ndim=0, vocab_size=12 and seq_len=25, expected',
        ),
        (dict(vocab_size=7), 1, 'vocab_size=7 and seq_len=25, expected puzzle embeddings, 12 tokens'),
        (dict(seq_len=24), 1, 'seq_len=24, expected puzzle embeddings, 12 tokens and a square'),
        (dict(seq_len=16), 1, 'is too large, expected grids of at most 4x4, as the model has them'),
        ({}, 0, 'tasks is empty, expected at least one'),
    ],
)
def test_what_cannot_be_learned_is_refused(changes, tasks, message):
    with pytest.raises(ValueError) as e:
        learn_tasks(arc_model(**changes), make_tasks(1, side=5)[:tasks], BRIEF)
    assert message in str(e.value)


@pytest.mark.parametrize(
    ('model', 'puzzle', 'kind'), [('sudoku-6x6', f'S{"." * 34}G', 'maze'), ('maze-8x8', '.' * 64, 'sudoku')]
)
def test_a_model_of_other_puzzles_of_the_same_size_is_refused_in_one_line(model, puzzle, kind, capsys):
    assert main(['--model', model, puzzle]) == 2
    said = capsys.readouterr().err
    assert f'model reads {model}, expected one for {kind}-' in said and 'Traceback' not in said


def test_a_maze_model_of_4x4_whose_tokens_a_sudoku_also_has_is_taken():
    model = TRM(TRMConfig(vocab_size=6, seq_len=16, hidden_size=16, heads=2, multiple=16, mixer='attention'))
    assert solve_puzzle('S..#\n.#..\n...#\n##.G', model=model).puzzle.name == 'maze-4x4'
