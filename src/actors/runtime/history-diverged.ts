/** History that the present machine would not have made. The actor is set aside rather than carried on differently. */
export class HistoryDivergedError extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'HistoryDivergedError';
  }
}
