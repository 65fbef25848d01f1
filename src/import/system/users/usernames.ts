import type pg from "pg";
import { isHashedName, isUsername, normalizeName } from "../../../auth/hashed-name.ts";

/** Leaves room for a suffix; a username has up to 100 characters. */
const MAX_BASE = 90;
const MAX_TRIES = 1_000;

/** An account that needs a username. */
export interface Wanted {
  readonly key: string;
  readonly name: string | null;
  /** Id here of an account that already has its name. */
  readonly rowId: string | undefined;
}

/**
 * Returns the username that a name becomes: its normal form if that is valid, otherwise its letters without accents, in lower case,
 * with hyphens for everything else. A name without Latin letters or digits becomes user-<key>.
 */
export function baseOf(name: string | null, key: string): string {
  const normal = normalizeName(name ?? "");
  if (isUsername(normal) && !isHashedName(normal)) return normal;
  const plain = trimmed(
    normal
      .normalize("NFKD")
      .replace(/\p{M}/gu, "")
      .toLowerCase()
      .replace(/ß/g, "ss")
      .replace(/æ/g, "ae")
      .replace(/ø/g, "o")
      .replace(/ł/g, "l")
      .replace(/[^a-z0-9_.-]+/g, "-"),
  );
  const fallback = trimmed(`user-${key.toLowerCase().replace(/[^a-z0-9-]+/g, "-")}`);
  return isUsername(plain) && !isHashedName(plain) ? plain : fallback;
}

function trimmed(name: string): string {
  return name
    .replace(/^[._-]+/, "")
    .slice(0, MAX_BASE)
    .replace(/[._-]+$/, "");
}

/** A free username, and its stored form: in privacy mode its hash. */
export interface ChosenName {
  readonly chosen: string;
  readonly stored: string;
}

/**
 * Chooses a free username for each account: the base, or the first free one of base-2, base-3 …, in the order of the batch.
 * @param storedName returns the form in which a username is stored, in privacy mode its hash
 */
export async function chooseUsernames(
  client: pg.ClientBase,
  accounts: readonly Wanted[],
  storedName: (username: string) => Promise<string>,
): Promise<Map<string, ChosenName>> {
  const chosen = new Map<string, ChosenName>();
  const inBatch = new Set<string>();
  let open = accounts.map((account) => ({ account, base: baseOf(account.name, account.key), number: 1 }));
  while (open.length > 0) {
    const candidates = await Promise.all(
      open.map(async (each) => {
        const name = each.number === 1 ? each.base : `${each.base}-${each.number}`;
        return { each, name, stored: await storedName(name) };
      }),
    );
    const { rows } = await client.query<{ username: string; id: string }>(
      "select u.username, u.id from identity.users u where u.username = any ($1)",
      [candidates.map(({ stored }) => stored)],
    );
    const owners = new Map(rows.map(({ username, id }) => [username, id]));
    open = [];
    for (const { each, name, stored } of candidates) {
      const owner = owners.get(stored);
      const isFree = !inBatch.has(stored) && (owner === undefined || owner === each.account.rowId);
      if (isFree || each.number >= MAX_TRIES) {
        inBatch.add(stored);
        chosen.set(each.account.key, { stored, chosen: name });
      } else open.push({ ...each, number: each.number + 1 });
    }
  }
  return chosen;
}
