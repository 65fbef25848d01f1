import "graphile-build-pg";
import { type PgSelectStep, TYPES } from "@dataplan/pg";
import { constant, type FieldArgs, get, type Step } from "grafast";
import { resourceOf, valuesOf } from "../live-field.ts";
import { ReadingStep } from "../reading-step.ts";
import { type Found, PAGE_SIZE, reportDeltas } from "./report-deltas.ts";

/** Returns the plan of a batch: reads the next deltas of the answer and the answer itself. */
export function makeDeltasPlan(build: GraphileBuild.Build) {
  const { sql } = build;
  const deltas = resourceOf(build, "message_deltas");
  const messages = resourceOf(build, "messages");

  function deltasAfter($item: Step, $messageId: Step): PgSelectStep {
    const $deltas = deltas.find({ message_id: $messageId } as never) as PgSelectStep;
    const $after = $deltas.placeholder(get($item, "after" as never), TYPES.int);
    const { alias } = $deltas;
    $deltas.where(
      sql`${alias}.user_id = (select plinth.current_user_id()) and ${alias}.sequence > ${$after}`,
    );
    $deltas.orderBy({ attribute: "sequence", direction: "ASC" });
    $deltas.setOrderIsUnique();
    $deltas.setFirst(constant(PAGE_SIZE));
    return $deltas;
  }

  return ($item: Step, args: FieldArgs): Step => {
    const $messageId = args.getRaw("messageId");
    const $message = messages.get({ id: $messageId } as never) as Step & { get(column: string): Step };
    const $deltas = deltasAfter($item, $messageId);
    const $sequences = valuesOf($deltas, ($delta) => $delta.get("sequence"));
    const found = [$sequences, $message.get("state"), $message.get("last_sequence")];
    return new ReadingStep<Found>($item, found, { $deltas, $message }, reportDeltas);
  };
}
