import { parseMasterKeys } from "../../src/auth/master-keys.ts";
import { createSealer } from "../../src/auth/sealing.ts";
import { MASTER_KEYS } from "./api.ts";
import { type TestDatabase, withClient } from "./database.ts";

/** A row of the outbox, with its token opened. */
export interface Queued {
  readonly id: string;
  readonly template: string;
  readonly channel: string;
  readonly status: string;
  readonly variables: Record<string, unknown>;
  /** Undefined if there is none. */
  readonly token: string | undefined;
}

/** The mails queued for an address or number, oldest first. */
export async function emailsTo(db: TestDatabase, address: string): Promise<Queued[]> {
  const sealer = createSealer(parseMasterKeys(MASTER_KEYS));
  const { rows } = await withClient(db.url("owner"), (client) =>
    client.query<Omit<Queued, "token">>(
      `select id, template, channel, status, variables from private.mail_outbox where to_address = $1
       order by created_at, id`,
      [address],
    ),
  );
  return rows.map((row) => {
    const { sealed_token: sealed } = row.variables;
    return {
      ...row,
      token: typeof sealed === "string" ? sealer.unseal("mail token", sealed).toString() : undefined,
    };
  });
}

/** The templates of the mails queued for an address, oldest first. */
export async function templatesTo(db: TestDatabase, address: string): Promise<string[]> {
  return (await emailsTo(db, address)).map(({ template }) => template);
}

/** The token of the newest message of this kind. */
export async function tokenTo(db: TestDatabase, address: string, template: string): Promise<string> {
  const token = (await emailsTo(db, address)).findLast((mail) => mail.template === template)?.token;
  if (token === undefined) throw new Error(`No ${template} was queued for ${address}.`);
  return token;
}
