/**
 * The TLS of links between nodes: 1.2, because Node speaks pre-shared keys only there, with ephemeral curves, so that a key that leaks later opens no
 * recorded link. No certificates: who holds the key is a node of this cluster, and its identity is its boot id.
 */
import { constants } from 'node:crypto';
import type { ConnectionOptions, TlsOptions } from 'node:tls';

/** The one AEAD cipher with ephemeral curves and a pre-shared key in Node's OpenSSL. */
const cipher = 'ECDHE-PSK-CHACHA20-POLY1305';
/** A resumed or renegotiated session would come without the identity check. */
const secureOptions = constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION;
const common = { ciphers: cipher, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2', secureOptions } as const;

export const keyBytes = 32;
const longestIdentity = 128;

/** What to dial with. */
export function dialTls(key: Uint8Array, bootId: string): ConnectionOptions {
  return {
    ...common,
    pskCallback: () => ({ psk: key, identity: bootId }),
    // There is no certificate; the key proves the peer, and its hello says which node it is.
    checkServerIdentity: () => undefined,
  };
}

/** What to listen with. `identified` is told who says to be dialling, before that is proven. */
export function listenTls(key: Uint8Array, identified: (socket: object, identity: string) => void): TlsOptions {
  return {
    ...common,
    pskCallback(socket, identity) {
      if (identity.length === 0 || identity.length > longestIdentity) return null;
      identified(socket, identity);
      return key;
    },
  };
}
