import { type Adapter, EnforceContext, type Model, newEnforcer, newModelFromString } from "casbin";
import type { Request, Rule } from "./case.ts";

/** An answer: whether it is allowed, or "error" if there is none. */
export type Answer = boolean | "error";

/** Asks node-casbin. */
export async function askNodeCasbin(
  definition: string,
  rules: readonly Rule[],
  requests: readonly Request[],
): Promise<Answer[]> {
  const enforcer = await newEnforcer(newModelFromString(definition), adapterOf(rules));
  return requests.map(({ values, context: { r, p, e, m } }) => {
    try {
      return enforcer.enforceSync(new EnforceContext(r, p, e, m), ...values);
    } catch {
      return "error";
    }
  });
}

/** Loads rules as node-casbin's own reader of files does, without the detour of a file. */
export function adapterOf(rules: readonly Rule[]): Adapter {
  const unused = async () => {};
  return {
    async loadPolicy(model: Model) {
      for (const { ptype, values } of rules)
        model.model
          .get(ptype[0]!)
          ?.get(ptype)
          ?.policy.push([...values]);
    },
    savePolicy: async () => true,
    addPolicy: unused,
    removePolicy: unused,
    removeFilteredPolicy: unused,
  };
}
