/**
 * Cost of decoding and encoding, beside the bare library: the difference is what safety costs.
 * `node --import tsx bench/micro/codec.bench.ts`
 */
import { Packr } from 'msgpackr/pack';
import { Unpackr } from 'msgpackr/unpack';
import { decodeFrame, encodeJson, encodeMsgpack } from '../../src/protocol/codec.ts';
import { parseEnvelope } from '../../src/protocol/envelope.ts';
import { frameOf, values } from './frames.ts';
import { measure } from './timing.ts';

const unpackr = new Unpackr({ useRecords: false });
const packr = new Packr({ useRecords: false });

for (const [name, value] of Object.entries(values)) {
  const frame = frameOf(value);
  // A new view each time, as a socket gives one: msgpackr keeps a DataView on the array it is given.
  const arrived = (): Uint8Array => new Uint8Array(frame.buffer, 0, frame.length);
  const text = encodeJson(value);
  console.log(`\n${name}: ${frame.length} bytes`);
  const bare = measure('msgpackr unpack, alone', () => unpackr.unpack(arrived()));
  const ours = measure('decodeFrame msgpack', () => decodeFrame('msgpack', arrived()));
  measure('decodeFrame json', () => decodeFrame('json', text));
  const bareOut = measure('msgpackr pack, alone', () => packr.pack(value));
  const oursOut = measure('encodeMsgpack', () => encodeMsgpack(value));
  measure('encodeJson', () => encodeJson(value));
  console.log(`decode ${(ours / bare).toFixed(2)} x, encode ${(oursOut / bareOut).toFixed(2)} x the bare library`);
}
const request = values['request: storage.get, 62 B'];
console.log();
measure('parseEnvelope of a request', () => parseEnvelope(request, 'msgpack'));
