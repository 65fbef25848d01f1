import type pg from "pg";
import type { Source } from "../../src/import/system/sources/source.ts";

/** Importing or verifying one table; times in milliseconds. */
export interface Phase {
  readonly step: string;
  readonly rows: number;
  readonly statements: number;
  readonly milliseconds: number;
  /** Waiting for PostgreSQL. */
  readonly sql: number;
  /** Reading the source. */
  readonly reading: number;
  /** Processor time of the server process and of this one. */
  readonly backend: number;
  readonly process: number;
}

type Sums = Omit<Phase, "step" | "rows">;

/** Adds up what happens, and cuts it at each step that the progress names. */
export function createMeter(backendSeconds: () => number) {
  const phases = new Map<string, Phase>();
  const waited = { statements: 0, sql: 0, reading: 0 };
  let memory = 0;
  const now = (): Sums => ({
    ...waited,
    milliseconds: performance.now(),
    backend: backendSeconds() * 1000,
    process: (process.cpuUsage().user + process.cpuUsage().system) / 1000,
  });
  let since = now();
  return {
    waited,

    at(step: string, rows: number): void {
      const [until, before] = [now(), phases.get(step)];
      const added = (name: keyof Sums): number => (before?.[name] ?? 0) + until[name] - since[name];
      phases.set(step, {
        step,
        rows,
        statements: added("statements"),
        milliseconds: added("milliseconds"),
        sql: added("sql"),
        reading: added("reading"),
        backend: added("backend"),
        process: added("process"),
      });
      since = until;
      memory = Math.max(memory, process.memoryUsage.rss());
    },

    phases: (): readonly Phase[] => [...phases.values()],
    megabytes: (): number => Math.round(memory / 1e6),
  };
}

type Meter = ReturnType<typeof createMeter>;

/** The same client, whose statements are counted. */
export function countingClient(client: pg.Client, { waited }: Meter): pg.Client {
  const query = client.query.bind(client) as (...args: unknown[]) => Promise<unknown>;
  let open = 0;
  let since = 0;
  const counting = async (...args: unknown[]) => {
    waited.statements += 1;
    // Time that several statements wait together counts once.
    if (open++ === 0) since = performance.now();
    try {
      return await query(...args);
    } finally {
      if (--open === 0) waited.sql += performance.now() - since;
    }
  };
  return Object.assign(client, { query: counting });
}

/** The same source, whose reading is timed. */
export function countingSource(source: Source, { waited }: Meter): Source {
  return {
    ...source,
    async *read(sql, batchSize) {
      const rows = source.read(sql, batchSize);
      for (;;) {
        const started = performance.now();
        const { done, value } = await rows.next();
        waited.reading += performance.now() - started;
        if (done) return;
        yield value;
      }
    },
  };
}
