import { createHash } from "node:crypto";
import { defineStep, type Loss } from "../mapping.ts";
import { known, objectOf } from "./known.ts";

const ALGORITHMS = ["fixed_window", "sliding_window", "token_bucket"];
const SHA256 = /^[0-9a-f]{64}$/;

export const rateLimitRecords = defineStep({
  relation: "rate_limit_records",
  key: ["id"],
  columns: {
    id: "id",
    key_hash: "text",
    algorithm: "text",
    window_start: "time",
    window_end: "time",
    request_count: "integer",
    limit_value: "integer",
    metadata: "json?",
    created_at: "time?",
    updated_at: "time?",
  },
  // Windows end and are deleted, and a counter goes on counting.
  targets: [{ table: "security.rate_limit_records", write: "insert" }],
  map(row) {
    const { key_hash: key = "", window_start: start, window_end: end } = row;
    const algorithm = (row.algorithm ?? "").toLowerCase().replace(/[^a-z]+/g, "_");
    if (!ALGORITHMS.includes(algorithm)) return { omitted: "has an algorithm that Plinth does not have" };
    if (key === null || start === null || end === null) return { omitted: "lacks its key or its window" };
    if (Date.parse(end) <= Date.now()) return { omitted: "its window has ended" };
    const losses: Loss[] = [];
    const count = row.request_count ?? 1;
    const hash = SHA256.test(key) ? Buffer.from(key, "hex") : createHash("sha256").update(key).digest();
    // The same keys as in the view compat_cedrina.rate_limit_records.
    const kept = known({
      key_hash: key === hash.toString("hex") ? null : key,
      algorithm: row.algorithm === algorithm ? null : row.algorithm,
    });
    const metadata = objectOf("metadata", row.metadata, losses) ?? {};
    return {
      values: [
        known({
          key_hash: hash,
          algorithm,
          window_start: start,
          window_end: end,
          request_count: count,
          tokens_used: algorithm === "token_bucket" ? tokensUsed(count, start, end) : null,
          limit_value: row.limit_value,
          metadata: Object.keys(kept).length > 0 ? { ...metadata, cedrina: kept } : metadata,
          created_at: row.created_at,
          updated_at: row.updated_at ?? row.created_at,
        }),
      ],
      losses,
    };
  },
});

/** Tokens times microseconds of the window, as text: more than 53 bits. */
function tokensUsed(count: number, start: string, end: string): string {
  return String(BigInt(count) * BigInt(Date.parse(end) - Date.parse(start)) * 1_000n);
}
