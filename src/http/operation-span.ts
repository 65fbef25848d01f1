import { documentHash } from "../documents/document-hash.ts";
import type { Operation } from "../graphql/execute.ts";
import { inSpan, isTracing } from "../observability/tracing.ts";
import { operationNameOf } from "./operation-name.ts";

/** Runs an operation in a span that names it and the hash of its document, never its text or variables. */
export function inOperationSpan<T>(operation: Operation, execute: () => Promise<T>): Promise<T> {
  if (!isTracing()) return execute();
  const name = operationNameOf(operation);
  const attributes = {
    "graphql.document.hash": documentHash(operation.query),
    ...(name && { "graphql.operation.name": name }),
  };
  return inSpan("graphql operation", { attributes }, execute);
}
