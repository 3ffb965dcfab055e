// The rules that the solving page knows, without a browser: node --test tests/page.test.js
const test = require('node:test'), assert = require('node:assert');
const Puzzles = require('../trm_nbdev/page/puzzles.js'), TRM = require('../trm_nbdev/page/trm.js');
const shelf = require('../trm_nbdev/page/puzzles.json');

const six = Puzzles.sudoku(2, 3), nine = Puzzles.sudoku(3, 3), maze = Puzzles.maze(8);
const example = (key, k) => shelf[key].examples[k][1];

test('a puzzle with one solution is solved, and the solution keeps the clues and the rules', () => {
  for (const [rules, key] of [[six, 'sudoku-6x6'], [nine, 'sudoku-9x9']]) {
    for (const text of shelf[key].random) {
      const question = rules.parse(text), { good, solution } = rules.check(question);
      assert.ok(good);
      assert.ok(question.every((t, i) => t === 1 || t === solution[i]));
      assert.strictEqual(rules.clash(solution.map(t => t - 1)), null);
      assert.deepStrictEqual(rules.judge(question, solution, solution), { right: true, text: 'Solved: the rules are kept.' });
    }
  }
});

test('an impossible, an ambiguous and an empty puzzle get a clear word', () => {
  const word = (rules, text) => rules.check(rules.parse(text)).text;
  assert.strictEqual(word(six, example('sudoku-6x6', 2)), 'Impossible: there are two 1s in row 2.');
  assert.strictEqual(word(nine, '5'.padEnd(80, '.') + '5'), 'Ambiguous: this puzzle has more than one solution.');
  assert.strictEqual(word(nine, '.'.repeat(81)), 'An empty grid has many solutions.');
  assert.strictEqual(word(six, '5.....' + '.'.repeat(24) + '5.....'), 'Impossible: there are two 5s in column 1.');
  assert.strictEqual(word(six, '5.......5' + '.'.repeat(27)), 'Impossible: there are two 5s in box 1.');
  // nothing is left for the first cell: its row has 1 to 5, its column the 6
  assert.strictEqual(word(six, '.12345' + '6'.padEnd(30, '.')), 'Impossible: this puzzle has no solution.');
});

test('the search counts no further than it is asked, and gives up where it is told', () => {
  const empty = Array(81).fill(0);
  assert.strictEqual(nine.solve(empty, 5).count, 5);
  assert.strictEqual(nine.solve(empty, 2, 10).complete, false);
});

test('wrong answers are told apart', () => {
  const question = six.parse(example('sudoku-6x6', 0)), { solution } = six.check(question);
  const changed = solution.slice(), wrong = solution.slice(), at = question.indexOf(1), clue = question.findIndex(t => t > 1);
  changed[clue] = changed[clue] === 2 ? 3 : 2;
  wrong[at] = wrong[at] === 2 ? 3 : 2;
  assert.strictEqual(six.judge(question, changed, solution).text, 'Wrong: 1 given digit changed.');
  assert.strictEqual(six.judge(question, wrong, solution).text, 'Not solved: 1 cell is wrong.');
  assert.strictEqual(six.judge(question, question, null).right, false);
});

test('mazes: no way, several ways, and what counts as a path', () => {
  const open = maze.parse(example('maze-8x8', 0));
  assert.deepStrictEqual(maze.solve(open), { length: 12, paths: 6 });
  assert.strictEqual(maze.check(maze.parse(example('maze-8x8', 2))).text, 'Impossible: walls separate start and goal.');
  assert.strictEqual(maze.check(maze.blank).text, 'Impossible: the maze has no start.');
  const question = maze.parse('S..G' + '.'.repeat(60)), put = (...cells) => question.map((t, i) => (cells.includes(i) ? Puzzles.PATH : t));
  const says = answer => maze.judge(question, answer).text;
  assert.strictEqual(says(put(1, 2)), 'Solved: a shortest path.');
  assert.strictEqual(says(put()), 'Not solved: no path is drawn.');
  assert.strictEqual(says(put(1)), 'Not solved: the path does not lead from start to goal.');
  assert.strictEqual(says(put(8, 9, 10, 11)), 'Not solved: not a shortest path.');
  assert.strictEqual(says(put(1, 2, 40)), 'Not solved: not a shortest path.');
  assert.strictEqual(says(put(1, 2).map((t, i) => (i === 50 ? Puzzles.WALL : t))), 'Wrong: 1 cell of the maze changed.');
  assert.strictEqual(maze.judge(maze.parse('SG' + '.'.repeat(62)), maze.parse('SG' + '.'.repeat(62))).right, true);
});

test('a symmetry makes another puzzle of the same kind, and what is said about it is turned back', () => {
  for (const [rules, key] of [[six, 'sudoku-6x6'], [nine, 'sudoku-9x9'], [maze, 'maze-8x8']]) {
    const seen = new Set();
    for (let seed = 0; seed < 40; seed++) {
      const question = rules.parse(shelf[key].random[seed % 24]), V = rules.kind === 'maze' ? 6 : rules.side + 2;
      const { change, back } = rules.symmetry(Puzzles.random(seed)), other = change(question);
      assert.strictEqual(rules.check(other).text, rules.check(question).text);
      const said = other.flatMap(t => Array.from({ length: V }, (_, k) => (k === t ? 5 : k / V))); // logits of what is asked
      assert.deepStrictEqual(TRM.tokens(back(said), V), question);
      seen.add(change(rules.parse(shelf[key].random[0])).join());
    }
    assert.ok(seen.size > 7, `${key}: only ${seen.size} forms`);
  }
});

test('votes', () => {
  const answers = [[1, 2], [3, 2], [3, 4], [1, 4]];
  assert.deepStrictEqual(Puzzles.vote(answers, [0, 3, 1, 2], false), [3, 2]); // ties go to the surest
  assert.deepStrictEqual(Puzzles.vote([[1, 2], [3, 4], [3, 4]], [9, 0, 0], true), [3, 4]);
  assert.strictEqual(Puzzles.surest([1, 3, 2]), 1);
});

test('probabilities are those of stable-max', () => {
  const p = TRM.probabilities([1, -1, 0, 3], 2); // s = 2, 1/2 and 1, 4
  assert.deepStrictEqual([...p].map(x => x.toFixed(4)), ['0.8000', '0.2000', '0.2000', '0.8000']);
});
