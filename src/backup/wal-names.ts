/** Size of a WAL segment, initdb's default. */
const SEGMENT_BYTES = 16n * 1024n * 1024n;
const SEGMENTS_PER_LOG = 0x1_0000_0000n / SEGMENT_BYTES;

/** A position in the WAL, as PostgreSQL prints it: `0/3000028`. */
export type Lsn = string;

export function parseLsn(lsn: Lsn): bigint {
  const [high = "", low = ""] = lsn.split("/");
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
}

/** The number of the segment that contains a position. */
export function segmentOf(lsn: Lsn): bigint {
  return parseLsn(lsn) / SEGMENT_BYTES;
}

/** The number of the segment that contains the byte before a position: the last one needed to reach it. */
export function segmentBefore(lsn: Lsn): bigint {
  return (parseLsn(lsn) - 1n) / SEGMENT_BYTES;
}

/** `000000010000000000000003` for timeline 1 and segment 3. */
export function segmentName(timeline: number, segment: bigint): string {
  const parts = [BigInt(timeline), segment / SEGMENTS_PER_LOG, segment % SEGMENTS_PER_LOG];
  return parts.map((part) => part.toString(16).toUpperCase().padStart(8, "0")).join("");
}

/** @returns undefined for other files, such as histories */
export function parseSegmentName(name: string): { timeline: number; segment: bigint } | undefined {
  if (!/^[0-9A-F]{24}$/.test(name)) return undefined;
  const [timeline, log, low] = [0, 8, 16].map((at) => BigInt(`0x${name.slice(at, at + 8)}`));
  return { timeline: Number(timeline), segment: log! * SEGMENTS_PER_LOG + low! };
}
