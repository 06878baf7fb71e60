/**
 * Cost of turning rows into parameters: our binary arrays beside array literals of text, whose bytes go as hex or base64.
 * `node --import tsx bench/micro/journal-encode.bench.ts`
 */
import { randomBytes } from 'node:crypto';
import { GroupEncoder } from '../../src/persistence/journal/group-encoder.ts';
import { prepare } from '../../src/persistence/journal/pending.ts';
import { worksOf } from '../../src/persistence/journal/work.ts';
import { measure } from './timing.ts';

const count = 512;
const items = Array.from({ length: count }, (_, index) => {
  const address = `vault:@user${index}:tween.example:ma_demo_shop`;
  const row = {
    key: `settings/item-${index}`,
    version: index + 1,
    value: new Uint8Array(randomBytes(93)),
    sizeBytes: 64,
    contentType: 'text/plain',
    createdAt: 1_700_000_000_000,
    updatedAt: 1_700_000_000_000,
    clientAt: 1_700_000_000_000,
    opId: null,
    expiresAt: null,
    deleted: false,
  };
  const entry = { address, kind: 'vault', baseSeq: index, seq: index + 1, machineVersion: 1, storage: [row] };
  return { entry, row, pending: prepare(entry, () => {}, { address, tail: 0, waiting: 1, broken: undefined }, index * 2, 1) };
});
const pendings = items.map(({ pending }) => pending);
const encoder = new GroupEncoder();
const works = worksOf(pendings);

/** The storage columns alone, as array literals. */
function literals(encoding: 'hex' | 'base64'): Buffer[] {
  const special = /["\\]/g;
  const text = (value: string | null): string => (value === null ? 'NULL' : `"${value.replace(special, '\\$&')}"`);
  const columns: string[] = new Array<string>(12).fill('');
  let separator = '{';
  for (const { entry, row } of items) {
    const value = Buffer.from(row.value.buffer, row.value.byteOffset, row.value.length).toString(encoding);
    const cells = [
      text(entry.address),
      text(row.key),
      row.version,
      encoding === 'hex' ? `"\\\\x${value}"` : value,
      row.sizeBytes,
      text(row.contentType),
      row.createdAt,
      row.updatedAt,
      row.clientAt,
      text(row.opId),
      row.expiresAt ?? 'NULL',
      row.deleted ? 't' : 'f',
    ];
    for (let column = 0; column < cells.length; column++) columns[column] += separator + String(cells[column]);
    separator = ',';
  }
  return columns.map((column) => Buffer.from(`${column}}`));
}

console.log(`a group of ${count} storage writes of 64 bytes, each of another vault`);
const group = measure('collapse and order the group', () => worksOf(pendings));
const binary = measure('all columns, binary arrays', () => encoder.encode(works));
const hex = measure('storage columns alone, text literals, hex', () => literals('hex'));
measure('storage columns alone, text literals, base64', () => literals('base64'));
const row = pendings[0]?.entry;
if (row !== undefined)
  measure('take one entry (size and JSON)', () =>
    prepare(row, () => {}, { address: row.address, tail: 0, waiting: 1, broken: undefined }, 1, 1),
  );
console.log(
  `${((group + binary) / count / 1_000).toFixed(2)} µs a row to commit; literals would cost ${(hex / count / 1_000).toFixed(2)} µs for storage alone`,
);
