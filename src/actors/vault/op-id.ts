/** Operation ids: `<device id>:<counter>`. Pure. Live binding, section 8. */
import { limits } from '../../protocol/limits.ts';

export interface OpIdParts {
  readonly device: string;
  readonly counter: number;
}

/** The parts of an id that the catalogue's pattern let through; undefined when its device part is too long. The device may hold `:`. */
export function parseOpId(opId: string): OpIdParts | undefined {
  const colon = opId.lastIndexOf(':');
  if (colon < 1 || colon > limits.deviceIdBytes) return undefined;
  return { device: opId.slice(0, colon), counter: Number(opId.slice(colon + 1)) };
}

/** Order of two ids: by device in code units, within a device by counter. */
export function compareOpIds(a: string, b: string): number {
  const left = a.lastIndexOf(':');
  const right = b.lastIndexOf(':');
  const deviceA = a.slice(0, left);
  const deviceB = b.slice(0, right);
  if (deviceA !== deviceB) return deviceA < deviceB ? -1 : 1;
  return Number(a.slice(left + 1)) - Number(b.slice(right + 1));
}
