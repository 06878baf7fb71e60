/** The frame of a run: its last line of output is its figures as JSON, and its exit code says whether they hold. */

/** Runs it and ends the process. `main` gives the figures and the claims that do not hold. */
export async function run(main: () => Promise<{ readonly figures: object; readonly broken: readonly string[] }>): Promise<never> {
  let code = 1;
  try {
    const { figures, broken } = await main();
    for (const claim of broken) process.stderr.write(`broken: ${claim}\n`);
    process.stdout.write(`${JSON.stringify({ ...figures, broken })}\n`);
    code = broken.length === 0 ? 0 : 1;
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  }
  process.exit(code);
}

/** Progress, for whoever watches. */
export function tell(text: string): void {
  process.stderr.write(`${text}\n`);
}
