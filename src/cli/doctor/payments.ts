import { type CheckGroup, ok, skipped, warn } from "./check.ts";

/** Checks whether the owner of a deleted account may still be billed. */
export const checkPayments: CheckGroup = async ({ client, role, config }) => {
  const check = "cancellations";
  if (role !== "owner")
    return [skipped(check, "Only the owner can read the pending cancellations (PLINTH_OWNER_URL).")];
  // Without the migration, there is nothing to check.
  const known = await client.query("select where to_regclass('private.provider_cancellations') is not null");
  if (known.rowCount === 0) return [];
  const { rows } = await client.query<{ provider: string; id: string; error: string | null }>(
    `select provider, provider_subscription_id as id, last_error as error
     from private.provider_cancellations
     where requested_at < now() - interval '15 minutes'
     order by requested_at
     limit 50`,
  );
  if (rows.length === 0)
    return [ok(check, "No subscription of a deleted account is waiting for its cancellation.")];
  return [
    warn(
      check,
      "Subscriptions of deleted accounts are not yet canceled at their provider.",
      config.payments.stripeSecretKey
        ? "See the error; the job keeps retrying. Or cancel them at the provider by hand."
        : "Set PLINTH_STRIPE_SECRET_KEY where plinth work (or plinth start) runs, or cancel them at the provider by hand.",
      rows.map(({ provider, id, error }) => `${provider} ${id}: ${error ?? "not tried yet"}`),
    ),
  ];
};
