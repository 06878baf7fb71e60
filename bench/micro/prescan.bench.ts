/** Cost of the pre-scan and of the JSON scan, frame by frame. `node --import tsx bench/micro/prescan.bench.ts` */
import { encodeJson } from '../../src/protocol/codec.ts';
import { jsonScan } from '../../src/protocol/json-scan.ts';
import { prescan } from '../../src/protocol/prescan.ts';
import { frameOf, values } from './frames.ts';
import { measure } from './timing.ts';

for (const [name, value] of Object.entries(values)) {
  const frame = frameOf(value);
  measure(`prescan  ${name}`, () => prescan(frame));
}
const wide = frameOf({ text: 'é'.repeat(1 << 19) });
measure('prescan  1 MiB of two-byte characters', () => prescan(wide));
const lie = Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff);
measure('prescan  an array of 2^32 - 1 in five bytes', () => prescan(lie));
const deep = new Uint8Array(60_000).fill(0x91);
measure('prescan  60,000 levels', () => prescan(deep));
for (const [name, value] of Object.entries(values)) {
  const text = encodeJson(value);
  measure(`jsonScan ${name}`, () => jsonScan(text));
}
