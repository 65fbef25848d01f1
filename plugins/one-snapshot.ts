import "graphile-build-pg";
import type { Snapshot } from "../src/request/snapshot.ts";
import type { Statement, TransactionSettings } from "../src/request/transaction.ts";

/**
 * All statements of a query see the database at the same moment: a page and its total count, and all fields at the root. A
 * query with a single statement needs no transaction for that and gets none. Both read from a replica if the operation has one.
 */
export const OneSnapshotPlugin: GraphileConfig.Plugin = {
  name: "PlinthOneSnapshotPlugin",
  version: "1.0.0",
  description: "Reads all fields of a query from one snapshot",
  grafast: {
    middleware: {
      establishOperationPlan(next, { operation, context }) {
        const plan = next();
        const { plinth, pgSettings } = context as Partial<Grafast.Context>;
        if (operation.operation !== "query" || !plinth?.openSnapshot) return plan;
        if (sendsSeveralStatements(plan)) {
          const snapshot = plinth.openSnapshot((pgSettings ?? {}) as TransactionSettings);
          snapshots.set(context, snapshot);
          Object.assign(context, { withPgClient: withPgClientOf(snapshot) });
        } else if (plinth.sendToReplica) {
          const { withPgClient } = context as Grafast.Context;
          const send = plinth.sendToReplica;
          Object.assign(context, { withPgClient: Object.assign(withPgClient!.bind(undefined), { send }) });
        }
        return plan;
      },
      execute(next, { args }) {
        const end = () => snapshots.get(args.contextValue as object)?.end();
        let isPending = false;
        try {
          const result = next();
          if (result instanceof Promise) {
            isPending = true;
            result.then(end, end);
          }
          return result;
        } finally {
          if (!isPending) end();
        }
      },
    },
  },
};

/** By the context of their operation. */
const snapshots = new WeakMap<object, Snapshot>();

/** PostGraphile's access to the database. OneRoundTripPlugin calls `send`; other plugins must not wait for a second connection. */
function withPgClientOf(snapshot: Snapshot) {
  const client = {
    query: (statement: Statement) => snapshot.read(statement),
    withTransaction: async (callback: (client: unknown) => unknown): Promise<unknown> => callback(client),
  };
  return Object.assign(
    async (_settings: unknown, callback: (reader: typeof client) => unknown) => callback(client),
    { send: (_settings: unknown, statement: Statement) => snapshot.read(statement) },
  );
}

interface PlannedStep {
  readonly dependencies: readonly (PlannedStep & { readonly keys?: readonly string[] })[];
}

/** The answer belongs to the plan, which Grafast caches. */
const severalStatements = new WeakMap<object, boolean>();

/** Whether more than one step of a plan has access to the database. (After planning, each sends one statement at most.) */
function sendsSeveralStatements(plan: object): boolean {
  let isSo = severalStatements.get(plan);
  if (isSo === undefined) {
    const { activeSteps } = (plan as { stepTracker: { activeSteps: Iterable<PlannedStep> } }).stepTracker;
    let count = 0;
    for (const { dependencies } of activeSteps)
      if (dependencies.some(({ keys }) => keys?.includes("withPgClient"))) count += 1;
    isSo = count > 1;
    severalStatements.set(plan, isSo);
  }
  return isSo;
}
