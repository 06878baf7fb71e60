/**
 * The only importer of uWebSockets.js. It is not on npm under its own name: package.json takes it by an alias that carries
 * prebuilt binaries (ADR 0002). Loading one can fail where everything else works, so that failure gets a sentence that says
 * what to do; `scripts/check-uws.mjs` holds the binaries to known checksums.
 */
import { createRequire } from 'node:module';
import type * as Uws from 'uWebSockets.js';

export type {
  HttpRequest,
  HttpResponse,
  TemplatedApp,
  us_listen_socket as ListenSocket,
  WebSocket,
  WebSocketBehavior,
} from 'uWebSockets.js';

/** What is known of the process that could not load the binary; a parameter so that the sentence can be tested. */
export interface LoadSite {
  readonly node: string;
  readonly abi: string;
  readonly platform: string;
  readonly arch: string;
  /** The C library's version, `undefined` on musl and outside Linux. */
  readonly glibc: string | undefined;
}

/** The one sentence for an operator whose machine cannot load the binary. */
export function explainLoadFailure(site: LoadSite, cause: string): string {
  const libc =
    site.platform === 'linux' ? `, ${site.glibc === undefined ? 'no glibc (musl is not supported)' : `glibc ${site.glibc}`}` : '';
  return (
    `uWebSockets.js has no binary that loads here (Node ${site.node}, ABI ${site.abi}, ${site.platform}-${site.arch}${libc}): ` +
    'use Node 20 with glibc 2.27 or later, or Node 22 or 24 with glibc 2.38 or later (Debian 13, Ubuntu 24.04), ' +
    'or take the upstream build for your Node with `npm install "uWebSockets.js@github:uNetworking/uWebSockets.js#<tag>"`. ' +
    `The loader said: ${cause.trim().split('\n').at(-1) ?? ''}`
  );
}

/** Loads the library by `load`. Errors: `explainLoadFailure`'s sentence, with the loader's error as its cause. */
export function loadUws(load: () => unknown): typeof Uws {
  try {
    return load() as typeof Uws;
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw new Error(explainLoadFailure(site(), cause), { cause: error });
  }
}

function site(): LoadSite {
  const report = process.report.getReport() as unknown as { readonly header: { readonly glibcVersionRuntime?: string } };
  return {
    node: process.versions.node,
    abi: process.versions.modules,
    platform: process.platform,
    arch: process.arch,
    glibc: report.header.glibcVersionRuntime,
  };
}

/** The library. `require` and not `import`: a failed static import could not be explained. */
export const uws = loadUws(() => createRequire(import.meta.url)('uWebSockets.js'));
