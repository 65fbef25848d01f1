import { percentile } from "../support.ts";

/** A measurement of an operation on a server. CPU is in milliseconds a request, NaN where unknown. */
export interface Sample {
  readonly operation: string;
  readonly server: string;
  /** Samples of the same round were taken one after the other. */
  readonly round: number;
  /** Requests a second. */
  readonly rate: number;
  /** Latencies in milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly nodeMs: number;
  readonly postgresMs: number;
  readonly clientMs: number;
}

export type Figure = "rate" | "p50" | "p99" | "nodeMs" | "postgresMs" | "clientMs";

export const median = (values: readonly number[]) => percentile(values, 0.5);

export function figuresOf(
  samples: readonly Sample[],
  operation: string,
  server: string,
  figure: Figure,
): number[] {
  return samples
    .filter((sample) => sample.operation === operation && sample.server === server)
    .map((sample) => sample[figure]);
}

/** A server's figure divided by another's, for each round: they compare measurements of the same minutes. */
export function ratiosOf(
  samples: readonly Sample[],
  operation: string,
  server: string,
  other: string,
  figure: Figure,
): number[] {
  const own = samples.filter((sample) => sample.operation === operation);
  return own
    .filter((sample) => sample.server === server)
    .flatMap((sample) => {
      const base = own.find((candidate) => candidate.server === other && candidate.round === sample.round);
      return base ? [sample[figure] / base[figure]] : [];
    });
}
