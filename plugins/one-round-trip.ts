import "graphile-build-pg";
import { hash } from "node:crypto";
import type { PgExecutor } from "@dataplan/pg";
import type { SendStatement } from "../src/request/transaction.ts";

declare global {
  namespace GraphileBuild {
    interface SchemaOptions {
      plinthSendAlone?: SendStatement | undefined;
    }
  }
}

/**
 * Sends each statement that PostGraphile plans in one round trip with its settings and its commit, instead of two to four. Names
 * mutations too, so that the server parses and plans them once per connection; PostGraphile names only reads.
 *
 * Safe to disable: then each statement runs in an explicit transaction, with the same result.
 */
export const OneRoundTripPlugin: GraphileConfig.Plugin = {
  name: "PlinthOneRoundTripPlugin",
  version: "1.0.0",
  description: "Sends each statement with its settings in one round trip",
  schema: {
    hooks: {
      build(build) {
        const { plinthSendAlone } = build.options;
        if (plinthSendAlone)
          for (const executor of Object.values(build.input.pgRegistry.pgExecutors))
            sendBy(executor, plinthSendAlone);
        return build;
      },
    },
  },
};

type Execute = (
  context: Context,
  text: string,
  values: readonly unknown[],
  name?: string,
) => Promise<unknown>;
type ExecuteMutation = PgExecutor["executeMutation"];
type Context = Parameters<ExecuteMutation>[0]["context"];

/** Members of PgExecutor: the first is private, and every read passes it. */
interface Sender {
  _execute: Execute;
  executeMutation: ExecuteMutation;
  /** Key of the results that an operation has read, which a mutation makes outdated. */
  readonly $$cache: keyof Context;
}

function sendBy(executor: PgExecutor, byDefault: SendStatement): void {
  const sender = executor as unknown as Sender;
  sender._execute = (context, text, values, name) =>
    (senderOf(context) ?? byDefault)(context.pgSettings ?? {}, { text, values, name, arrayMode: true });
  sender.executeMutation = async ({ context, text, values }) => {
    const statement = { text, values, name: hash("sha1", text), arrayMode: true };
    const result = await (senderOf(context) ?? byDefault)(context.pgSettings ?? {}, statement);
    (context[sender.$$cache] as { reset(): void } | undefined)?.reset();
    return result as never;
  };
}

/** The way of an operation whose statements belong together: a subscription, or a query with one snapshot. */
function senderOf({ withPgClient }: Context): SendStatement | undefined {
  return (withPgClient as { send?: SendStatement }).send;
}
