/** The SDK as it ships: the built files, with the types of their source. */
import { fileURLToPath, pathToFileURL } from 'node:url';

type Sdk = typeof import('../../../src/client/mod.ts');

const built = fileURLToPath(new URL('../../../dist/client/mod.js', import.meta.url));
export const sdk = (await import(pathToFileURL(built).href)) as Sdk;
