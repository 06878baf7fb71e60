/** A sandbox in a process of its own, for the test that kills it: `sandbox-process.ts <dataDir>`. Ends with its parent. */
import { startWalletSandbox } from '../../../src/wallet-sandbox/sandbox.ts';
import { token } from './support.ts';

const sandbox = await startWalletSandbox({ port: 0, host: '127.0.0.1', token, dataDir: process.argv[2] });
process.stdout.write(`${sandbox.url}\n`);
process.stdin.resume();
process.stdin.once('end', () => process.exit(0));
