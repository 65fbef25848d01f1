import "graphile-build-pg";
import { __InputListStep, Step } from "grafast";

interface WithDependencies {
  addDependency(step: Step | object): number;
}

/**
 * A list such as `[$id, "a", "a"]` failed as INTERNAL: Grafast counts its items, but stores equal ones as one dependency. Its
 * ListStep, which the list becomes, keeps them apart in the same way.
 */
export const RepeatedValuesPlugin: GraphileConfig.Plugin = {
  name: "PlinthRepeatedValuesPlugin",
  version: "1.0.0",
  description: "Allows a list in a document to hold a value twice",
  schema: {
    hooks: {
      build(build) {
        const { addDependency } = Step.prototype as unknown as WithDependencies;
        const lists = __InputListStep.prototype as unknown as WithDependencies;
        lists.addDependency = function (step) {
          return addDependency.call(this, { step, skipDeduplication: true });
        };
        return build;
      },
    },
  },
};
