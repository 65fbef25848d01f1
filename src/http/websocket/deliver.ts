import type { ExecutionResult } from "graphql";
import type { LiveSubscription } from "../../live/live-subscription.ts";

/**
 * The answers of a subscription to send, one per demand: executed by Grafast, or shared by another subscription to the same
 * operation. Grafast would read ahead of its consumer; here it waits until the last answer has been sent.
 */
export function deliver(
  results: AsyncIterableIterator<ExecutionResult>,
  subscription: LiveSubscription,
): AsyncIterableIterator<ExecutionResult> {
  /** Requested from Grafast and not consumed yet; kept while shared answers arrive. */
  let executed: Promise<IteratorResult<ExecutionResult>> | undefined;
  let isExecuted = false;
  let onArrival = (_shared?: ExecutionResult) => {};

  function execute(): Promise<IteratorResult<ExecutionResult>> {
    const next = results.next();
    const arrived = () => {
      isExecuted = true;
      onArrival();
    };
    next.then(arrived, arrived);
    return next;
  }

  async function nextAnswer(): Promise<IteratorResult<ExecutionResult>> {
    const arrival = Promise.withResolvers<ExecutionResult | undefined>();
    onArrival = arrival.resolve;
    executed ??= execute();
    subscription.demand(onArrival);
    const shared = isExecuted ? undefined : await arrival.promise;
    if (shared) return { done: false, value: shared };
    const answer = executed;
    executed = undefined;
    isExecuted = false;
    return answer;
  }

  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      for (;;) {
        const result = await nextAnswer();
        if (result.done || subscription.settle(result.value)) return result;
      }
    },
    async return(value) {
      subscription.end();
      await results.return?.();
      return { done: true, value };
    },
    async throw(error) {
      subscription.end();
      await results.return?.();
      throw error;
    },
  };
}
