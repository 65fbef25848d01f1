import "graphile-build-pg";
import { extendSchema, gql } from "graphile-utils";
import { liveField } from "../live-field.ts";
import { keptStep } from "../reading-step.ts";
import { makeDeltasPlan } from "./deltas-plan.ts";
import { deltasSource } from "./deltas-source.ts";

const typeDefs = gql`
  """The deltas of an answer since the last payload."""
  type MessageDeltasPayload {
    """
    The deltas in order, to be appended. If they do not continue from the last \`sequence\`, or none arrive although the
    answer has ended with a higher \`sequence\`, they have been deleted: use the content of \`message\`.
    """
    deltas: [MessageDelta!]!
    """Pass it as \`after\` to resume from here."""
    sequence: Int!
    """Whether the answer has ended and nothing more follows; then the subscription completes."""
    isOver: Boolean!
    """The current state of the answer; its content is set when it has ended."""
    message: Message
  }

  extend type Subscription {
    """
    An answer as it streams in, after its delta \`after\`, or from the first delta; completes when the answer has ended.
    NOT_FOUND for another user's answer.
    """
    messageDeltas(messageId: UUID!, after: Int): MessageDeltasPayload
  }
`;

const subscribePlan = liveField(["messageId", "after"], deltasSource);

/** messageDeltas: an assistant's answer as it streams in, from any point to its end. */
export const MessageDeltasPlugin = extendSchema(
  (build) => ({
    typeDefs,
    objects: {
      Subscription: { plans: { messageDeltas: { subscribePlan, plan: makeDeltasPlan(build) } } },
      MessageDeltasPayload: { plans: { deltas: keptStep("$deltas"), message: keptStep("$message") } },
    },
  }),
  "PlinthMessageDeltasPlugin",
);
