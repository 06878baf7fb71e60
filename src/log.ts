/**
 * The loggers: JSON lines on standard error, so that what the command line prints on standard output stays readable.
 * The only importer of pino. Every line goes through the allow-list of `log-fields.ts`; nothing bypasses it.
 */
import { type Logger as PinoLogger, pino } from 'pino';
import { type LogFields, scrubFields, scrubText } from './log-fields.ts';

export type Level = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

interface Write {
  (fields: LogFields, message: string): void;
  (message: string): void;
}

/** A logger. Fields first, then a message that is a constant: what varies goes into fields. */
export interface Logger {
  readonly trace: Write;
  readonly debug: Write;
  readonly info: Write;
  readonly warn: Write;
  readonly error: Write;
  readonly fatal: Write;
  /** A logger whose every line also has these fields (a component, a request id, a trace id). */
  child(fields: LogFields): Logger;
  /** Whether a line of this level would be written, for work that only a log line needs. */
  enabled(level: Exclude<Level, 'silent'>): boolean;
}

/** Where lines go; each `write` gets one line with its line break. */
export interface LogSink {
  write(line: string): void;
}

/** The root logger. `sink` defaults to standard error, written at once so that the last lines before a crash are not lost. */
export function createLogger(config: { readonly logLevel: Level }, sink: LogSink = pino.destination({ fd: 2, sync: true })): Logger {
  const root = pino(
    {
      level: config.logLevel,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      // Errors are described by the allow-list; pino's own way of writing them would add their members.
      serializers: { err: (described: unknown) => described },
      formatters: { level: (label) => ({ level: label }) },
    },
    sink,
  );
  return wrap(root);
}

function wrap(target: PinoLogger): Logger {
  const at =
    (level: Exclude<Level, 'silent'>): Write =>
    (first: LogFields | string, message?: string) => {
      if (!target.isLevelEnabled(level)) return;
      // JSON escapes line breaks, so one call is one line whatever a field holds.
      if (typeof first === 'string') target[level](scrubText(first));
      else target[level](scrubFields(first), scrubText(message ?? ''));
    };
  return {
    trace: at('trace'),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    fatal: at('fatal'),
    child: (fields) => wrap(target.child(scrubFields(fields))),
    enabled: (level) => target.isLevelEnabled(level),
  };
}
