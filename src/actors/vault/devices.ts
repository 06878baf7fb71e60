/**
 * The operation windows of all devices of a vault, and their stored form. Bounded: past 256 devices the one idle longest makes
 * room when it has been silent for as long as tombstones live; otherwise the new one is refused. Pure. Rules [STO14] to [STO17].
 */
import { limits } from '../../protocol/limits.ts';
import type { OpIdParts } from './op-id.ts';
import { copyWindow, decodeWindow, emptyWindow, encodeGaps, type OpWindow, take, taken } from './op-window.ts';

export const maxDevices = 256;
const dayMs = 24 * 3600_000;
const idleDays = limits.tombstoneMs / dayMs;

export interface Device {
  readonly window: OpWindow;
  /** Day (since 1970) of its last operation. */
  readonly day: number;
  /** `encodeGaps` of the window, made when it is first stored. */
  gaps?: string;
}

export type Devices = ReadonlyMap<string, Device>;

/** `[device, highest counter, day, gaps]`. */
export type StoredDevice = readonly [string, number, number, string];

/** Changes to the windows that are not in force yet: read through it, then put in force or thrown away. */
export class DeviceChanges {
  readonly #devices: Devices;
  readonly #day: number;
  readonly changed = new Map<string, Device>();
  /** A device that made room. */
  readonly forgotten: string[] = [];

  constructor(devices: Devices, now: number) {
    this.#devices = devices;
    this.#day = Math.floor(now / dayMs);
  }

  /** Whether the operation was taken before. */
  taken(op: OpIdParts): boolean {
    const device = this.changed.get(op.device) ?? this.#devices.get(op.device);
    return device !== undefined && taken(device.window, op.counter);
  }

  /** Whether an operation of this device can be remembered. */
  hasRoom(device: string): boolean {
    if (this.changed.has(device) || this.#devices.has(device) || this.#count() < maxDevices) return true;
    return this.#idlest() !== undefined;
  }

  /** Remembers an operation; `hasRoom` must have said yes. */
  take(op: OpIdParts): void {
    let device = this.changed.get(op.device);
    if (device === undefined) {
      const known = this.#devices.get(op.device);
      if (known === undefined && this.#count() >= maxDevices) this.forgotten.push(this.#idlest() as string);
      device = { window: known === undefined ? emptyWindow() : copyWindow(known.window), day: this.#day };
      this.changed.set(op.device, device);
    }
    take(device.window, op.counter);
  }

  /** Every window as it will be, in stored form. */
  stored(): StoredDevice[] {
    const rows: StoredDevice[] = [];
    for (const [name, device] of this.#devices) {
      if (!this.changed.has(name) && !this.forgotten.includes(name)) rows.push(storedForm(name, device));
    }
    for (const [name, device] of this.changed) rows.push(storedForm(name, device));
    return rows;
  }

  #count(): number {
    let count = this.#devices.size - this.forgotten.length;
    for (const name of this.changed.keys()) if (!this.#devices.has(name)) count++;
    return count;
  }

  #idlest(): string | undefined {
    let idlest: string | undefined;
    let day = this.#day - idleDays;
    for (const [name, device] of this.#devices) {
      if (device.day < day && !this.changed.has(name) && !this.forgotten.includes(name)) {
        idlest = name;
        day = device.day;
      }
    }
    return idlest;
  }
}

function storedForm(name: string, device: Device): StoredDevice {
  device.gaps ??= encodeGaps(device.window);
  return [name, device.window.high, device.day, device.gaps];
}

/** The windows as stored. Errors: throws for a form it does not know, rather than forget what was applied. */
export function loadDevices(rows: readonly StoredDevice[]): Map<string, Device> {
  return new Map(rows.map(([name, high, day, gaps]) => [name, { window: decodeWindow(high, gaps), day, gaps }]));
}
