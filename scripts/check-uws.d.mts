/** What is wrong with the uWebSockets.js binaries, a sentence each. */
export function checkBinaries(options?: { readonly folder?: string; readonly list?: string; readonly present?: boolean }): string[];
