import type { ExecutionResult } from "postgraphile/graphql";
import type { LiveSubscription } from "./live-subscription.ts";

/**
 * The answers of a subscription that are to be sent, one for each time somebody asks for one. Grafast reads ahead of
 * whoever takes its answers; here it is made to wait until the last one has left through the socket.
 */
export function deliver(
  results: AsyncIterableIterator<ExecutionResult>,
  subscription: LiveSubscription,
): AsyncIterableIterator<ExecutionResult> {
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      for (;;) {
        subscription.demand();
        const result = await results.next();
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
