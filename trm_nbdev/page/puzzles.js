// Sudokus and mazes in plain JavaScript: rules, an ordinary search, symmetries, and a word about a puzzle and an answer.
// In a page it defines the global `Puzzles`; in Node, require() returns the same object.
(function (root, define) {
  if (typeof module === 'object' && module.exports) module.exports = define();
  else root.Puzzles = define();
})(typeof self === 'undefined' ? this : self, function () {
  'use strict';

  const WALL = 1, FREE = 2, START = 3, GOAL = 4, PATH = 5; // tokens of a maze; 0 is padding
  const range = n => Array.from({ length: n }, (_, i) => i);

  // Random numbers in [0, 1), the same for the same seed (mulberry32)
  function random(seed) {
    return () => {
      seed = (seed + 0x6d2b79f5) | 0;
      let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  // Normally distributed numbers (Box and Muller)
  const normal = rng => () => Math.sqrt(-2 * Math.log(1 - rng())) * Math.cos(2 * Math.PI * rng());

  function shuffled(list, rng) {
    const out = list.slice();
    for (let i = out.length - 1; i > 0; i--) {
      const j = Math.floor(rng() * (i + 1));
      [out[i], out[j]] = [out[j], out[i]];
    }
    return out;
  }

  // A symmetry: new[i] = names[old[cells[i]]]. `change` takes tokens there; `back` returns V numbers for each cell, such
  // as logits, in the order of the old cells and tokens.
  function symmetryOf(cells, names) {
    const places = [];
    cells.forEach((from, to) => { places[from] = to; });
    const V = names.length;
    const back = values => values.map((_, k) => values[places[Math.floor(k / V)] * V + names[k % V]]);
    return { change: tokens => cells.map(i => names[tokens[i]]), back };
  }

  // ---- Sudoku: token 1 is a blank cell, token d+1 the digit d

  function sudoku(rows, columns) { // of a box
    const side = rows * columns, L = side * side;
    const units = ['row', 'column', 'box'];
    const unitOf = [
      i => Math.floor(i / side),
      i => i % side,
      i => Math.floor(Math.floor(i / side) / rows) * rows + Math.floor((i % side) / columns),
    ];

    // The first digit that stands twice in a unit, in words; null if none does
    function clash(digits) {
      for (let u = 0; u < 3; u++) {
        const seen = new Set();
        for (let i = 0; i < L; i++) {
          const key = unitOf[u](i) * 10 + digits[i];
          if (digits[i] && seen.has(key)) return `There are two ${digits[i]}s in ${units[u]} ${unitOf[u](i) + 1}.`;
          seen.add(key);
        }
      }
      return null;
    }

    // Count solutions up to `most`, trying at most `limit` digits: {count, solution, complete}
    function solve(digits, most = 2, limit = 200000) {
      const grid = digits.slice(), used = [0, 1, 2].map(() => new Int32Array(side));
      const place = (i, digit, on) => {
        grid[i] = on ? digit : 0;
        for (let u = 0; u < 3; u++) used[u][unitOf[u](i)] ^= 1 << digit;
      };
      for (let i = 0; i < L; i++) if (grid[i]) place(i, grid[i], true);
      const found = { count: 0, solution: null, complete: true };
      let tries = 0;
      (function search() {
        let cell = -1, options = 0, fewest = side + 1;
        for (let i = 0; i < L && fewest > 1; i++) if (!grid[i]) { // a cell with the fewest digits left
          let free = ~(used[0][unitOf[0](i)] | used[1][unitOf[1](i)] | used[2][unitOf[2](i)]) & ((1 << side + 1) - 2), n = 0;
          for (let bits = free; bits; bits &= bits - 1) n++;
          if (n < fewest) [cell, options, fewest] = [i, free, n];
        }
        if (cell < 0) { found.count++; found.solution = found.solution || grid.slice(); return; }
        for (let digit = 1; digit <= side && found.count < most; digit++) if (options >> digit & 1) {
          if (++tries > limit) { found.complete = false; return; }
          place(cell, digit, true);
          search();
          place(cell, digit, false);
        }
      })();
      return found;
    }

    // What an ordinary search says of a question: {good, text, solution}
    function check(tokens) {
      const digits = tokens.map(t => t - 1), wrong = clash(digits);
      if (wrong) return { good: false, text: `Impossible: ${wrong.charAt(0).toLowerCase()}${wrong.slice(1)}`, solution: null };
      if (!digits.some(Boolean)) return { good: false, text: 'An empty grid has many solutions.', solution: null };
      const { count, solution, complete } = solve(digits);
      if (count > 1) return { good: false, text: 'Ambiguous: this puzzle has more than one solution.', solution: null };
      if (!complete) return { good: false, text: 'Hard to tell how many solutions this has: the search gave up.', solution: null };
      if (!count) return { good: false, text: 'Impossible: this puzzle has no solution.', solution: null };
      return { good: true, text: 'This puzzle has exactly one solution.', solution: solution.map(d => d + 1) };
    }

    // What an answer is worth: {right, text}; right is null where there is nothing to be right about
    function judge(question, tokens, solution) {
      const changed = question.filter((t, i) => t > 1 && tokens[i] !== t).length;
      const digits = tokens.map(t => t - 1), full = digits.every(d => d > 0);
      if (changed) return { right: false, text: `Wrong: ${changed} given digit${changed > 1 ? 's' : ''} changed.` };
      if (full && !clash(digits)) return { right: true, text: solution ? 'Solved: the rules are kept.' : 'A solution: the rules are kept.' };
      const wrong = solution ? tokens.filter((t, i) => t !== solution[i]).length : 0;
      if (wrong) return { right: false, text: `Not solved: ${wrong} cell${wrong > 1 ? 's are' : ' is'} wrong.` };
      return { right: false, text: full ? `Not a solution. ${clash(digits)}` : 'Not a solution: cells are blank.' };
    }

    // Shuffle bands, lines within bands, and digits; transpose too if boxes are square
    function symmetry(rng) {
      const lines = (groups, size) => shuffled(range(groups), rng).flatMap(g => shuffled(range(size), rng).map(k => g * size + k));
      const r = lines(columns, rows), c = lines(rows, columns), turn = rows === columns && rng() < 0.5;
      const cells = range(L).map(i => [r[Math.floor(i / side)], c[i % side]]).map(([a, b]) => (turn ? b * side + a : a * side + b));
      return symmetryOf(cells, [0, 1, ...shuffled(range(side), rng).map(d => d + 2)]);
    }

    const parse = text => [...text].map(ch => (ch === '.' ? 1 : Number(ch) + 1));
    const name = t => (t > 1 ? String(t - 1) : '');
    return { kind: 'sudoku', box: [rows, columns], side, blank: Array(L).fill(1), parse, name, check, judge, symmetry, clash, solve };
  }

  // ---- Maze

  function maze(side) {
    const L = side * side, turns = [];
    const grid = range(side).map(r => range(side).map(c => r * side + c));
    const turned = g => range(side).map(r => range(side).map(c => g[c][side - 1 - r]));
    for (let start of [grid, grid.map((_, r) => grid.map(row => row[r]))]) for (let k = 0; k < 4; k++) {
      turns.push(start.flat());
      start = turned(start);
    }

    function neighbours(i) {
      const out = [], r = Math.floor(i / side), c = i % side;
      if (r + 1 < side) out.push(i + side);
      if (c > 0) out.push(i - 1);
      if (c + 1 < side) out.push(i + 1);
      if (r > 0) out.push(i - side);
      return out;
    }

    // Breadth first from S: the cells of a shortest path to G (0: there is none), and how many such paths there are
    function solve(tokens) {
      const start = tokens.indexOf(START), goal = tokens.indexOf(GOAL);
      if (start < 0 || goal < 0) return { length: 0, paths: 0 };
      const distance = Array(L).fill(0), ways = Array(L).fill(0), queue = [start];
      distance[start] = ways[start] = 1;
      for (const i of queue) for (const j of neighbours(i)) if (tokens[j] !== WALL) {
        if (!distance[j]) { distance[j] = distance[i] + 1; queue.push(j); }
        if (distance[j] === distance[i] + 1) ways[j] += ways[i];
      }
      return { length: distance[goal], paths: ways[goal] };
    }

    function check(tokens) {
      for (const [token, what] of [[START, 'start'], [GOAL, 'goal']]) {
        if (!tokens.includes(token)) return { good: false, text: `Impossible: the maze has no ${what}.`, solution: null };
      }
      const { length, paths } = solve(tokens);
      if (!length) return { good: false, text: 'Impossible: walls separate start and goal.', solution: null };
      const one = `The shortest path has ${length} cells.`;
      const more = `There are ${paths} shortest paths, of ${length} cells each. Any of them counts as solved.`;
      const short = length < 12 ? ' That is short: the model was trained on 12 cells or more.' : '';
      return { good: true, text: (paths === 1 ? one : more) + short, solution: null };
    }

    function judge(question, tokens) {
      const changed = question.filter((t, i) => tokens[i] !== t && !(t === FREE && tokens[i] === PATH)).length;
      if (changed) return { right: false, text: `Wrong: ${changed} cell${changed > 1 ? 's' : ''} of the maze changed.` };
      const marked = tokens.filter(t => t === PATH).length + 2;
      if (marked === 2 && !neighbours(question.indexOf(START)).includes(question.indexOf(GOAL))) {
        return { right: false, text: 'Not solved: no path is drawn.' };
      }
      const trail = solve(tokens.map(t => (t === FREE ? WALL : t)));
      if (!trail.length) return { right: false, text: 'Not solved: the path does not lead from start to goal.' };
      if (trail.length !== marked || trail.length !== solve(question).length) return { right: false, text: 'Not solved: not a shortest path.' };
      return { right: true, text: 'Solved: a shortest path.' };
    }

    const symmetry = rng => symmetryOf(turns[Math.floor(rng() * 8)], range(6));
    const parse = text => [...text].map(ch => '#.SGo'.indexOf(ch) + 1);
    const name = t => ['', 'wall', 'free', 'start', 'goal', 'path'][t];
    return { kind: 'maze', side, blank: Array(L).fill(FREE), parse, name, check, judge, symmetry, solve };
  }

  // ---- ARC: a grid of colours, whose solution must be given, 0 where it does not count; token 0 is padding, 1 the end marker, k+2 the colour k

  function arc(side) {
    const name = t => (t > 1 ? `colour ${t - 2}` : ['outside', 'edge'][t]);
    const check = (tokens, solution = null) => ({ good: true, text: '', solution });
    const judge = (question, tokens, solution) => {
      if (!solution) return { right: null, text: '' };
      const wrong = tokens.filter((t, i) => solution[i] && t !== solution[i]).length;
      return { right: !wrong, text: wrong ? `Not solved: ${wrong} cell${wrong > 1 ? 's are' : ' is'} wrong.` : 'Solved.' };
    };
    return { kind: 'arc', side, blank: Array(side * side).fill(0), name, check, judge };
  }

  // What the model's puzzles are, by their kind
  function of(puzzle) {
    return puzzle.kind === 'sudoku' ? sudoku(...puzzle.box) : puzzle.kind === 'maze' ? maze(puzzle.side) : arc(puzzle.side);
  }

  // ---- Several chains, one answer (as in trm_nbdev/thinking_longer.py)

  // Which chain is the surest
  const surest = qs => qs.indexOf(Math.max(...qs));

  // What most chains say about each cell, or, if `whole`, about the puzzle; among equals, what the surest says
  function vote(answers, qs, whole) {
    const order = range(qs.length).sort((a, b) => qs[b] - qs[a] || a - b).map(k => answers[k]);
    const most = list => list.reduce((best, one) => {
      const count = list.filter(other => other === one).length;
      return count > best.count ? { one, count } : best;
    }, { one: null, count: 0 });
    if (whole) return most(order.map(a => a.join())).one.split(',').map(Number);
    return range(order[0].length).map(i => most(order.map(a => a[i])).one);
  }

  return { WALL, FREE, START, GOAL, PATH, of, sudoku, maze, random, normal, surest, vote };
});
