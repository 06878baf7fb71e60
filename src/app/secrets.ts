/** What `serve` demands of the configuration, and `dev` draws for itself. */
export interface AppSecrets {
  /** PEM or JWKS text; the first private key signs. */
  readonly signingKeys: string;
  readonly masterKeys: readonly { readonly id: string; readonly key: Uint8Array }[];
  readonly pepper: Uint8Array;
  readonly cookieKeys: readonly string[];
  readonly walletUrl: string;
  readonly walletToken: string;
}
