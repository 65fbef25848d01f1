import type { JobFunction } from "./job.ts";

/** Requests are sequential: the provider limits the rate of requests, and each finishes long before its lease of two minutes ends. */
const BATCH_SIZE = 1;

/**
 * Cancels the subscriptions that deleted accounts still have at the payment provider. Not in a transaction, so no lock is held
 * during the request. If the worker dies in between, the request is repeated, which changes nothing.
 */
export const cancelProviderSubscriptions: JobFunction = async ({ query, signal, payments }) => {
  const done = { canceled: 0, retried: 0 };
  // Without a key they wait for a worker that has it; plinth doctor reports how many.
  if (!payments) return done;
  for (;;) {
    const taken = await query("select * from private.take_provider_cancellations($1, $2)", [
      payments.name,
      BATCH_SIZE,
    ]);
    for (const { provider_subscription_id: id } of taken) {
      const error = await payments.cancelSubscription(String(id)).then(
        () => null,
        (reason: Error) => reason.message,
      );
      await query("select private.finish_provider_cancellation($1, $2, $3)", [payments.name, id, error]);
      if (error === null) done.canceled += 1;
      else done.retried += 1;
    }
    if (taken.length < BATCH_SIZE || signal.aborted) return done;
  }
};
