import type { ExecutionResult } from "postgraphile/graphql";
import type { LiveSubscription } from "../../live/live-subscription.ts";

/**
 * The answers of a subscription that are to be sent, one for each time somebody asks for one: executed by Grafast, or shared
 * by somebody who asked the same. Grafast reads ahead of whoever takes its answers; here it is made to wait until the last
 * one has left through the socket.
 */
export function deliver(
  results: AsyncIterableIterator<ExecutionResult>,
  subscription: LiveSubscription,
): AsyncIterableIterator<ExecutionResult> {
  /** Asked of Grafast and not taken yet; it stays while shared answers come. */
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
