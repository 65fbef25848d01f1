import { hash } from "node:crypto";
import type { Preparation } from "./pg-internals/preparations.ts";

/** Settings of one transaction by name; null and undefined are skipped. */
export type TransactionSettings = Readonly<Record<string, string | null | undefined>>;

/** The statements of this process by the names that they set; there are few. */
const statements = new Map<string, { name: string; text: string }>();

/** Returns one statement that sets all of them until the transaction ends, so that none remains for the connection's next user. */
export function settingsStatement(settings: TransactionSettings): Preparation {
  const names: string[] = [];
  const values: string[] = [];
  for (const [name, value] of Object.entries(settings))
    if (value != null) {
      names.push(name);
      values.push(value);
    }
  const key = names.join();
  let statement = statements.get(key);
  if (!statement) {
    const calls = names.map((name, i) => `set_config('${name.replaceAll("'", "''")}', $${i + 1}, true)`);
    const text = `select ${calls.join(", ")}`;
    // By its text: behind a pooler, processes of other versions may share the connection.
    statement = { name: `plinth_settings_${hash("sha1", text)}`, text };
    statements.set(key, statement);
  }
  return { ...statement, values };
}
