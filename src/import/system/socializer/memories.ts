import { decryptFernet, encryptFernet } from "../../../auth/fernet.ts";
import type { Sealer } from "../../../auth/sealing.ts";
import { type AnyStep, type Context, defineStep, type Pending } from "../mapping.ts";
import { ref } from "../references.ts";
import { createLosses } from "./text.ts";

const RELATION = "users_memory";
/** As the API has it; in UTF-8. */
const MAX_MEMORY_BYTES = 256 * 1024;

interface Stored {
  readonly user_id: string;
  readonly wrapped_key: string | null;
  readonly memory: string | null;
}

/**
 * The users' Fernet keys, sealed by the master key, and what they encrypted: a second reading of the table users, because a key is
 * bound to the id that its user has here.
 */
export function memoriesStep(sealer: Sealer | undefined): AnyStep {
  return defineStep({
    relation: RELATION,
    table: "users",
    key: ["id"],
    columns: {
      id: "id",
      encryption_key: "text?",
      conversation_memory: "text?",
      updated_at: "time?",
      created_at: "time?",
    },
    targets: [
      { table: "private.user_keys", write: "insert", unverified: ["updated_at"] },
      { table: "llm.conversation_memories", write: "insert", unverified: ["updated_at"] },
    ],
    prepare: (rows, context) => findStored(rows, context),
    map(row, stored) {
      const { losses, lose } = createLosses();
      const { encryption_key: key } = row;
      if (!key) return { omitted: row.conversation_memory ? "its memory has no key" : "has no memory" };
      if (!isKey(key)) return { omitted: "its encryption_key is not a Fernet key" };
      if (!sealer) return { omitted: "its encryption_key needs PLINTH_MASTER_KEYS to be stored" };
      const here = stored.get(row.id!);
      if (here === undefined) return { omitted: "its row of users was not imported" };
      const user = ref("users", row.id);
      const times = { created_at: row.updated_at ?? row.created_at ?? undefined };
      const text = readMemory(key, row.conversation_memory, lose);
      const keyValues = {
        user_id: user,
        purpose: "conversation memory",
        wrapped_key: sealedKey(sealer, here, key),
        ...times,
      };
      const memoryValues =
        text === null
          ? null
          : { user_id: user, key_id: ref(RELATION, row.id), memory: token(key, text, here.memory), ...times };
      return {
        values: [keyValues, memoryValues].map((values) => values && withoutUndefined(values)),
        losses,
      };
    },
  });
}

const withoutUndefined = (values: object) =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));

/** Ids of the users here, with what an earlier run stored, by external id. */
async function findStored(
  rows: readonly Pending<{ id: string | null }>[],
  { client, system }: Context,
): Promise<Map<string, Stored>> {
  const { rows: found } = await client.query<Stored & { external_id: string }>(
    `select e.external_id, e.row_id as user_id, k.wrapped_key, m.memory
     from plinth.external_ids e
     left join private.user_keys k on k.user_id = e.row_id and k.purpose = 'conversation memory'
     left join llm.conversation_memories m on m.user_id = e.row_id
     where e.system = $1 and e.relation = 'users' and e.external_id = any ($2)`,
    [system, rows.map(({ key }) => key)],
  );
  return new Map(found.map((row) => [row.external_id, row]));
}

function isKey(key: string): boolean {
  try {
    encryptFernet(key, "");
    return true;
  } catch {
    return false;
  }
}

/** Returns the memory as a JSON document; a text that is not JSON becomes a JSON text. */
function readMemory(
  key: string,
  token: string | null,
  lose: (column: string, reason: string) => void,
): string | null {
  if (!token) return null;
  let text: string;
  try {
    text = decryptFernet(key, token.trim()).toString();
  } catch {
    lose("conversation_memory", "cannot be decrypted with the user's key");
    return null;
  }
  const document = isJson(text) ? text : JSON.stringify(text);
  if (Buffer.byteLength(document) <= MAX_MEMORY_BYTES) return document;
  lose("conversation_memory", "has more than 256 KiB");
  return null;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

// Sealing and encrypting are random, so what is stored already stays if it opens to the same: the import is verified by that.

function sealedKey(sealer: Sealer, { user_id: userId, wrapped_key: wrapped }: Stored, key: string): string {
  if (wrapped !== null)
    try {
      if (sealer.unseal("user key", wrapped, userId).toString() === key) return wrapped;
    } catch {
      // It was altered since.
    }
  return sealer.seal("user key", key, userId);
}

function token(key: string, text: string, stored: string | null): string {
  if (stored !== null)
    try {
      if (decryptFernet(key, stored).toString() === text) return stored;
    } catch {
      // Another key wrote it since.
    }
  return encryptFernet(key, text);
}
