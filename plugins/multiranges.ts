import "postgraphile";
import { TYPES } from "postgraphile/@dataplan/pg";

/** PostGraphile knows ranges and no multiranges, and warns of every column of such a type, also of those that are not in the API. */
const MULTIRANGE = "m";

export const MultirangesPlugin: GraphileConfig.Plugin = {
  name: "PlinthMultirangesPlugin",
  version: "1.0.0",
  description: "Reads multiranges as text",
  gather: {
    hooks: {
      pgCodecs_findPgCodec(_info, event) {
        if (!event.pgCodec && event.pgType.typtype === MULTIRANGE) event.pgCodec = TYPES.text;
      },
    },
  },
};
