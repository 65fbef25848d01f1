import type pg from "pg";

/** A provider that needs a name of its own. */
interface Named {
  readonly key: string;
  readonly name: string;
  /** Id here of a row that already has its name. */
  readonly rowId: string | undefined;
}

/** Chooses a free name for each provider: its own, or the first free one of "name (2)", "name (3)" …, in the order of the rows. */
export async function providerNames(
  client: pg.ClientBase,
  rows: readonly Named[],
): Promise<ReadonlyMap<string, string>> {
  const { rows: stored } = await client.query<{ id: string; name: string }>(
    "select p.id, p.name from llm.model_providers p",
  );
  const owners = new Map(stored.map(({ id, name }) => [name, id]));
  const names = new Map<string, string>();
  for (const { key, name, rowId } of rows) {
    let free = name;
    for (let number = 2; owners.has(free) && owners.get(free) !== rowId; number++)
      free = `${name} (${number})`;
    owners.set(free, rowId ?? key);
    names.set(key, free);
  }
  return names;
}
