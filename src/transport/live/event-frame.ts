/**
 * One event on its way to many sessions: encoded once for each format, its number filled in for each session. The bytes of a
 * MessagePack frame are shared and overwritten by the next call, so they must be sent (the library copies what it cannot write at
 * once) before the next number is asked for.
 */
import { encodeJson, encodeMsgpack, type WireFormat } from '../../protocol/codec.ts';
import { eventEnvelope } from '../../protocol/envelope.ts';

type Params = Readonly<Record<string, unknown>>;

/** A number whose MessagePack form has room for every number of a session: `ce` and four bytes, at the frame's end. */
const roomy = 0xffff_ffff;
const uint32 = 0xce;

export class EventFrame {
  readonly method: string;
  readonly params: Params;
  #binary: Buffer | undefined;
  #text: string | undefined;

  constructor(method: string, params: Params) {
    this.method = method;
    this.params = params;
  }

  /** The frame with `seq` as its number. */
  numbered(format: WireFormat, seq: number): Uint8Array | string {
    if (format === 'json') return `${this.#textHead()}${seq}}`;
    const frame = this.#template();
    if (frame[frame.length - 5] !== uint32 || seq >= roomy) return encodeMsgpack(eventEnvelope('msgpack', this.method, this.params, seq));
    frame.writeUInt32BE(seq, frame.length - 4);
    return frame;
  }

  /** About the size of the frame, in whichever format it is at hand. */
  get bytes(): number {
    return this.#text?.length ?? this.#template().length;
  }

  #template(): Buffer {
    if (this.#binary === undefined) {
      // A copy of our own: what the codec gives must not be written to.
      this.#binary = Buffer.from(encodeMsgpack(eventEnvelope('msgpack', this.method, this.params, roomy)));
    }
    return this.#binary;
  }

  #textHead(): string {
    if (this.#text === undefined) {
      const text = encodeJson(eventEnvelope('json', this.method, this.params, 0));
      this.#text = text.slice(0, -2);
    }
    return this.#text;
  }
}
