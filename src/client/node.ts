/** The SDK's Node-only parts: a file for the offline queue. Import from `tmcp-server/client/node`. */
export { FileQueue } from './file-queue.ts';
