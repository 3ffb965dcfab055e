// The interface: an editor for puzzles, an answer that changes step by step, and a look inside the model.
// Thinker.mount(place, manifest, engine) brings to life what thinker.html puts into `place`. The manifest says which models
// and puzzles there are. The engine computes: `Thinker.here()` in this page, or another that has the same two functions.
self.Thinker = (function (TRM, Puzzles) {
  'use strict';

  const SURE = 3; // the halting logit at which `solve` stops: 95 %
  const PAUSE = 200; // milliseconds that a step takes at least, so that eyes can follow
  const COLOURS = '#ffffff #e4dcf2 #000000 #0074d9 #ff4136 #2ecc40 #ffdc00 #aaaaaa #f012be #ff851b #7fdbff #870c25'.split(' ');
  const LETTERS = ['', '', '', 'S', 'G', '•']; // of a maze's tokens; a wall is dark
  const range = n => Array.from({ length: n }, (_, i) => i);
  const breath = ms => new Promise(done => setTimeout(done, ms));
  const percent = logit => `${(100 / (1 + Math.exp(-logit))).toFixed(Math.abs(logit) > 5 ? 1 : 0)} %`;
  const signed = x => (x < 0 ? '−' : '+') + Math.abs(x).toFixed(1);

  // Computes in this page. begin: a state for each question, perhaps from noise. step: another step for some of them.
  // (An engine may also want to know of which example the questions are forms: a fourth argument of begin.)
  function here() {
    const loaded = new Map();
    return {
      async begin(entry, questions, noise) {
        if (!loaded.has(entry)) loaded.set(entry, TRM.load(entry));
        const model = loaded.get(entry), draw = noise ? Puzzles.normal(Puzzles.random(noise)) : null;
        return { model, questions, states: questions.map(() => model.initial(draw)) };
      },
      async step(task, which) {
        const results = [];
        for (const k of which) {
          const result = task.model.step(task.questions[k], task.states[k]);
          task.states[k] = result.state;
          results.push({ logits: result.logits, z: result.z, q: result.q[0], moved: result.moved });
          await breath(0); // the page stays awake
        }
        return results;
      },
    };
  }

  function mount(place, manifest, engine) {
    const parts = {};
    for (const element of place.querySelectorAll('[data-is]')) parts[element.dataset.is] = element;
    const kinds = new Map(); // key -> the models for this kind of puzzle
    for (const entry of manifest.models) kinds.set(entry.puzzle.key, [...(kinds.get(entry.puzzle.key) || []), entry]);
    let rules, entry, question, checked, at = 0, tool = Puzzles.WALL; // what is asked
    let task, chains, history, shown, running = false, noise = 0, epoch = 0; // what was thought; an epoch ends with a reset

    // ---- grids

    const text = (kind, token) => (kind === 'maze' ? LETTERS[token] : kind === 'arc' ? '' : rules.name(token));

    function edges(i) {
      const { side, box } = rules, r = Math.floor(i / side), c = i % side, out = [];
      if (box && (c + 1) % box[1] === 0) out.push('t-thick-right');
      if (box && (r + 1) % box[0] === 0) out.push('t-thick-below');
      if (c === side - 1) out.push('t-last-column');
      if (r === side - 1) out.push('t-last-row');
      return out;
    }

    // Make the cells of a grid, unless it has them
    function cellsOf(grid, role) {
      if (grid.made !== rules) {
        grid.made = rules;
        grid.style.setProperty('--side', rules.side);
        grid.classList.toggle('t-maze', rules.kind === 'maze');
        grid.replaceChildren(...range(rules.side).map(r => {
          const row = document.createElement('div');
          row.className = 't-row';
          if (role) row.setAttribute('role', 'row');
          row.append(...range(rules.side).map(c => {
            const cell = document.createElement('div');
            if (role) cell.setAttribute('role', role);
            cell.dataset.at = r * rules.side + c;
            return cell;
          }));
          return row;
        }));
        grid.cells = [...grid.querySelectorAll('[data-at]')];
      }
      return grid.cells;
    }

    function fill(cell, i, content, classes, sure = 1) {
      const name = ['t-cell', ...edges(i), ...classes].join(' ');
      if (cell.className !== name) cell.className = name;
      if (cell.textContent !== content) cell.textContent = content;
      cell.style.setProperty('--sure', sure.toFixed(3));
    }

    const given = token => ({ sudoku: ['t-given'], maze: [[], ['t-wall'], [], ['t-start'], ['t-goal'], ['t-path']][token], arc: [] })[rules.kind];

    function drawQuestion() {
      cellsOf(parts.question, 'gridcell').forEach((cell, i) => {
        fill(cell, i, text(rules.kind, question[i]), given(question[i]));
        if (rules.kind === 'arc') cell.style.background = COLOURS[question[i]];
        cell.tabIndex = i === at ? 0 : -1;
        const what = rules.name(question[i]) || 'blank';
        cell.setAttribute('aria-label', `row ${Math.floor(i / rules.side) + 1}, column ${i % rules.side + 1}: ${what}`);
      });
    }

    // Tokens with their probabilities, beside the question; `before` marks what has changed since then
    function drawAnswer(grid, tokens, sure, before, marked) {
      cellsOf(grid).forEach((cell, i) => {
        const token = tokens[i], asked = question[i], classes = [];
        const free = rules.kind === 'arc' || asked === (rules.kind === 'maze' ? Puzzles.FREE : 1);
        if (!free && token === asked) classes.push(...given(token));
        else if (free && rules.kind === 'maze' && token === Puzzles.FREE) { /* nothing to see */ }
        else if (free && rules.kind === 'maze' && token === Puzzles.PATH) classes.push('t-path');
        else if (free && rules.kind !== 'maze') classes.push('t-said');
        else classes.push('t-changed');
        if (marked && sure && free && checked.solution && checked.solution[i] && token !== checked.solution[i]) classes.push('t-wrong');
        if (before && before[i] !== token) classes.push('t-new');
        const content = classes.includes('t-path') ? '' : text(rules.kind, token) || (classes.includes('t-changed') ? (rules.kind === 'maze' && token === Puzzles.WALL ? '#' : '·') : '');
        fill(cell, i, content, classes, sure ? sure[i] : 0);
        if (rules.kind === 'arc') Object.assign(cell.style, { background: COLOURS[token], opacity: sure ? 0.3 + 0.7 * sure[i] : 1 });
      });
      grid.dataset.tokens = tokens.join(' ');
      grid.setAttribute('aria-label', inWords(tokens));
    }

    function inWords(tokens) {
      const one = t => (rules.kind === 'maze' ? ['?', 'wall', 'free', 'start', 'goal', 'path'][t] : rules.name(t) || 'blank');
      return range(rules.side).map(r => `row ${r + 1}: ${tokens.slice(r * rules.side, (r + 1) * rules.side).map(one).join(' ')}`).join('; ');
    }

    // ---- the puzzle

    function title(puzzle) {
      return { sudoku: `${puzzle.side}×${puzzle.side} Sudoku`, maze: `${puzzle.side}×${puzzle.side} maze`, arc: 'ARC task' }[puzzle.kind];
    }

    function button(label, does, pressed) {
      const made = document.createElement('button');
      made.type = 'button';
      made.textContent = label;
      made.onclick = does;
      if (pressed !== undefined) made.setAttribute('aria-pressed', pressed);
      return made;
    }

    function options(select, labels) {
      select.replaceChildren(...labels.map((label, k) => new Option(label, k)));
    }

    function chooseKind(key) {
      const models = kinds.get(key), puzzles = manifest.puzzles[key];
      parts.kinds.replaceChildren(...[...kinds].map(([k, [first]]) => button(title(first.puzzle), () => chooseKind(k), k === key)));
      parts.kinds.hidden = kinds.size < 2;
      rules = Puzzles.of(models[0].puzzle);
      options(parts.models, models.map(m => m.title));
      options(parts.examples, puzzles.examples.map(([name]) => name));
      parts.models.parentElement.hidden = models.length < 2;
      parts.random.hidden = !puzzles.random.length;
      parts.clear.hidden = parts.keys.hidden = rules.kind === 'arc';
      parts.several.hidden = !rules.symmetry;
      at = 0;
      tool = Puzzles.WALL;
      drawKeys();
      parts.how.textContent = {
        sudoku: `Choose a cell; type 1 to ${rules.side}, or press a button. Arrows move, Delete empties a cell.`,
        maze: 'Click or drag to draw walls. Keys: arrows move, W or Space is a wall, S the start, G the goal.',
        arc: 'A grid of colours. The model knows the rule by the identifier of the task.',
      }[rules.kind];
      const shade = '<b>Shade</b>: how sure the model is of a cell.';
      parts.legend.innerHTML = {
        sudoku: `Bold: given. ${shade} A corner marks a wrong digit; purple, a given digit that the model changed.`,
        maze: `Blue: the path. ${shade} Purple: a cell that the model changed.`,
        arc: '<b>Paleness</b>: how unsure the model is of a cell. A corner marks a wrong one.',
      }[rules.kind];
      chooseModel(models[0]);
      askExample(0);
    }

    function chooseModel(model) {
      entry = model;
      parts.about.textContent = entry.about;
      parts.trained.textContent = `(n_sup: ${entry.config.n_sup})`;
      if (question && question.length === rules.blank.length) reset();
    }

    function drawKeys() {
      if (rules.kind === 'sudoku') {
        const digits = range(rules.side).map(d => button(String(d + 1), () => put(at, d + 2)));
        parts.keys.replaceChildren(...digits, button('Empty', () => put(at, 1)));
      } else if (rules.kind === 'maze') {
        const tools = [['Wall', Puzzles.WALL], ['Start', Puzzles.START], ['Goal', Puzzles.GOAL], ['Free', Puzzles.FREE]];
        parts.keys.replaceChildren(...tools.map(([label, t]) => button(label, () => { tool = t; drawKeys(); parts.keys.querySelector('[aria-pressed=true]').focus(); }, t === tool)));
      }
    }

    // An example is a name, a puzzle, and perhaps its solution
    function askExample(k) {
      const [, puzzle, solution] = puzzles().examples[k];
      ask(typeof puzzle === 'string' ? rules.parse(puzzle) : puzzle, solution);
    }

    // Put another question
    function ask(tokens, solution) {
      question = tokens.slice();
      checked = rules.check(question, solution);
      parts.word.textContent = checked.text + (checked.good || !checked.text ? '' : ' You may let the model think all the same.');
      parts.word.className = `t-word ${checked.good ? 't-good' : 't-bad'}`;
      drawQuestion();
      noise = 0;
      reset();
    }

    function put(i, token) {
      const next = question.slice(), asked = next[i];
      // there is one start and one goal
      if (rules.kind === 'maze' && token >= Puzzles.START) next.forEach((t, k) => { if (t === token) next[k] = Puzzles.FREE; });
      next[i] = token;
      if (asked !== token) ask(next);
    }

    function select(i, focus = true) {
      at = i;
      drawQuestion();
      if (focus) parts.question.cells[i].focus();
    }

    function onKey(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const { side } = rules, c = at % side, key = event.key.toLowerCase();
      const moves = { arrowleft: c ? -1 : 0, arrowright: c < side - 1 ? 1 : 0, arrowup: at >= side ? -side : 0, arrowdown: at < side * (side - 1) ? side : 0 };
      const empty = rules.kind === 'maze' ? Puzzles.FREE : 1;
      if (key in moves) select(at + moves[key]);
      else if (key === 'home' || key === 'end') select(at - c + (key === 'end' ? side - 1 : 0));
      else if (rules.kind === 'arc') return;
      else if (['delete', 'backspace', '0', '.'].includes(key)) put(at, empty);
      else if (rules.kind === 'sudoku' && key >= '1' && key <= String(side) && key.length === 1) put(at, Number(key) + 1);
      else if (rules.kind === 'sudoku' && key === ' ') put(at, empty);
      else if (rules.kind === 'maze' && (key === 'w' || key === ' ')) put(at, question[at] === Puzzles.WALL ? Puzzles.FREE : Puzzles.WALL);
      else if (rules.kind === 'maze' && (key === 's' || key === 'g')) put(at, key === 's' ? Puzzles.START : Puzzles.GOAL);
      else return;
      event.preventDefault();
    }

    let drawing = null; // the token that a drag draws
    function onPointer(event) {
      if (!event.buttons) { drawing = null; return; } // released, perhaps outside
      const under = document.elementFromPoint(event.clientX, event.clientY), cell = under && under.closest('.t-question [data-at]');
      if (!cell || !parts.question.contains(cell)) return;
      const i = Number(cell.dataset.at);
      if (event.type === 'pointerdown') {
        if (event.button) return;
        event.preventDefault();
        select(i);
        if (rules.kind !== 'maze') return;
        drawing = tool === Puzzles.WALL && question[i] === Puzzles.WALL ? Puzzles.FREE : tool; // a wall on a wall: none
        put(i, drawing);
      } else if (drawing !== null && i !== at) {
        select(i, false);
        // a line of walls goes around start and goal
        if (drawing >= Puzzles.START || question[i] < Puzzles.START) put(i, drawing);
      }
    }

    // ---- thinking

    function reset() {
      epoch++;
      task = null; history = []; shown = 0; chains = []; running = false;
      render();
    }

    function makeChains() {
      const K = rules.symmetry ? Number(parts.chains.value) : 1, rng = Puzzles.random(7);
      const same = { change: tokens => tokens, back: values => values };
      return range(K).map(k => ({ ...(k ? rules.symmetry(rng) : same), sure: false, steps: 0, moved: [] }));
    }

    // One more step for every chain that is not sure yet, or, if `all`, for every chain
    async function step(all) {
      const now = epoch, V = entry.config.vocab_size;
      if (!task) {
        chains = makeChains();
        task = await engine.begin(entry, chains.map(c => c.change(question)), noise, Number(parts.examples.value));
      }
      if (now !== epoch) return;
      const which = range(chains.length).filter(k => all || !chains[k].sure);
      const results = await engine.step(task, which);
      if (now !== epoch) return;
      const last = history[history.length - 1], next = last ? last.slice() : [];
      results.forEach((r, j) => {
        const chain = chains[which[j]], y = chain.back(Array.from(r.logits));
        chain.steps++;
        chain.sure = parts.stop.checked && r.q > SURE;
        chain.moved.push(...r.moved);
        next[which[j]] = {
          p: TRM.probabilities(y, V), tokens: TRM.tokens(y, V), q: r.q, steps: chain.steps,
          z: r.z ? TRM.tokens(chain.back(Array.from(r.z)), V) : null,
        };
      });
      history.push(next);
      shown = history.length;
      render();
    }

    // The engine could not compute
    function trouble(error) {
      reset();
      parts.verdict.textContent = `The model could not think: ${error.message}`;
    }

    const finished = () => history.length >= Number(parts.limit.value) || (history.length > 0 && parts.stop.checked && chains.every(c => c.sure));

    async function run() {
      if (running) { running = false; render(); return; }
      if (finished()) reset();
      running = true;
      const now = epoch;
      render();
      try {
        while (running && now === epoch && !finished()) {
          const begun = performance.now();
          await step(false);
          await breath(Math.max(0, PAUSE - (performance.now() - begun)));
        }
        if (now === epoch) { running = false; render(); }
      } catch (error) { trouble(error); }
    }

    // The answer that is chosen after a step: tokens, their probabilities, and the surest chain
    function chosen(results) {
      const V = entry.config.vocab_size, qs = results.map(r => r.q), best = Puzzles.surest(qs), by = parts.by.value;
      const tokens = by === 'surest' || results.length === 1 ? results[best].tokens : Puzzles.vote(results.map(r => r.tokens), qs, by === 'answers');
      const counted = by === 'surest' ? [results[best]] : results;
      const sure = tokens.map((t, i) => counted.reduce((sum, r) => sum + r.p[i * V + t], 0) / counted.length);
      return { tokens, sure, best };
    }

    // ---- pictures

    function render() {
      const results = history[shown - 1], before = history[shown - 2];
      const now = results ? chosen(results) : { tokens: question, sure: null, best: 0 };
      drawAnswer(parts.answer, now.tokens, now.sure, before && running && chosen(before).tokens, true);
      parts.when.textContent = told(results, now);
      const verdict = results ? rules.judge(question, now.tokens, checked.solution) : { right: null, text: '' };
      parts.verdict.textContent = verdict.text;
      parts.verdict.className = `t-word ${verdict.right ? 't-good' : 't-bad'}`;
      const one = results && results[now.best];
      drawAnswer(parts.y, one ? one.tokens : question, null, null, false);
      drawAnswer(parts.z, one && one.z ? one.z : question, null, null, false);
      const differ = one && one.z ? one.tokens.filter((t, i) => t !== one.z[i]).length : 0;
      parts.differ.textContent = one && one.z ? `Here they differ in ${differ} of ${one.tokens.length} cells.` : '';
      drawGauge(results, now.best);
      drawCurve(now.best);
      drawChains(results, now);
      parts.run.textContent = running ? 'Stop' : 'Think';
      parts.one.disabled = running;
      Object.assign(parts.back, { max: Math.max(1, history.length), value: Math.max(1, shown), disabled: history.length < 2 });
      parts.shown.textContent = results ? `step ${shown} of ${history.length}` : 'no step yet';
      parts.most.textContent = parts.limit.value;
    }

    function told(results, now) {
      if (!results) return noise ? `Ready, from noise number ${noise}.` : 'Ready: press Think, or take one step at a time.';
      const { q } = results[now.best], K = results.length;
      const who = K > 1 ? `The surest of ${K} chains is` : 'The model is';
      const end = running || shown < history.length ? '' : q > SURE ? ' Sure enough to stop.' : finished() ? ' It was never sure.' : '';
      return `Step ${shown}${noise ? ', from noise' : ''}. ${who} ${percent(q)} sure.${end}`;
    }

    function drawGauge(results, best) {
      const turn = q => (Math.max(-10, Math.min(10, q)) * 9).toFixed(1);
      const point = (q, r) => [100 + r * Math.sin(q * Math.PI / 20), 96 - r * Math.cos(q * Math.PI / 20)].map(v => v.toFixed(1)).join(' ');
      const arc = (from, to, name) => `<path class="t-arc ${name}" d="M ${point(from, 76)} A 76 76 0 0 1 ${point(to, 76)}"/>`;
      const label = q => `<text text-anchor="middle" x="${point(q, 90).split(' ')[0]}" y="${Number(point(q, 90).split(' ')[1]) + (Math.abs(q) === 10 ? 13 : 3)}">${q < 0 ? '−' : ''}${Math.abs(q)}</text>`;
      const reading = results ? `logit ${signed(results[best].q)}: ${percent(results[best].q)} sure` : '';
      if (!parts.gauge.firstChild) {
        const dial = arc(-10, 0, '') + arc(0, SURE, 't-arc-likely') + arc(SURE, 10, 't-arc-sure') + [-10, -5, 0, SURE, 10].map(label).join('');
        const needle = '<line class="t-needle" x1="100" y1="96" x2="100" y2="34"/><circle class="t-pivot" cx="100" cy="96" r="4"/>';
        parts.gauge.innerHTML = `${dial}<g></g>${needle}<text class="t-reading" x="100" y="127" text-anchor="middle"></text>`;
      }
      const others = results ? results.filter((_, k) => k !== best) : [];
      parts.gauge.querySelector('g').innerHTML = others.map(r => `<line class="t-others" x1="100" y1="46" x2="100" y2="30" style="transform: rotate(${turn(r.q)}deg)"/>`).join('');
      parts.gauge.querySelector('.t-needle').style.transform = `rotate(${results ? turn(results[best].q) : -90}deg)`;
      parts.gauge.querySelector('.t-reading').textContent = reading;
      parts.gauge.setAttribute('aria-label', reading || 'no halting logit yet');
    }

    function drawCurve(best) {
      const updates = Math.max(1, (entry.config.features === 'y' ? 0 : entry.config.n) * entry.config.T), steps = Math.max(4, history.length);
      const x = k => 50 + 264 * (k + 0.5) / (steps * updates), y = r => 104 - 94 * (Math.log10(Math.max(r, 1e-5)) + 5) / 6;
      const line = (moved, name) => (moved.length ? `<polyline class="${name}" points="${moved.map((r, k) => `${x(k).toFixed(1)},${y(r).toFixed(1)}`).join(' ')}"/>` : '');
      const levels = [10, 1, 0.1, 0.01, 0.001, 0.0001, 0.00001];
      const grid = levels.map(r => `<line class="t-axis" x1="50" x2="314" y1="${y(r)}" y2="${y(r)}"/>` + (Math.log10(r) % 2 ? '' : `<text x="45" y="${y(r) + 4}" text-anchor="end">${r}</text>`));
      const every = Math.ceil(steps / 12), marks = range(steps).filter(s => s % every === every - 1 || every === 1);
      const ends = marks.map(s => `<text x="${x((s + 0.5) * updates - 0.5)}" y="117" text-anchor="middle">${s + 1}</text>`);
      const others = chains.map((c, k) => (k === best ? '' : line(c.moved, 't-line-other')));
      const mine = chains[best] ? chains[best].moved : [];
      parts.curve.innerHTML = [...grid, ...ends, '<text x="182" y="128" text-anchor="middle">step</text>', ...others, line(mine, 't-line')].join('');
      parts.curve.setAttribute('aria-label', mine.length ? `the last update moved z by ${mine[mine.length - 1].toPrecision(2)} of its length` : 'no update yet');
    }

    function drawChains(results, now) {
      parts.side.hidden = !results || results.length < 2;
      if (parts.side.hidden) { parts.strip.replaceChildren(); return; }
      parts.symmetries.textContent = 'Each chain thinks about the same puzzle in another form: '
        + (rules.kind === 'maze' ? 'turned or mirrored.' : 'its lines shuffled, its digits renamed.') + ' What it answers is turned back.';
      while (parts.strip.children.length < results.length) {
        const made = document.createElement('div');
        made.innerHTML = '<div class="t-grid t-mini" role="img"></div><div></div>';
        parts.strip.append(made);
      }
      results.forEach((r, k) => {
        const place = parts.strip.children[k];
        place.className = `t-chain${parts.by.value === 'surest' ? (k === now.best ? ' t-chosen' : '') : r.tokens.join() === now.tokens.join() ? ' t-chosen' : ''}`;
        drawAnswer(place.firstChild, r.tokens, r.tokens.map((t, i) => r.p[i * entry.config.vocab_size + t]), null, true);
        place.lastChild.textContent = `logit ${signed(r.q)}\n${r.steps} step${r.steps > 1 ? 's' : ''}`;
      });
    }

    // ---- what can be pressed

    const puzzles = () => manifest.puzzles[entry.puzzle.key];
    parts.question.addEventListener('keydown', onKey);
    for (const type of ['pointerdown', 'pointermove', 'pointerup', 'pointercancel']) parts.question.addEventListener(type, onPointer);
    parts.models.onchange = () => chooseModel(kinds.get(entry.puzzle.key)[parts.models.value]);
    parts.examples.onchange = () => askExample(parts.examples.value);
    parts.random.onclick = () => {
      const { random } = puzzles(), tokens = rules.parse(random[Math.floor(Math.random() * random.length)]);
      ask(rules.symmetry(Math.random).change(tokens));
    };
    parts.clear.onclick = () => ask(rules.blank);
    parts.run.onclick = run;
    parts.one.onclick = () => step(true).catch(trouble);
    parts.again.onclick = () => { noise = 0; reset(); };
    parts.noise.onclick = () => { noise++; reset(); run(); };
    parts.back.oninput = () => { shown = Number(parts.back.value); render(); };
    parts.limit.oninput = () => render();
    parts.chains.onchange = () => { reset(); };
    parts.by.onchange = () => render();
    chooseKind(manifest.models[0].puzzle.key);
  }

  return { mount, here };
})(self.TRM, self.Puzzles);
