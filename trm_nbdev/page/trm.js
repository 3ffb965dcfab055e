// The Tiny Recursive Model in plain JavaScript: the forward pass of trm_nbdev/model.py, one puzzle at a time.
// In a page it defines the global `TRM`; in Node, require() returns the same object.
(function (root, define) {
  if (typeof module === 'object' && module.exports) module.exports = define();
  else root.TRM = define();
})(typeof self === 'undefined' ? this : self, function () {
  'use strict';
  const Real = Float64Array; // as fast here as float32, and without its rounding

  // C (M, N) = A (M, K) @ B (K, N), all row by row. Two rows and four columns at a time stay in registers.
  function matmul(A, B, C, M, K, N) {
    for (let i = 0; i < M; i += 2) {
      const last = i + 1 === M, r = i * K, s = last ? r : r + K;
      let j = 0;
      for (; j + 4 <= N; j += 4) {
        let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
        for (let k = 0, at = j; k < K; k++, at += N) {
          const u = A[r + k], v = A[s + k], w0 = B[at], w1 = B[at + 1], w2 = B[at + 2], w3 = B[at + 3];
          a0 += u * w0; a1 += u * w1; a2 += u * w2; a3 += u * w3;
          b0 += v * w0; b1 += v * w1; b2 += v * w2; b3 += v * w3;
        }
        const c = i * N + j;
        C[c] = a0; C[c + 1] = a1; C[c + 2] = a2; C[c + 3] = a3;
        if (!last) { C[c + N] = b0; C[c + N + 1] = b1; C[c + N + 2] = b2; C[c + N + 3] = b3; }
      }
      for (; j < N; j++) {
        let a = 0, b = 0;
        for (let k = 0, at = j; k < K; k++, at += N) { a += A[r + k] * B[at]; b += A[s + k] * B[at]; }
        C[i * N + j] = a;
        if (!last) C[(i + 1) * N + j] = b;
      }
    }
  }

  // W (rows, columns) -> (columns, rows)
  function transposed(W, rows, columns) {
    const out = new W.constructor(W.length);
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = W[i * columns + j];
    return out;
  }

  // h <- rms_norm(h + f), over the channels of each position, or over the positions of each channel
  function addAndNorm(h, f, L, D, overPositions) {
    const [outer, inner, step, stride] = overPositions ? [D, L, 1, D] : [L, D, D, 1];
    for (let i = 0; i < outer; i++) {
      let sum = 0;
      for (let j = 0, at = i * step; j < inner; j++, at += stride) { h[at] += f[at]; sum += h[at] * h[at]; }
      const scale = 1 / Math.sqrt(sum / inner + 1e-5);
      for (let j = 0, at = i * step; j < inner; j++, at += stride) h[at] *= scale;
    }
  }

  // out <- silu(gate) * up
  function gated(gate, up, out) {
    for (let i = 0; i < out.length; i++) out[i] = gate[i] / (1 + Math.exp(-gate[i])) * up[i];
  }

  // A SwiGLU over the channels: h (L, D) -> (L, D)
  function channelMixer(weight, name, L, D) {
    const [twice] = weight(name + 'gate_up.weight').shape, H = twice / 2;
    const all = weight(name + 'gate_up.weight').data, half = H * D;
    const gate = transposed(all.subarray(0, half), H, D), up = transposed(all.subarray(half), H, D);
    const down = transposed(weight(name + 'down.weight').data, D, H);
    const g = new Real(L * H), u = new Real(L * H), out = new Real(L * D);
    return h => {
      matmul(h, gate, g, L, D, H);
      matmul(h, up, u, L, D, H);
      gated(g, u, g);
      matmul(g, down, out, L, H, D);
      return out;
    };
  }

  // A SwiGLU over the positions, the same for every channel: h (L, D) -> (L, D)
  function positionMixer(weight, name, L, D) {
    const { data: all, shape: [twice] } = weight(name + 'gate_up.weight'), H = twice / 2;
    const down = weight(name + 'down.weight').data, both = new Real(twice * D), out = new Real(L * D);
    const gate = both.subarray(0, H * D), up = both.subarray(H * D);
    return h => {
      matmul(all, h, both, twice, L, D);
      gated(gate, up, gate);
      matmul(down, gate, out, L, H, D);
      return out;
    };
  }

  // Cosines and sines of RoPE, both (L, d/2): position p turns the pair (i, i + d/2) by p * 10000^(-2i/d)
  function ropeTable(L, d) {
    const cos = new Real(L * d / 2), sin = new Real(L * d / 2);
    for (let p = 0; p < L; p++) for (let i = 0; i < d / 2; i++) {
      const angle = p * Math.pow(1e4, -2 * i / d);
      cos[p * d / 2 + i] = Math.cos(angle); sin[p * d / 2 + i] = Math.sin(angle);
    }
    return { cos, sin };
  }

  // Self-attention over all positions: h (L, D) -> (L, D)
  function attention(weight, name, L, D, heads, rope) {
    const qkv = transposed(weight(name + 'qkv.weight').data, 3 * D, D), last = transposed(weight(name + 'out.weight').data, D, D);
    const d = D / heads, table = rope && ropeTable(L, d), all = new Real(L * 3 * D), mixed = new Real(L * D);
    const q = new Real(L * d), k = new Real(d * L), v = new Real(L * d), scores = new Real(L * L), head = new Real(L * d);
    const out = new Real(L * D);

    // part 0 (queries) or 1 (keys) of a head at position p, turned if there is RoPE
    function read(p, part, which, into, at, stride) {
      const from = p * 3 * D + part * D + which * d, half = d / 2;
      for (let i = 0; i < d; i++) into[at + i * stride] = all[from + i];
      if (!table) return;
      for (let i = 0; i < half; i++) {
        const a = all[from + i], b = all[from + half + i], c = table.cos[p * half + i], s = table.sin[p * half + i];
        into[at + i * stride] = a * c - b * s;
        into[at + (half + i) * stride] = b * c + a * s;
      }
    }

    function softmax(row) {
      let top = -Infinity, sum = 0;
      for (const s of row) if (s > top) top = s;
      for (let j = 0; j < L; j++) { row[j] = Math.exp((row[j] - top) / Math.sqrt(d)); sum += row[j]; }
      for (let j = 0; j < L; j++) row[j] /= sum;
    }

    return h => {
      matmul(h, qkv, all, L, D, 3 * D);
      for (let which = 0; which < heads; which++) {
        for (let p = 0; p < L; p++) {
          read(p, 0, which, q, p * d, 1);
          read(p, 1, which, k, p, L);
          for (let i = 0; i < d; i++) v[p * d + i] = all[p * 3 * D + 2 * D + which * d + i];
        }
        matmul(q, k, scores, L, d, L);
        for (let p = 0; p < L; p++) softmax(scores.subarray(p * L, (p + 1) * L));
        matmul(scores, v, head, L, L, d);
        for (let p = 0; p < L; p++) for (let i = 0; i < d; i++) mixed[p * D + which * d + i] = head[p * d + i];
      }
      matmul(mixed, last, out, L, D, D);
      return out;
    };
  }

  // A few blocks, each of which mixes positions, then channels: changes h (L, D) in place
  function tinyNetwork(weight, name, layers, c, L) {
    const D = c.hidden_size, blocks = [];
    for (let i = 0; i < layers; i++) {
      const block = `${name}.blocks.${i}.`;
      blocks.push([
        c.mixer === 'mlp'
          ? positionMixer(weight, block + '0.f.', L, D)
          : attention(weight, block + '0.f.', L, D, c.heads, c.positions === 'rope'),
        channelMixer(weight, block + '1.f.', L, D),
      ]);
    }
    return h => {
      for (const [mix, think] of blocks) {
        addAndNorm(h, mix(h), L, D, c.mixer === 'mlp');
        addAndNorm(h, think(h), L, D, false);
      }
      return h;
    };
  }

  // A base64 string of little-endian float32 numbers
  function decoded(text) {
    const bytes = typeof Buffer === 'undefined' ? Uint8Array.from(atob(text), c => c.charCodeAt(0)) : new Uint8Array(Buffer.from(text, 'base64'));
    const view = new DataView(bytes.buffer), out = new Real(bytes.length / 4);
    for (let i = 0; i < out.length; i++) out[i] = view.getFloat32(4 * i, true);
    return out;
  }

  // sums[0] + sums[1] + ..., a new array
  function sum(...parts) {
    const out = parts[0].slice();
    for (const part of parts.slice(1)) for (let i = 0; i < out.length; i++) out[i] += part[i];
    return out;
  }

  // How far z moved, relative to what it was
  function residual(before, after) {
    let moved = 0, size = 0;
    for (let i = 0; i < before.length; i++) { moved += (after[i] - before[i]) ** 2; size += before[i] ** 2; }
    return Math.sqrt(moved / size);
  }

  // A model from what `packed` in trm_nbdev/engine/page.py writes: {config, shapes: {name: [rows, columns]}, weights: base64}.
  function load(packed) {
    const c = packed.config, D = c.hidden_size, L = c.puzzle_emb_len + c.seq_len, V = c.vocab_size;
    const all = decoded(packed.weights), weights = {};
    let at = 0;
    for (const [name, shape] of Object.entries(packed.shapes)) {
      const size = shape.reduce((a, b) => a * b, 1);
      weights[name] = { shape, data: all.subarray(at, at += size) };
    }
    const weight = name => weights[name];
    const net = tinyNetwork(weight, 'net', c.layers, c, L);
    const answerNet = c.answer_layers ? tinyNetwork(weight, 'answer_net', c.answer_layers, c, L) : net;
    const head = transposed(weight('output_head.weight').data, V, D), logits = new Real(L * V);
    const parts = weight('state0').shape[0];

    // The embedded question x (L, D)
    function embed(tokens, identifier = 0) {
      const x = new Real(L * D), front = c.puzzle_emb_len * D, table = weight('embed.tokens').data;
      if (c.puzzle_emb_ndim) {
        const from = identifier * c.puzzle_emb_ndim;
        x.set(weight('embed.puzzles.weight').data.subarray(from, from + c.puzzle_emb_ndim));
      }
      tokens.forEach((t, i) => x.set(table.subarray(t * D, (t + 1) * D), front + i * D));
      if (c.positions === 'learned') {
        const places = weight('embed.positions').data;
        for (let i = 0; i < x.length; i++) x[i] = 0.707106781 * (x[i] + places[i]);
      }
      const scale = Math.sqrt(D);
      for (let i = 0; i < x.length; i++) x[i] *= scale;
      return x;
    }

    // The state from which every puzzle starts: y, then z, each (L, D); `noise` draws what is added to each number
    function initial(noise = null) {
      const start = weight('state0').data, state = [];
      for (let p = 0; p < parts; p++) {
        const one = new Real(L * D);
        for (let i = 0; i < one.length; i++) one[i] = start[p * D + i % D] + (noise ? noise() : 0);
        state.push(one);
      }
      return state;
    }

    // One round of the recursion, for each kind of features; `moved` collects the residuals of z
    const rounds = {
      'y,z': (x, [y, z], moved) => {
        for (let i = 0; i < c.n; i++) { const next = net(sum(x, y, z)); moved.push(residual(z, next)); z = next; }
        return [answerNet(sum(y, z)), z];
      },
      'single-z': (x, [z], moved) => {
        for (let i = 0; i < c.n; i++) { const next = net(sum(x, z)); moved.push(residual(z, next)); z = next; }
        return [answerNet(sum(z))];
      },
      'multi-scale-z': (x, [y, ...zs], moved) => {
        zs = zs.slice();
        for (let i = 0; i < c.n; i++) { const next = net(sum(x, y, ...zs)); moved.push(residual(zs[i], next)); zs[i] = next; }
        return [answerNet(sum(y, ...zs)), ...zs];
      },
      y: (x, [y]) => [net(sum(x, y))],
    };

    // What the output head makes of y or z: (seq_len, V)
    function decode(h) {
      matmul(h, head, logits, L, D, V);
      return logits.slice(c.puzzle_emb_len * V);
    }

    // The halting logits: of stopping, of going on
    function halting(y) {
      const w = weight('q_head.weight').data, b = weight('q_head.bias').data;
      return [0, 1].map(k => { let q = b[k]; for (let i = 0; i < D; i++) q += w[k * D + i] * y[i]; return q; });
    }

    // One supervision step: the next state, what the heads make of it, and how far each update moved z
    function step(tokens, state, identifier = 0) {
      const x = embed(tokens, identifier), moved = [];
      for (let t = 0; t < c.T; t++) state = rounds[c.features](x, state, moved);
      return { state, logits: decode(state[0]), z: state.length > 1 ? decode(state[1]) : null, q: halting(state[0]), moved };
    }

    return { config: c, initial, step };
  }

  // Probabilities (L, V) by stable-max, as in training
  function probabilities(logits, V) {
    const out = Float32Array.from(logits, x => (x < 0 ? 1 / (1 - x) : x + 1));
    for (let i = 0; i < out.length; i += V) {
      let total = 0;
      for (let t = i; t < i + V; t++) total += out[t];
      for (let t = i; t < i + V; t++) out[t] /= total;
    }
    return out;
  }

  // The most likely token of each cell, (L)
  function tokens(values, V) {
    const out = [];
    for (let i = 0; i < values.length; i += V) {
      let best = 0;
      for (let t = 1; t < V; t++) if (values[i + t] > values[i + best]) best = t;
      out.push(best);
    }
    return out;
  }

  return { load, probabilities, tokens };
});
