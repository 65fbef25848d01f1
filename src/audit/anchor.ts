import { createHmac, sign, timingSafeEqual, verify } from "node:crypto";
import type pg from "pg";
import type { SigningKey } from "../auth/signing-keys.ts";
import { PlinthError } from "../support/errors.ts";

/** The state of the chain at a moment, kept outside the database: later blocks cannot be rewritten without contradicting it. */
export interface Anchor {
  readonly format: "plinth-audit-anchor-1";
  /** Hash of block 0, which differs between databases. */
  readonly chain: string;
  readonly number: number;
  readonly hash: string;
  readonly closedAt: string;
  /** Name of the key that signed it. */
  readonly kid: string;
  readonly signature: string;
}

type Unsigned = Omit<Anchor, "signature">;

/**
 * Returns the latest closed block, signed with the first key.
 * @param client connected as the owner
 * @throws PlinthError AUDIT_CHAIN_EMPTY
 */
export async function readAnchor(client: pg.ClientBase, key: SigningKey): Promise<Anchor> {
  const { rows } = await client.query<Omit<Unsigned, "format" | "kid">>(
    `select
       (select encode(s.hash, 'hex') from private.audit_blocks s where s.number = 0) as chain,
       b.number::float8 as number, encode(b.hash, 'hex') as hash,
       to_char(b.closed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "closedAt"
     from private.audit_blocks b
     order by b.number desc
     limit 1`,
  );
  if (!rows[0]?.chain)
    throw new PlinthError("AUDIT_CHAIN_EMPTY", "The chain of the audit logs has no first block.", {
      hint: "The migration adds it, so it was deleted. Compare with earlier anchors: plinth audit verify --anchors FILE.",
    });
  const unsigned: Unsigned = { format: "plinth-audit-anchor-1", ...rows[0], kid: key.kid };
  return { ...unsigned, signature: signatureOf(unsigned, key) };
}

/**
 * Reads anchors, one JSON object a line, and checks their signatures.
 * @throws PlinthError ANCHOR_INVALID, naming the line
 */
export function parseAnchors(text: string, keys: readonly SigningKey[]): Anchor[] {
  return text
    .split("\n")
    .map((line, index) => ({ line: line.trim(), number: index + 1 }))
    .filter(({ line }) => line !== "")
    .map(({ line, number }) => parseAnchor(line, number, keys));
}

function parseAnchor(line: string, position: number, keys: readonly SigningKey[]): Anchor {
  let anchor: Partial<Anchor>;
  try {
    anchor = JSON.parse(line);
  } catch {
    throw invalid(position, "is not JSON", "The file must have one JSON object a line.");
  }
  const { format, chain, number, hash, closedAt, kid, signature } = anchor ?? {};
  if (
    format !== "plinth-audit-anchor-1" ||
    !Number.isInteger(number) ||
    !hash ||
    !chain ||
    !kid ||
    !signature
  )
    throw invalid(position, "is not an anchor", "Export anchors with: plinth audit anchor.");
  const key = keys.find((each) => each.kid === kid);
  if (!key)
    throw invalid(
      position,
      `was signed with the key ${JSON.stringify(kid)}, which is not set`,
      "Add it to PLINTH_JWT_KEYS for this command.",
    );
  const unsigned = { format, chain, number: number!, hash, closedAt: closedAt!, kid };
  if (!isSignature(unsigned, signature, key))
    throw invalid(position, "has an invalid signature", "It was altered. Use another copy of the file.");
  return { ...unsigned, signature };
}

function invalid(position: number, fault: string, hint: string): PlinthError {
  return new PlinthError("ANCHOR_INVALID", `Line ${position} of the anchors ${fault}.`, { hint });
}

/** No token's signing input has a space, so a signature of one cannot pass for that of the other. */
function signedText({ format, chain, number, hash, closedAt, kid }: Unsigned): Buffer {
  return Buffer.from([format, chain, number, hash, closedAt, kid].join(" "));
}

function signatureOf(anchor: Unsigned, key: SigningKey): string {
  const text = signedText(anchor);
  return key.algorithm === "HS256"
    ? createHmac("sha256", key.secret).update(text).digest("base64url")
    : sign("sha256", text, key.secret).toString("base64url");
}

function isSignature(anchor: Unsigned, signature: string, key: SigningKey): boolean {
  const given = Buffer.from(signature, "base64url");
  if (key.algorithm === "ES256") return verify("sha256", signedText(anchor), key.verifier, given);
  const right = Buffer.from(signatureOf(anchor, key), "base64url");
  return given.length === right.length && timingSafeEqual(given, right);
}
