import {
  type GraphQLSchema,
  getNullableType,
  getOperationAST,
  isInputType,
  typeFromAST,
} from "postgraphile/graphql";
import type { Dice } from "./dice.ts";
import type { KnownValues } from "./known-values.ts";
import type { Operation } from "./random-operation.ts";

/** The same document with other values, as a client sends it again; some are null or left out. */
export function withOtherVariables(
  schema: GraphQLSchema,
  { dice, known }: { readonly dice: Dice; readonly known: KnownValues },
  operation: Operation,
): Operation {
  const variables: Record<string, unknown> = { ...operation.variables };
  for (const { variable, type, defaultValue } of getOperationAST(operation.document)?.variableDefinitions ??
    []) {
    const name = variable.name.value;
    const inputType = typeFromAST(schema, type as never);
    if (!isInputType(inputType)) continue;
    const isRequired = inputType !== getNullableType(inputType);
    if ((!isRequired || defaultValue) && dice.chance(25)) delete variables[name];
    else if (!isRequired && dice.chance(10)) variables[name] = null;
    else if (dice.chance(50))
      variables[name] = otherValue(dice, known, String(getNullableType(inputType)), variables[name]);
    if (variables[name] === undefined) delete variables[name];
  }
  return { ...operation, variables };
}

function otherValue(dice: Dice, known: KnownValues, type: string, value: unknown): unknown {
  if (type === "Boolean") return value !== true;
  if (type === "Int") return dice.below(5);
  return known.find(dice, "", "", type) ?? value;
}
