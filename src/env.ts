/** The only reader of `process.env`. It is read once: what changes later in the process's environment changes nothing. */

/** Environment variables by name; an empty value counts as not given. */
export type Env = Readonly<Record<string, string | undefined>>;

export const env: Env = { ...process.env };
