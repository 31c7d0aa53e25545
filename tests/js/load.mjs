// The parts of the span editor that need no browser, as one object.
import { readFileSync } from 'node:fs';

const folder = new URL('../../sam_ui/span_editor/', import.meta.url);
const NAMES = ['SPACE', 'pieces', 'lowest', 'Text', 'newSpan', 'overlap', 'sameRange', 'sameSpan',
  'inOrder', 'alike', 'levelsOf', 'added', 'removed', 'changed', 'split', 'joined', 'cuts', 'cutNear',
  'repeats', 'Doc', 'Saves'];

const source = ['offsets', 'model', 'saves']
  .map((name) => readFileSync(new URL(`${name}.js`, folder), 'utf8')).join('\n');

export default Function(`${source}\nreturn {${NAMES.join(', ')}};`)();
