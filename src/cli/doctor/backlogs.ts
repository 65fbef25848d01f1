import { type CheckGroup, type Finding, ok, skipped, warn } from "./check.ts";

/** Checks for mail and payment events that should have been handled. */
export const checkBacklogs: CheckGroup = async ({ client, role }) => {
  if (role !== "owner")
    return [skipped("backlogs", "Only the owner can read what waits (PLINTH_OWNER_URL).")];
  // Without the migration, there is nothing to check.
  const { rowCount } = await client.query("select where to_regclass('private.payment_events') is not null");
  if (rowCount === 0) return [];
  const { rows } = await client.query<Record<"mail" | "failed_mail" | "events", number>>(
    `select
       (select count(*)::integer from private.mail_outbox
        where status = 'pending' and created_at < now() - interval '15 minutes') as mail,
       (select count(*)::integer from private.mail_outbox
        where status = 'failed' and created_at > now() - interval '1 day') as failed_mail,
       (select count(*)::integer from private.payment_events
        where processed_at is null and received_at < now() - interval '1 hour') as events`,
  );
  const { mail, failed_mail, events } = rows[0]!;
  return [
    mail === 0
      ? ok("mail-queue", "No mail waits.")
      : warn(
          "mail-queue",
          `${mail} messages have waited for more than 15 minutes.`,
          "Check PLINTH_SMTP_URL where plinth work (or plinth start) runs; private.mail_outbox.last_error names the reason.",
        ),
    ...(failed_mail === 0
      ? []
      : [
          warn(
            "failed-mail",
            `${failed_mail} messages of the last day could not be sent.`,
            "select template, last_error from private.mail_outbox where status = 'failed' (as the owner).",
          ),
        ]),
    events === 0
      ? ok("payment-events", "No payment event waits.")
      : warn(
          "payment-events",
          `${events} payment events have waited for more than an hour.`,
          "select event_type, outcome from private.payment_events where processed_at is null (as the owner); see Payments in docs/operations.md.",
        ),
  ] satisfies Finding[];
};
