// In a notebook: the same interface, and PyTorch computes. Follows thinker.js in one module, which anywidget loads.

// Asks the kernel; every question has a number, which its answer repeats
function there(model) {
  const waiting = new Map(), me = Math.random();
  let asked = 0;
  model.on('msg:custom', (message, buffers) => {
    const { done, fail } = waiting.get(message.id) || {};
    if (!waiting.delete(message.id)) return; // another view's
    if (message.error) fail(new Error(message.error));
    else done({ ...message, buffers });
  });
  const ask = content => new Promise((done, fail) => {
    const id = `${me} ${asked++}`;
    waiting.set(id, { done, fail });
    model.send({ id, ...content });
  });
  const numbers = view => Array.from(new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength)));
  return {
    async begin(entry, questions, noise, example) {
      return (await ask({ begin: questions, noise, example })).id;
    },
    async step(task, which) {
      const { results, buffers } = await ask({ step: which, task });
      return results.map((r, k) => ({ ...r, logits: numbers(buffers[2 * k]), z: buffers[2 * k + 1].byteLength ? numbers(buffers[2 * k + 1]) : null }));
    },
  };
}

export default {
  render({ model, el }) {
    el.classList.add('thinker');
    el.innerHTML = model.get('html');
    self.Thinker.mount(el, model.get('manifest'), there(model));
  },
};
