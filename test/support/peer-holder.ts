/** A client of the peer port that holds the key, or nearly, and says what it likes. */
import type { Socket } from 'node:net';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { encodeTrusted } from '../../src/protocol/codec.ts';
import { frameKind, linkVersion } from '../../src/transport/cluster/frames.ts';
import { sharedKey } from './peer-nodes.ts';

export const cipher = 'ECDHE-PSK-CHACHA20-POLY1305';

/** A frame of a kind, with its length. */
export function frame(kind: number, body: Uint8Array): Buffer {
  const whole = Buffer.alloc(5 + body.length);
  whole.writeUInt32BE(1 + body.length);
  whole[4] = kind;
  whole.set(body, 5);
  return whole;
}

/** The first frame of a dialler. */
export const hello = (boot: string, to: string): Buffer =>
  frame(frameKind.hello, encodeTrusted({ link: linkVersion, boot, name: 'n', version: '1', lease: true, to }));

/** Resolves when the socket is closed, by whomever and why. */
export function closed(socket: Socket): Promise<void> {
  socket.on('error', () => undefined);
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

/** A client that holds the key and says what it likes. */
export async function holder(port: number, identity: string, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({
    host: '127.0.0.1',
    port,
    ciphers: cipher,
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.2',
    pskCallback: () => ({ psk: sharedKey, identity }),
    checkServerIdentity: () => undefined,
    ...options,
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve);
    socket.once('error', reject);
  });
  return socket;
}

/** What has come so far. */
export function bytesOf(socket: Socket): () => Buffer {
  const chunks: Buffer[] = [];
  socket.on('data', (bytes) => chunks.push(bytes));
  return () => Buffer.concat(chunks);
}
