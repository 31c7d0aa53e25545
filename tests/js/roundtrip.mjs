// For the property-based tests: a line of JSON in, a line of JSON out, until the input ends.
// In: [[text, [[start, end], …]], …] in code points. Out, for each text: what the editor makes of it.
import { createInterface } from 'node:readline';

import editor from './load.mjs';

const answer = ([text, ranges]) => {
  const spans = ranges.map(([start, end], i) => [start, end, `t${i}`]);
  const doc = new editor.Doc({ id: 1, text, spans, predicted: spans });
  const named = (label) => doc.spans.find((span) => span.label === label);
  const points = (range) => range && [doc.text.toPoint(range.start), doc.text.toPoint(range.end)];
  return {
    length: doc.text.toPoint(text.length),
    packed: doc.packed().sort((a, b) => a[2].slice(1) - b[2].slice(1)).map(([s, e]) => [s, e]),
    surfaces: spans.map(([, , label]) => doc.text.slice(named(label))),
    letters: spans.map(([, , label]) => points(doc.text.letters(named(label).start, named(label).end))),
    words: spans.map(([, , label]) => points(doc.text.snap(named(label).start, named(label).end))),
    whole: doc.text.words.every(({ start, end }) => (
      [start, end].every((unit) => doc.text.toUnit(doc.text.toPoint(unit)) === unit))),
  };
};

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(JSON.parse(line).map(answer))}\n`);
}
