import type pg from "pg";

/** An account with a number, if it is verified. */
interface WithPhone {
  readonly key: string;
  readonly rowId: string | undefined;
  readonly phoneNumber?: string | null;
  readonly phoneVerifiedAt?: string | null;
}

/** Returns the keys of accounts whose verified number is another account's. The first account of a batch keeps a shared one. */
export async function sharedPhones(
  client: pg.ClientBase,
  accounts: readonly WithPhone[],
): Promise<ReadonlySet<string>> {
  const verified = accounts.filter(({ phoneNumber, phoneVerifiedAt }) => phoneNumber && phoneVerifiedAt);
  const { rows } = await client.query<{ id: string; phone_number: string }>(
    "select u.id, u.phone_number from identity.users u where u.phone_number = any ($1)",
    [verified.map(({ phoneNumber }) => phoneNumber)],
  );
  const owners = new Map<string, string | undefined>(rows.map(({ id, phone_number }) => [phone_number, id]));
  const shared = new Set<string>();
  for (const { key, rowId, phoneNumber } of verified) {
    if (owners.has(phoneNumber!) && (rowId === undefined || owners.get(phoneNumber!) !== rowId))
      shared.add(key);
    else owners.set(phoneNumber!, rowId);
  }
  return shared;
}
