import type pg from "pg";

/** Returns the current offers by "<code> <billing cycle>", such as "premium monthly". */
export async function currentPlans(client: pg.ClientBase): Promise<ReadonlyMap<string, string>> {
  const { rows } = await client.query<{ name: string; id: string }>(
    `select p.code || ' ' || p.billing_cycle as name, p.id
     from billing.subscription_plans p where p.superseded_at is null
     order by p.currency = 'USD', p.currency desc`,
  );
  // The last one of a name counts: in dollars, if there is such an offer.
  return new Map(rows.map(({ name, id }) => [name, id]));
}
